package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

const etcdVersion = "v3.7.3"

func init() {
	register(&System{
		Name: "etcd",
		About: "go.etcd.io/etcd/server/v3/embed " + etcdVersion + ", one process a server, a static cluster, gRPC without TLS; quota 8 GiB, log level panic, " +
			"the rest by default: every append to the WAL synced, a snapshot every 10,000 entries, no compaction of revisions. Clients: go.etcd.io/etcd/client/v3 " + etcdVersion +
			", one connection each, a goroutine an operation. Get: a linearizable range. LocalGet: a serializable one.",
		Kinds: []Kind{Put, Get, LocalGet}, Node: runEtcd, Dial: dialEtcd, Leader: leaderOfEtcd,
	})
}

func runEtcd(ctx context.Context, n NodeConfig) error {
	client, peer := etcdURL(n.Addrs[n.ID-1]), etcdURL(n.Peers[n.ID-1])
	c := embed.NewConfig()
	c.Name, c.Dir, c.LogLevel = etcdName(n.ID), n.Dir, "panic"
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	var members []string
	for i, addr := range n.Peers {
		u := etcdURL(addr)
		members = append(members, etcdName(i+1)+"="+u.String())
	}
	c.InitialCluster = strings.Join(members, ",")
	c.QuotaBackendBytes = 8 << 30 // its docs' maximum for normal use; the default of 2 GiB could fill up in a long run
	e, err := embed.StartEtcd(c)
	if err != nil {
		return err
	}
	defer e.Close()
	select {
	case <-ctx.Done():
		e.Server.HardStop() // Close alone tries for 7 s to hand the lead over, to servers that are ending too
		return nil
	case err := <-e.Err():
		return err
	}
}

func etcdName(id int) string      { return fmt.Sprint("etcd-", id) }
func etcdURL(addr string) url.URL { return url.URL{Scheme: "http", Host: addr} }

// etcdClient is blocking, with what gets have found.
type etcdClient struct {
	*blocking
	kv clientv3.KV
}

func dialEtcd(ctx context.Context, addr string) (Client, error) {
	c, err := openEtcd(ctx, addr)
	if err != nil {
		return nil, err
	}
	e := &etcdClient{kv: c}
	e.blocking = newBlocking(func(op Op) error {
		_, err := e.answer(ctx, op)
		return err
	}, c.Close)
	return e, nil
}

func openEtcd(ctx context.Context, addr string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Context: ctx, Endpoints: []string{addr}, Logger: zap.NewNop()})
}

func (e *etcdClient) answer(ctx context.Context, op Op) (value []byte, err error) {
	if op.Kind == Put {
		_, err = e.kv.Put(ctx, op.Key, string(op.Value))
		return nil, err
	}
	var options []clientv3.OpOption
	if op.Kind == LocalGet {
		options = append(options, clientv3.WithSerializable())
	}
	found, err := e.kv.Get(ctx, op.Key, options...)
	if err != nil || len(found.Kvs) == 0 {
		return nil, err
	}
	return found.Kvs[0].Value, nil
}

func leaderOfEtcd(ctx context.Context, addrs []string) (int, error) {
	for i, addr := range addrs {
		c, err := openEtcd(ctx, addr)
		if err != nil {
			return 0, err
		}
		status, err := c.Status(ctx, addr)
		_ = c.Close()
		if err != nil {
			return 0, err
		}
		if status.Leader == status.Header.MemberId {
			return i, nil
		}
	}
	return 0, errors.New("nobody leads")
}
