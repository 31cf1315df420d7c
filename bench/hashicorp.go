package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

const (
	hashicorpVersion = "v1.8.0"
	raftWALVersion   = "v0.4.0"
)

func init() {
	register(&System{
		Name: "hashicorp",
		About: "github.com/hashicorp/raft " + hashicorpVersion + " in process, TCP between the servers; log and stable store github.com/hashicorp/raft-wal " +
			raftWALVersion + ", which syncs every append, behind a LogCache of 4096 entries; MaxAppendEntries 1024, BatchApplyCh, BatchingFSM over a map, nothing logged, the rest by default. " +
			"Clients of a follower call the leader's Apply and VerifyLeader in process, without a network between: its best case. " +
			"Get: VerifyLeader, then the leader's map, after one Barrier a term. LocalGet: the map of the server asked. " +
			"NB: VerifyLeader also counts the answer to a heartbeat that was sent before it was called (replication.go, heartbeat and notifyAll): " +
			"where a leader stands still for longer than an election takes, between a follower's answer and reading it, its Get is stale.",
		Kinds: []Kind{Put, Get, LocalGet}, Local: startHashicorp,
	})
	register(&System{
		Name: "hashicorp-blocking", About: "hashicorp, but that each operation under way has a goroutine that waits for it, as raftpico-local's have",
		Kinds: []Kind{Put, Get, LocalGet}, Local: withBlocking(startHashicorp),
	})
}

// hashicorp is a cluster in this process.
type hashicorp struct {
	servers []*hashicorpServer
	settled atomic.Uint64 // the last term in which the leader's map has been seen to hold all of earlier terms
}

type hashicorpServer struct {
	raft   *raft.Raft
	fsm    *hashicorpFSM
	log    io.Closer // nil: in memory
	client *pipeline
}

func startHashicorp(ctx context.Context, c LocalConfig) (Cluster, error) {
	h := &hashicorp{}
	var members raft.Configuration
	for range c.Servers {
		addr := freeAddr()
		members.Servers = append(members.Servers, raft.Server{ID: raft.ServerID(addr), Address: raft.ServerAddress(addr)})
	}
	for i, member := range members.Servers {
		s, err := startHashicorpServer(member, filepath.Join(c.Dir, fmt.Sprint(i)), c.InMemory)
		if err != nil {
			return nil, errors.Join(err, h.Close())
		}
		s.client = newPipeline(func(op Op) func() ([]byte, error) { return h.begin(s, op) })
		h.servers = append(h.servers, s)
	}
	err := h.servers[0].raft.BootstrapCluster(members).Error()
	if err == nil {
		ready, cancel := context.WithTimeout(ctx, 60*time.Second)
		defer cancel()
		err = retry(ready, func() error { return h.leader().Barrier(0).Error() })
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func startHashicorpServer(self raft.Server, dir string, inMemory bool) (*hashicorpServer, error) {
	config := raft.DefaultConfig()
	config.LocalID = self.ID
	config.MaxAppendEntries = 1024
	config.BatchApplyCh = true
	config.Logger = hclog.NewNullLogger()
	s := &hashicorpServer{fsm: &hashicorpFSM{keyed: newKeyed()}}
	var (
		memory    = raft.NewInmemStore()
		log       = raft.LogStore(memory)
		stable    = raft.StableStore(memory)
		snapshots = raft.SnapshotStore(raft.NewInmemSnapshotStore())
	)
	if !inMemory {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		w, err := wal.Open(dir, wal.WithLogger(config.Logger))
		if err != nil {
			return nil, err
		}
		stable, s.log = w, w
		// Without it the leader reads back from the file all that it sends: twice the CPU an entry.
		if log, err = raft.NewLogCache(4*config.MaxAppendEntries, w); err != nil {
			return nil, errors.Join(err, w.Close())
		}
		if snapshots, err = raft.NewFileSnapshotStoreWithLogger(dir, 1, config.Logger); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	transport, err := raft.NewTCPTransportWithLogger(string(self.Address), nil, 3, 10*time.Second, config.Logger)
	if err == nil {
		s.raft, err = raft.NewRaft(config, s.fsm, log, stable, snapshots, transport)
	}
	if err != nil {
		if transport != nil {
			err = errors.Join(err, transport.Close())
		}
		if s.log != nil {
			err = errors.Join(err, s.log.Close())
		}
		return nil, err
	}
	return s, nil
}

// begin begins an operation for a client of s.
func (h *hashicorp) begin(s *hashicorpServer, op Op) (end func() ([]byte, error)) {
	if op.Kind == LocalGet {
		return func() ([]byte, error) { return s.fsm.get(op.Key), nil }
	}
	leader := h.servers[h.Leader()]
	if op.Kind == Put {
		applied := leader.raft.Apply(putCommand(op), 0)
		return func() ([]byte, error) { return nil, applied.Error() }
	}
	verified := leader.raft.VerifyLeader()
	return func() ([]byte, error) {
		if err := verified.Error(); err != nil {
			return nil, err
		}
		if err := h.settle(leader.raft); err != nil {
			return nil, err
		}
		return leader.fsm.get(op.Key), nil
	}
}

// settle waits until the leader's FSM holds all that earlier leaders have acknowledged. What was acknowledged in its own
// term it holds anyhow: Apply answers when the FSM has answered. NB: waiting for AppliedIndex would not do, as it counts
// what was handed to the FSM, not what that has applied.
func (h *hashicorp) settle(leader *raft.Raft) error {
	term := leader.CurrentTerm()
	if h.settled.Load() == term {
		return nil
	}
	err := leader.Barrier(0).Error()
	if err == nil {
		h.settled.Store(term)
	}
	return err
}

// leader is the first server if nobody leads: its answers tell so.
func (h *hashicorp) leader() *raft.Raft { return h.servers[h.Leader()].raft }

func (h *hashicorp) Leader() int {
	for i, s := range h.servers {
		if s.raft.State() == raft.Leader {
			return i
		}
	}
	return 0
}

func (h *hashicorp) Client(server int) Client { return h.servers[server].client }

func (h *hashicorp) Close() (err error) {
	for _, s := range h.servers {
		err = errors.Join(err, s.client.Close(), s.raft.Shutdown().Error())
		if s.log != nil {
			err = errors.Join(err, s.log.Close())
		}
	}
	return err
}

// hashicorpFSM is keyed as hashicorp/raft wants it.
type hashicorpFSM struct{ *keyed }

func (f *hashicorpFSM) Apply(log *raft.Log) any { return f.ApplyBatch([]*raft.Log{log})[0] }

// ApplyBatch implements raft.BatchingFSM.
func (f *hashicorpFSM) ApplyBatch(logs []*raft.Log) []any {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, log := range logs {
		if log.Type == raft.LogCommand {
			f.set(log.Data)
		}
	}
	return make([]any, len(logs))
}

func (f *hashicorpFSM) Snapshot() (raft.FSMSnapshot, error) { return hashicorpSnapshot(f.copy()), nil }

func (f *hashicorpFSM) Restore(from io.ReadCloser) error {
	defer from.Close()
	return f.restore(from)
}

type hashicorpSnapshot map[string][]byte

func (s hashicorpSnapshot) Persist(to raft.SnapshotSink) error {
	if err := gob.NewEncoder(to).Encode(s); err != nil {
		return errors.Join(err, to.Cancel())
	}
	return to.Close()
}

func (s hashicorpSnapshot) Release() {}
