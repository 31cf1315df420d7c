package node_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// withstands lets messages come, n of them or of turns of the loop, and holds the server to all it has promised.
func (s *server) withstands(n int, say func(i int) (m *wire.Message, turn bool)) {
	before, state := s.promised(), s.node.State()
	for i := 0; i < n && s.node != nil; i++ { // else it has stopped
		state = s.follows(state)
		m, turn := say(i)
		if m != nil && m.From == m.To { // Hello lets nobody in under our own id
			setSender(m, m.To^2)
		}
		switch {
		case turn:
			s.w.now += 30 * time.Millisecond
			s.flush()
		case m == nil:
		case m.Snapshot != nil:
			_ = s.arrive(m)
		default:
			_ = s.node.Message(m.From, m)
		}
	}
	s.w.now += 11 * time.Second // all deadlines pass
	s.flush()
	s.flush()
	before = s.keeps(before)
	for serial := range s.w.serial {
		require.Equal(s.w.t, 1, strings.Count(s.w.out.String(), fmt.Sprintf("%s answers %d:", s.name, serial+1)), s.w.out.String())
	}
	if s.node != nil {
		s.crash()
	}
	s.start()
	s.keeps(before)
}

// arrive takes in a MsgSnap with an empty state.
func (s *server) arrive(m *wire.Message) error {
	if err := s.node.WantSnapshot(m.From, m); err != nil || s.ready != nil {
		return err
	}
	identity, _ := s.node.Identity()
	file, err := s.log.BeginAnew()
	require.NoError(s.w.t, err)
	require.NoError(s.w.t, file.Write(&wire.Record{Identity: &identity}))
	to := file.BeginState(m.Snapshot)
	_, err = to.Write([]byte(`{"applied":[]}`))
	require.NoError(s.w.t, err)
	if err = to.Close(); err == nil {
		s.ready = &arrival{m: m, file: file}
		s.ready.install, err = node.Load(machine.JSON(s.m), file.State(), to.Size())
		require.NoError(s.w.t, err)
		err = s.node.Snapshot(m.From, m, uint64(to.Size()))
	}
	if err != nil {
		s.ready = nil
		s.log.Abort(file)
	}
	return err
}

// follows holds a server's state to an earlier one, and returns it.
func (s *server) follows(before *node.ServerState) *node.ServerState {
	now := s.node.State()
	require.GreaterOrEqual(s.w.t, now.Term, before.Term)
	require.GreaterOrEqual(s.w.t, now.CommitIndex, before.CommitIndex)
	if now.Term == before.Term && before.VotedFor != nil {
		require.Equal(s.w.t, *before.VotedFor, *now.VotedFor)
	}
	return now
}

// promises are what a server's file holds.
type promises struct {
	hard     wire.HardState
	snapshot wire.EntryID
	last     uint64
	entries  map[uint64]*raftpb.Entry
}

// promised reads the file.
func (s *server) promised() *promises {
	file, err := s.fs.ReadFile("log")
	require.NoError(s.w.t, err)
	fsys := memfs.New()
	fsys.WriteFile("log", file)
	log, state, err := storage.Open(fsys, "log", "")
	require.NoError(s.w.t, err, "%s", file)
	require.NoError(s.w.t, log.Close())
	p := &promises{hard: state.HardState, last: state.Prev.Index, entries: map[uint64]*raftpb.Entry{}}
	if state.Snapshot != nil {
		p.snapshot = state.Snapshot.LastIncluded
	}
	for _, e := range state.Entries {
		p.last = e.GetIndex()
		p.entries[p.last] = e
	}
	if s.node != nil {
		st := s.node.State()
		require.Equal(s.w.t, p.hard.Term, st.Term)
		if p.hard.Vote != 0 {
			require.Equal(s.w.t, p.hard.Vote, *st.VotedFor)
		} else {
			require.Nil(s.w.t, st.VotedFor)
		}
		require.LessOrEqual(s.w.t, p.hard.Commit, st.CommitIndex)
		require.LessOrEqual(s.w.t, st.AppliedIndex, st.CommitIndex)
		require.LessOrEqual(s.w.t, st.CommitIndex, st.LastIndex)
		require.Equal(s.w.t, p.last, st.LastIndex)
		p.hard.Commit = st.CommitIndex
	}
	return p
}

// keeps holds a server to what it has promised before, and returns what it promises now.
func (s *server) keeps(before *promises) *promises {
	now := s.promised()
	require.GreaterOrEqual(s.w.t, now.hard.Term, before.hard.Term)
	if now.hard.Term == before.hard.Term && before.hard.Vote != 0 {
		require.Equal(s.w.t, before.hard.Vote, now.hard.Vote)
	}
	if s.node != nil && s.boots == 1 {
		require.GreaterOrEqual(s.w.t, now.hard.Commit, before.hard.Commit)
	}
	require.GreaterOrEqual(s.w.t, now.snapshot.Index, before.snapshot.Index)
	require.GreaterOrEqual(s.w.t, now.last, before.hard.Commit)
	for index, e := range before.entries {
		again, kept := now.entries[index]
		if index > before.hard.Commit {
			continue
		}
		if kept {
			require.Equal(s.w.t, e.String(), again.String())
		} else {
			require.LessOrEqual(s.w.t, index, now.snapshot.Index, "entry %d was committed and is gone", index)
		}
	}
	return now
}
