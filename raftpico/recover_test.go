package raftpico_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// diary is a machine that keeps all commands, with all that a context tells of them: if anything of that is another one
// when they are carried out again, it shows.
type diary struct{ Lines []string }

func (d *diary) Apply(ctx *machine.Context, in string) (any, error) {
	if ctx.Kind != machine.Command {
		return d.Lines, nil
	}
	line := fmt.Sprintf("%s %d.%d %s %d %d %s", in, ctx.Index, ctx.Offset, ctx.Cluster, ctx.Rand().Uint64(), ctx.Version, ctx.Time.Format(time.RFC3339Nano))
	d.Lines = append(d.Lines, line)
	return line, nil
}

// lostMajority is a file of a cluster of three whose other two are lost; its server is stopped. The last command was not
// acknowledged.
func lostMajority(t *testing.T) (file, addr string, lines []string, others []*raftpico.Server) {
	t.Helper()
	dir := t.TempDir()
	servers := make([]*raftpico.Server, 3)
	for i := range servers {
		servers[i] = startServer(t, machine.JSON(&diary{}), func(o *raftpico.Options) { o.File = filepath.Join(dir, string(rune('a'+i))) })
	}
	joinAll(t, servers, still)
	a := servers[0]
	apply := func(n int) {
		for i := range n {
			settles(t, func() error { // it may lose its leadership where the machine is busy
				out, err := raftpico.Apply[string](ample(t), a, fmt.Sprint("command ", i))
				if err == nil {
					lines = append(lines, out)
				}
				return err
			})
		}
	}
	apply(5)
	waitFor(t, func() bool { _, err := a.TakeSnapshot(ample(t)); return err == nil })
	apply(5)
	settles(t, func() error { // it has all that was acknowledged
		got, err := raftpico.Query[[]string](ample(t), a, "")
		if err == nil {
			require.Equal(t, lines, got)
		}
		return err
	})
	for i, s := range servers {
		if s == a {
			file = filepath.Join(dir, string(rune('a'+i)))
		} else {
			require.NoError(t, s.Close())
			others = append(others, s)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := a.Apply(ctx, machine.Command, "doubtful")
	require.Error(t, err)
	require.NoError(t, a.Close())
	return file, a.Addr(), lines, others
}

// A recovered cluster has all that was acknowledged and is in the file, exactly as it was: with the same random numbers,
// places and times, also behind the snapshot, where it is carried out again. It grows.
func TestARecoveredClusterHasWhatItsFileHas(t *testing.T) {
	t.Parallel()
	file, addr, lines, others := lostMajority(t)
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	s, err := raftpico.LookAtSurvivor(file)
	require.NoError(t, err)
	require.Equal(t, addr, s.Addr)
	require.ElementsMatch(t, []string{others[0].Addr(), others[1].Addr()}, s.Others)
	require.LessOrEqual(t, s.Commit, s.Last)
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, before, after, "a look changes nothing")

	made, err := raftpico.Recover(file, "")
	require.NoError(t, err)
	require.Equal(t, s, made.Survivor)
	require.Equal(t, addr, made.NewAddr)
	kept, err := os.ReadFile(made.Kept)
	require.NoError(t, err)
	require.Equal(t, before, kept)

	for range 2 { // the second start is from what the first has written
		r := startServer(t, machine.JSON(&diary{}), func(o *raftpico.Options) { o.File, o.Addr = file, addr })
		require.NoError(t, r.Ready(t.Context()))
		got, err := raftpico.Query[[]string](t.Context(), r, "")
		require.NoError(t, err)
		require.Equal(t, lines, got[:len(lines)])
		if len(got) > len(lines) { // it had been logged
			require.Contains(t, got[len(lines)], "doubtful ")
			require.Positive(t, s.Doubtful)
		}
		lines = got
		st, err := r.State(t.Context(), false)
		require.NoError(t, err)
		require.Equal(t, made.NewID, st.ClusterID)
		require.Len(t, st.Members, 1)
		next, err := raftpico.Apply[string](t.Context(), r, "next")
		require.NoError(t, err)
		require.Contains(t, next, made.NewID, "from here on it is the new cluster")
		lines = append(lines, next)
		for range 2 {
			n := startServer(t, machine.JSON(&diary{}), nil)
			_, err := r.AddServer(t.Context(), n.Addr())
			require.NoError(t, err)
			waitFor(t, func() bool {
				got, err := raftpico.Query[[]string](t.Context(), n, "")
				return err == nil && len(got) == len(lines)
			})
			_, err = r.RemoveServer(t.Context(), n.Addr())
			require.NoError(t, err)
		}
		require.NoError(t, r.Close())
	}
}

// An old server that comes back with its old file finds no way into the new cluster, nor the other way round.
func TestAnOldServerCannotComeIntoARecoveredCluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	servers := make([]*raftpico.Server, 3)
	for i := range servers {
		servers[i] = startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { o.File = filepath.Join(dir, string(rune('a'+i))) })
	}
	joinAll(t, servers, raftpico.Timeouts{})
	require.NoError(t, servers[0].Close())
	_, err := raftpico.Recover(filepath.Join(dir, "a"), "")
	require.NoError(t, err)
	a := startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { o.File, o.Addr = filepath.Join(dir, "a"), servers[0].Addr() })
	require.NoError(t, a.Ready(t.Context()))
	out, err := a.Apply(t.Context(), machine.Command, 5)
	require.NoError(t, err)
	require.Equal(t, "5", string(out))
	for _, old := range servers[1:] { // they are a majority of the old cluster, and go on
		waitFor(t, func() bool {
			value, err := old.Apply(t.Context(), machine.Query, 0)
			return err == nil && string(value) == "0"
		})
		_, err = a.AddServer(t.Context(), old.Addr())
		require.ErrorContains(t, err, "another cluster")
	}
	st, err := a.State(t.Context(), false)
	require.NoError(t, err)
	require.Len(t, st.Members, 1)
}

func TestRecoverChangesNothingWhereItCannot(t *testing.T) {
	t.Parallel()
	file, _, _, _ := lostMajority(t)
	good, err := os.ReadFile(file)
	require.NoError(t, err)
	same := func(content []byte) {
		t.Helper()
		now, err := os.ReadFile(file)
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, now))
		entries, err := filepath.Glob(file + ".*")
		require.NoError(t, err)
		require.NotContains(t, entries, file+".new")
	}
	_, err = raftpico.Recover(file, "0.0.0.0:1")
	require.Error(t, err)
	same(good)

	require.NoError(t, os.WriteFile(file+".before-recovery", []byte("mine"), 0o600))
	_, err = raftpico.Recover(file, "")
	require.ErrorContains(t, err, "kept from a recovery before")
	same(good)
	mine, err := os.ReadFile(file + ".before-recovery")
	require.NoError(t, err)
	require.Equal(t, "mine", string(mine))
	require.NoError(t, os.Remove(file+".before-recovery"))

	s := startServer(t, machine.JSON(&diary{}), func(o *raftpico.Options) { o.File = file })
	_, err = raftpico.Recover(file, "")
	require.ErrorContains(t, err, "in use by another server")
	_, err = raftpico.LookAtSurvivor(file)
	require.NoError(t, err, "looking is allowed")
	require.NoError(t, s.Close())

	bad := bytes.Replace(good, []byte("command 1"), []byte("command 2"), 1)
	require.NoError(t, os.WriteFile(file, bad, 0o600))
	_, err = raftpico.Recover(file, "")
	require.ErrorContains(t, err, "damaged")
	same(bad)

	lone := filepath.Join(t.TempDir(), "lone")
	require.NoError(t, startServer(t, machine.JSON(&diary{}), func(o *raftpico.Options) { o.File = lone }).Close())
	_, err = raftpico.Recover(lone, "")
	require.ErrorContains(t, err, "no state to go on from")
	require.NoError(t, os.WriteFile(lone, nil, 0o600))
	_, err = raftpico.Recover(lone, "")
	require.ErrorContains(t, err, "no line in it")
	_, err = raftpico.Recover(filepath.Join(t.TempDir(), "none"), "")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A recovery that was broken off before its last step is made again.
func TestARecoveryThatWasBrokenOffIsMadeAgain(t *testing.T) {
	t.Parallel()
	file, _, _, _ := lostMajority(t)
	require.NoError(t, os.Link(file, file+".before-recovery"))
	require.NoError(t, os.WriteFile(file+".new", []byte("half"), 0o600))
	_, err := raftpico.Recover(file, "")
	require.NoError(t, err)
	s := startServer(t, machine.JSON(&diary{}), func(o *raftpico.Options) { o.File = file })
	require.NoError(t, s.Ready(t.Context()))
}

func TestTheBetterSurvivorHasTheLaterTermOrTheLongerLog(t *testing.T) {
	t.Parallel()
	at := func(term, last uint64) raftpico.Survivor { return raftpico.Survivor{Term: term, Last: last} }
	require.True(t, at(3, 5).Better(at(2, 9)))
	require.True(t, at(3, 6).Better(at(3, 5)))
	require.False(t, at(3, 5).Better(at(3, 5)))
	require.False(t, at(2, 9).Better(at(3, 5)))
}

// No session of a cluster that goes on from another one has the id of a session that this one opened later, or on servers that
// are lost: a client that knows such an id must not meet somebody else's session, and be answered with his outcomes.
func TestASessionOfAnotherClusterIsNotMetAgain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log")
	old := startServer(t, machine.JSON(&diary{}), func(o *raftpico.Options) { o.File = file })
	_, err := old.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	open := func(s *raftpico.Server) uint64 {
		t.Helper()
		id, err := s.OpenSession(t.Context(), time.Hour)
		require.NoError(t, err)
		return id
	}
	kept := open(old)
	once, err := old.ApplyOnce(t.Context(), raftpico.Session{ID: kept, Seq: 1}, "kept")
	require.NoError(t, err)
	var backup bytes.Buffer
	_, err = old.Backup(t.Context(), &backup)
	require.NoError(t, err)
	logged := open(old) // in an entry behind the snapshot
	require.NoError(t, old.Close())

	restored, saved := filepath.Join(t.TempDir(), "restored"), file+".before-recovery"
	_, err = raftpico.Restore(&backup, restored, old.Addr())
	require.NoError(t, err)
	for range 2 { // the second time from a recovered cluster
		_, err = raftpico.Recover(file, "")
		require.NoError(t, err)
		require.NoError(t, os.Remove(saved))
	}
	known := []uint64{kept, logged}
	for _, file := range []string{file, restored} {
		for range 2 { // the second start is from what the first has written
			s := startServer(t, machine.JSON(&diary{}), func(o *raftpico.Options) { o.File, o.Addr = file, old.Addr() })
			require.NoError(t, s.Ready(t.Context()))
			again, err := s.ApplyOnce(t.Context(), raftpico.Session{ID: kept, Seq: 1}, "kept")
			require.NoError(t, err)
			require.Equal(t, once, again, "it was carried out once")
			_, err = s.ApplyOnce(t.Context(), raftpico.Session{ID: logged, Seq: 1}, "logged")
			if file == restored {
				require.ErrorIs(t, err, raftpico.ErrSessionEnded)
			} else {
				require.NoError(t, err)
			}
			for range 20 { // past the ids that the old cluster would have given
				id := open(s)
				require.Greater(t, id, uint64(1<<32))
				require.Less(t, id, uint64(1<<53))
				require.NotContains(t, known, id)
				known = append(known, id)
			}
			require.NoError(t, s.Close())
		}
	}
}

// A log is carried out again up to any entry, and gives what was answered then.
func TestReplayGivesTheStateOfAnyEntry(t *testing.T) {
	t.Parallel()
	file, _, lines, _ := lostMajority(t)
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	info, err := raftpico.Replay(file, machine.JSON(&diary{}), 0)
	require.NoError(t, err)
	require.Equal(t, info.Commit, info.Index)
	require.LessOrEqual(t, info.Commit, info.Last)
	count := 0
	for upTo := info.Snapshot; upTo <= info.Last; upTo++ {
		d := &diary{}
		i, err := raftpico.Replay(file, machine.JSON(d), upTo)
		require.NoError(t, err)
		require.Equal(t, upTo, i.Index)
		require.GreaterOrEqual(t, len(d.Lines), count)
		count = len(d.Lines)
		shared := min(count, len(lines))
		require.Equal(t, lines[:shared], d.Lines[:shared])
	}
	require.GreaterOrEqual(t, count, len(lines))
	for _, out := range []uint64{info.Snapshot - 1, info.Last + 1, 1 << 63} {
		i, err := raftpico.Replay(file, machine.JSON(&diary{}), out)
		require.ErrorContains(t, err, fmt.Sprintf("covers the states behind entries %d to %d, not %d", info.Snapshot, info.Last, out))
		require.Equal(t, info.Last, i.Last)
	}
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// faulty panics at a command.
type faulty struct{ diary }

func (f *faulty) Apply(ctx *machine.Context, in string) (any, error) {
	if in == "command 4" && ctx.Kind == machine.Command {
		panic("four")
	}
	return f.diary.Apply(ctx, in)
}

func TestReplayTellsWhereAMachinePanics(t *testing.T) {
	t.Parallel()
	file, _, _, _ := lostMajority(t)
	info, err := raftpico.Replay(file, machine.JSON(&diary{}), 0)
	require.NoError(t, err)
	_, err = raftpico.Replay(file, machine.JSON(&faulty{}), info.Last) // that the last command was committed the file may not say
	require.ErrorContains(t, err, "four")
	require.ErrorContains(t, err, `input "command 4"`)
}
