package raftpico_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// restored starts a server from a backup.
func restored(t *testing.T, m machine.Machine, backup []byte, change func(*raftpico.Options)) (*raftpico.Server, raftpico.Restored) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "new.jsonl")
	made, err := raftpico.Restore(bytes.NewReader(backup), file, "127.0.0.1:1")
	require.NoError(t, err)
	s := startServer(t, m, func(o *raftpico.Options) {
		o.File = file
		if change != nil {
			change(o)
		}
	})
	require.NoError(t, s.Ready(t.Context()))
	return s, made
}

// A cluster that was made of a backup goes on where it was, and grows.
func TestARestoredClusterGoesOn(t *testing.T) {
	t.Parallel()
	old := startStill(t, 3, func() machine.Machine { return machine.JSON(&ledger{}) })
	id, err := old[0].OpenSession(t.Context(), time.Hour)
	require.NoError(t, err)
	for seq := range uint64(5) {
		_, err := old[0].ApplyOnce(t.Context(), raftpico.Session{ID: id, Seq: seq + 1}, "x")
		require.NoError(t, err)
	}
	text, info := backedUp(t, old[2])

	s, made := restored(t, machine.JSON(&ledger{}), text, nil)
	require.Equal(t, info, made.Backup)
	require.NotEqual(t, info.ClusterID, made.ClusterID)
	again, err := s.ApplyOnce(t.Context(), raftpico.Session{ID: id, Seq: 5}, "x")
	require.NoError(t, err)
	require.Equal(t, "5", string(again), "the outcome that the session keeps")
	next, err := s.ApplyOnce(t.Context(), raftpico.Session{ID: id, Seq: 6, Ack: 5}, "x")
	require.NoError(t, err)
	require.Equal(t, "6", string(next))
	st, err := s.State(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, made.ClusterID, st.ClusterID)
	require.Greater(t, st.AppliedIndex, info.Index, "places in the log are never given again")
	require.GreaterOrEqual(t, st.AppliedTime, info.Time.UnixMilli())
	require.Len(t, st.Members, 1)

	other := startServer(t, machine.JSON(&ledger{}), nil)
	_, err = s.AddServer(t.Context(), other.Addr())
	require.NoError(t, err)
}

// No server of the old cluster can come into the restored one.
func TestAnOldMemberCannotComeIntoARestoredCluster(t *testing.T) {
	t.Parallel()
	old := startCluster(t, 2)
	text, _ := backedUp(t, old[0])
	s, _ := restored(t, machine.JSON(&counter{}), text, nil)
	for _, member := range old {
		_, err := s.AddServer(t.Context(), member.Addr())
		require.ErrorIs(t, err, raftpico.ErrUnreachable)
		require.ErrorContains(t, err, "another cluster")
		_, err = member.AddServer(t.Context(), s.Addr())
		require.ErrorIs(t, err, raftpico.ErrUnreachable)
	}
	st, err := s.State(t.Context(), false)
	require.NoError(t, err)
	require.Len(t, st.Members, 1)
}

func TestRestoreOverwritesNothing(t *testing.T) {
	t.Parallel()
	s := startServer(t, machine.JSON(&counter{}), nil)
	_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	text, _ := backedUp(t, s)
	dir := t.TempDir()
	file := filepath.Join(dir, "log.jsonl")
	for name, content := range map[string]string{"log.jsonl": "mine", "log.jsonl.restoring": "mine"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
		_, err = raftpico.Restore(bytes.NewReader(text), file, "127.0.0.1:1")
		require.Error(t, err)
		left, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, content, string(left))
		require.NoError(t, os.Remove(filepath.Join(dir, name)))
	}
	for name, wrong := range map[string]func() error{
		"a wildcard": func() error {
			_, err := raftpico.Restore(bytes.NewReader(text), file, "0.0.0.0:4000")
			return err
		},
		"no address": func() error { _, err := raftpico.Restore(bytes.NewReader(text), file, ""); return err },
		"no folder": func() error {
			_, err := raftpico.Restore(bytes.NewReader(text), filepath.Join(dir, "none", "log"), "127.0.0.1:1")
			return err
		},
		"a cut backup": func() error {
			_, err := raftpico.Restore(bytes.NewReader(text[:len(text)-20]), file, "127.0.0.1:1")
			damage := new(raftpico.DamageError)
			require.ErrorAs(t, err, &damage)
			require.Equal(t, 4, damage.Line)
			return err
		},
		"a changed backup": func() error {
			_, err := raftpico.Restore(bytes.NewReader(bytes.Replace(text, []byte(`"Value":0`), []byte(`"Value":1`), 1)), file, "127.0.0.1:1")
			require.ErrorContains(t, err, "line 3: its crc does not match")
			return err
		},
	} {
		require.Error(t, wrong(), name)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, entries, name)
	}
}
