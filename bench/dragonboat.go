package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/client"
	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/logger"
	"github.com/lni/dragonboat/v4/plugin/tan"
	"github.com/lni/dragonboat/v4/statemachine"
)

const dragonboatVersion = "v4.0.0-20240618143154-6a1623140f27"

func init() {
	register(&System{
		Name: "dragonboat",
		About: "github.com/lni/dragonboat/v4 " + dragonboatVersion + " in process, one NodeHost a server, TCP between them; log store tan, which syncs every append, with GetTinyMemLogDBConfig; " +
			"one shard, an IConcurrentStateMachine over a map, CheckQuorum and PreVote, ticks of 100 ms, elections after 1 s, no snapshots, nothing logged, the rest by default. " +
			"Put: Propose without a session. Get: ReadIndex and ReadLocalNode. LocalGet: StaleRead. All of them on the server asked, asynchronously.",
		Kinds: []Kind{Put, Get, LocalGet}, Local: startDragonboat,
	})
	register(&System{
		Name: "dragonboat-blocking", About: "dragonboat, but that each operation under way has a goroutine that waits for it, as raftpico-local's have",
		Kinds: []Kind{Put, Get, LocalGet}, Local: withBlocking(startDragonboat),
	})
	logger.SetLoggerFactory(func(string) logger.ILogger { return silent{} })
}

const (
	dragonboatShard   = 1
	dragonboatTimeout = 10 * time.Second
)

// boat is a cluster in this process.
type boat struct {
	hosts   []*dragonboat.NodeHost
	clients []*pipeline
}

func startDragonboat(ctx context.Context, c LocalConfig) (Cluster, error) {
	if c.InMemory {
		return nil, errors.New("dragonboat: measured with a disk only")
	}
	b := &boat{}
	members := map[uint64]dragonboat.Target{}
	for i := range c.Servers {
		members[uint64(i+1)] = freeAddr()
	}
	for i := range c.Servers {
		host, err := startNodeHost(uint64(i+1), members, filepath.Join(c.Dir, fmt.Sprint(i)))
		if host != nil {
			b.hosts = append(b.hosts, host)
			session := host.GetNoOPSession(dragonboatShard)
			b.clients = append(b.clients, newPipeline(func(op Op) func() ([]byte, error) { return beginDragonboat(host, session, op) }))
		}
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
	}
	ready, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for _, host := range b.hosts {
		err := retry(ready, func() error {
			_, err := beginDragonboat(host, nil, Op{Kind: Get})()
			return err
		})
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
	}
	return b, nil
}

// startNodeHost returns the host even if its shard does not start.
func startNodeHost(id uint64, members map[uint64]dragonboat.Target, dir string) (*dragonboat.NodeHost, error) {
	// By default tan reserves 2 GiB a server for buffers, of which one shard uses a sixteenth. That is no faster, but the
	// garbage collector would hardly ever run.
	host, err := dragonboat.NewNodeHost(config.NodeHostConfig{NodeHostDir: dir, RaftAddress: members[id], RTTMillisecond: 100,
		Expert: config.ExpertConfig{LogDBFactory: tan.Factory, LogDB: config.GetTinyMemLogDBConfig()}})
	if err != nil {
		return nil, err
	}
	return host, host.StartConcurrentReplica(members, false,
		func(uint64, uint64) statemachine.IConcurrentStateMachine { return boatMachine{newKeyed()} },
		config.Config{ShardID: dragonboatShard, ReplicaID: id, CheckQuorum: true, PreVote: true, HeartbeatRTT: 1, ElectionRTT: 10})
}

func beginDragonboat(host *dragonboat.NodeHost, session *client.Session, op Op) (end func() ([]byte, error)) {
	var state *dragonboat.RequestState
	var err error
	switch op.Kind {
	case Put:
		state, err = host.Propose(session, putCommand(op), dragonboatTimeout)
	case Get:
		state, err = host.ReadIndex(dragonboatShard, dragonboatTimeout)
	default:
		return func() ([]byte, error) { return boatValue(host.StaleRead(dragonboatShard, op.Key)) }
	}
	return func() (value []byte, _ error) {
		if err != nil {
			return nil, err
		}
		result := <-state.ResultC()
		defer state.Release()
		switch {
		case !result.Completed():
			return nil, fmt.Errorf("dragonboat: not completed; timeout %t, dropped %t, rejected %t, closed %t",
				result.Timeout(), result.Dropped(), result.Rejected(), result.Terminated())
		case op.Kind == Get:
			return boatValue(host.ReadLocalNode(state, op.Key))
		}
		return nil, nil
	}
}

func boatValue(value any, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return value.([]byte), nil
}

func (b *boat) Leader() int {
	leader, _, known, err := b.hosts[0].GetLeaderID(dragonboatShard)
	if err != nil || !known {
		return 0
	}
	return int(leader) - 1
}

func (b *boat) Client(server int) Client { return b.clients[server] }

func (b *boat) Close() (err error) {
	for i, host := range b.hosts {
		err = errors.Join(err, b.clients[i].Close())
		host.Close()
	}
	return err
}

// boatMachine is keyed as dragonboat wants it.
type boatMachine struct{ *keyed }

func (m boatMachine) Update(entries []statemachine.Entry) ([]statemachine.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range entries {
		m.set(e.Cmd)
	}
	return entries, nil
}

func (m boatMachine) Lookup(key any) (any, error)   { return m.get(key.(string)), nil }
func (m boatMachine) PrepareSnapshot() (any, error) { return m.copy(), nil }
func (m boatMachine) Close() error                  { return nil }

func (m boatMachine) SaveSnapshot(values any, to io.Writer, _ statemachine.ISnapshotFileCollection, _ <-chan struct{}) error {
	return gob.NewEncoder(to).Encode(values.(map[string][]byte))
}

func (m boatMachine) RecoverFromSnapshot(from io.Reader, _ []statemachine.SnapshotFile, _ <-chan struct{}) error {
	return m.restore(from)
}

// silent is a logger of dragonboat's that says nothing.
type silent struct{}

func (silent) SetLevel(logger.LogLevel)     {}
func (silent) Debugf(string, ...any)        {}
func (silent) Infof(string, ...any)         {}
func (silent) Warningf(string, ...any)      {}
func (silent) Errorf(string, ...any)        {}
func (silent) Panicf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }
