package node_test

import (
	"errors"
	"io"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// How snapshots travel between the servers of a transcript: the state goes with the message, from file to file.

// arrival is a snapshot from another server whose state is in a new log file and loaded.
type arrival struct {
	m         *wire.Message
	file      *storage.Replacement
	install   func() error
	installed bool
}

// receive takes in a MsgSnap: what raftpico/internal/loop/receptions.go does in steps.
func (s *server) receive(m *wire.Message) {
	if err := s.take(m); err != nil {
		s.tellSender(m, false)
	}
}

func (s *server) take(m *wire.Message) error {
	if s.ready != nil {
		return errors.New("another one has just come")
	}
	if err := s.node.WantSnapshot(m.From, m); err != nil {
		return err
	}
	sender := s.w.byID(m.From)
	if sender == nil {
		return errors.New("its sender is gone")
	}
	state, err := sender.log.OpenState()
	require.NoError(s.w.t, err)
	defer state.Close()
	if state.At != m.Snapshot.LastIncluded {
		return errors.New("its sender has a newer one")
	}
	identity, _ := s.node.Identity()
	a := &arrival{m: m}
	if a.file, err = s.log.BeginAnew(); err != nil {
		return err
	}
	require.NoError(s.w.t, a.file.Write(&wire.Record{Identity: &identity}))
	to := a.file.BeginState(m.Snapshot)
	_, err = io.Copy(to, state)
	require.NoError(s.w.t, err)
	require.NoError(s.w.t, to.Close())
	a.install, err = node.Load(s.machine(), a.file.State(), to.Size())
	require.NoError(s.w.t, err)
	if err := s.node.Snapshot(m.From, m, uint64(to.Size())); err != nil {
		s.log.Abort(a.file)
		return err
	}
	s.ready = a
	return nil
}

// Install implements node.Env.
func (s *server) Install(snap *wire.Snapshot, hard *wire.HardState) error {
	require.Equal(s.w.t, s.ready.m.Snapshot.LastIncluded, snap.LastIncluded)
	if err := s.ready.file.Write(&wire.Record{HardState: hard}); err != nil {
		return err
	}
	require.NoError(s.w.t, s.ready.install())
	s.ready.installed = true
	return s.commit(s.ready.file)
}

// settleArrival tells the sender of a snapshot what a turn has made of it.
func (s *server) settleArrival() {
	if a := s.ready; a != nil {
		s.ready = nil
		if !a.installed {
			s.log.Abort(a.file)
		}
		s.tellSender(a.m, a.installed)
	}
}

// tellSender is the answer to a transfer.
func (s *server) tellSender(m *wire.Message, installed bool) {
	sender := s.w.byID(m.From)
	if sender == nil || sender.up[m.To] != s {
		return // its link is down: it knows
	}
	if installed {
		sender.node.SnapshotDelivered(m.To)
	} else {
		sender.node.SnapshotLost(m.To)
	}
}

func (w *world) byID(id uint64) *server {
	for _, s := range w.servers {
		if s.node != nil && s.id() == id {
			return s
		}
	}
	return nil
}

func (s *server) commit(r *storage.Replacement) error {
	old, err := s.log.Commit(r)
	if old != nil {
		_ = old.Close()
	}
	return err
}

// restore sets a machine to the state in the log's snapshot.
func (s *server) restore(m machine.Machine) {
	state, err := s.log.OpenState()
	require.NoError(s.w.t, err)
	install, err := node.Load(m, state, state.Size())
	require.NoError(s.w.t, err)
	require.NoError(s.w.t, install())
	require.NoError(s.w.t, state.Close())
}

// Encode implements node.Env.
func (s *server) Encode(job *node.StateJob) {
	err := job.Encode(func() bool { return false })
	s.probed = append(s.probed, func() { s.node.StateEncoded(job, err) })
}
