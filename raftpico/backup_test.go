package raftpico_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// ledger is a machine of which one can see whether a state is consistent: each command adds to two places.
type ledger struct {
	Count int
	Sum   map[string]int
	Clock int64 // of the last command, Unix milliseconds
	Drawn string
}

func (l *ledger) Apply(ctx *machine.Context, in string) (any, error) {
	if ctx.Kind == machine.Command {
		if l.Sum == nil {
			l.Sum = map[string]int{}
		}
		l.Count++
		l.Sum[in]++
		l.Clock = ctx.Time.UnixMilli()
	}
	return l.Count, nil
}

func (l *ledger) consistent() bool {
	sum := 0
	for _, n := range l.Sum {
		sum += n
	}
	return sum == l.Count
}

// backedUp is a backup of a server.
func backedUp(t *testing.T, s *raftpico.Server) ([]byte, raftpico.BackupInfo) {
	t.Helper()
	var out bytes.Buffer
	info, err := s.Backup(t.Context(), &out)
	require.NoError(t, err)
	return out.Bytes(), info
}

// A backup is of one moment, and has all that was acknowledged before it was asked for, whichever server is asked and
// whatever comes meanwhile.
func TestABackupUnderLoadIsConsistent(t *testing.T) {
	t.Parallel()
	servers := startStill(t, 3, func() machine.Machine { return machine.JSON(&ledger{}) })
	var acknowledged atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for _, s := range servers {
		for _, key := range []string{"a", "b", "c"} {
			load.Go(func() {
				for ctx.Err() == nil {
					if _, err := s.Apply(ctx, machine.Command, key); err == nil {
						acknowledged.Add(1)
					}
				}
			})
		}
	}
	waitFor(t, func() bool { return acknowledged.Load() > 100 })
	for _, s := range servers {
		least := acknowledged.Load()
		text, info := backedUp(t, s)
		most := acknowledged.Load() + 9
		var state struct{ State ledger }
		require.NoError(t, json.Unmarshal(bytes.Split(text, []byte("\n"))[2], &state))
		require.True(t, state.State.consistent(), "%+v", state)
		require.GreaterOrEqual(t, int64(state.State.Count), least)
		require.LessOrEqual(t, int64(state.State.Count), most)
		checked, err := raftpico.VerifyBackup(bytes.NewReader(text))
		require.NoError(t, err)
		require.Equal(t, info, checked)
		require.Equal(t, int64(len(text)), info.Bytes)
		require.Equal(t, state.State.Clock, info.Time.UnixMilli())
	}
	stop()
	load.Wait()
}

// What makes a server a member is in no backup: the cluster's key, and the servers' instances.
func TestABackupHoldsNoSecretOfTheCluster(t *testing.T) {
	t.Parallel()
	files := []string{}
	servers := make([]*raftpico.Server, 2)
	for i := range servers {
		servers[i] = startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { files = append(files, o.File) })
	}
	joinAll(t, servers, still)
	text, info := backedUp(t, servers[1])
	require.NotEmpty(t, info.ClusterID)
	for _, file := range files {
		log, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range bytes.Lines(log) {
			var r struct {
				Header   *struct{ Instance string }
				Identity *struct{ Key string }
			}
			require.NoError(t, json.Unmarshal(line, &r))
			if r.Header != nil {
				require.NotContains(t, string(text), r.Header.Instance)
			}
			if r.Identity != nil {
				require.NotContains(t, string(text), r.Identity.Key)
			}
		}
	}
	for _, s := range servers {
		require.NotContains(t, string(text), s.Addr())
	}
}

// client of a backup on the wire.
type download struct {
	client *jsonrpc.Client
	offset int64
	text   []byte
}

func (d *download) begin(t *testing.T, params any) error {
	return d.client.Call(t.Context(), "BeginBackup", params, nil)
}

func (d *download) next(t *testing.T) (end bool, err error) {
	var piece struct {
		Data []byte
		End  bool
	}
	err = d.client.Call(t.Context(), "ReadBackup", map[string]int64{"offset": d.offset}, &piece)
	d.offset += int64(len(piece.Data))
	d.text = append(d.text, piece.Data...)
	return piece.End, err
}

func downloader(t *testing.T, s *raftpico.Server) *download {
	t.Helper()
	c, err := jsonrpc.Dial(t.Context(), s.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return &download{client: c}
}

// A backup on the wire stays what it was at its beginning, also when the log's file is replaced meanwhile.
func TestABackupOnTheWireOutlivesItsFile(t *testing.T) {
	t.Parallel()
	for name, memory := range map[string]bool{"with a file": false, "in memory": true} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, machine.JSON(&text{}), func(o *raftpico.Options) {
				if o.InMemory = memory; memory {
					o.File = ""
				}
			})
			_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{})
			require.NoError(t, err)
			first := strings.Repeat("first ", 500_000)
			_, err = s.Apply(t.Context(), machine.Command, first)
			require.NoError(t, err)
			d := downloader(t, s)
			require.NoError(t, d.begin(t, nil))
			end, err := d.next(t)
			require.NoError(t, err)
			require.False(t, end)
			for range 3 {
				_, err = s.Apply(t.Context(), machine.Command, "second")
				require.NoError(t, err)
				_, err = s.TakeSnapshot(t.Context())
				require.NoError(t, err)
			}
			for !end {
				end, err = d.next(t)
				require.NoError(t, err)
			}
			m := &text{}
			other, _ := restored(t, machine.JSON(m), d.text, nil)
			out, err := other.Apply(t.Context(), machine.Query, "")
			require.NoError(t, err)
			require.Equal(t, `"`+first+`"`, string(out))
		})
	}
}

// text is a machine that keeps the last text.
type text struct{ Last string }

func (m *text) Apply(ctx *machine.Context, in string) (any, error) {
	if ctx.Kind == machine.Command {
		m.Last = in
		return nil, nil
	}
	return m.Last, nil
}

// Few backups are under way at once. One ends with its connection, at its end, and when another is begun there.
func TestBackupsAreFewAtOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t, machine.JSON(&counter{}), nil)
	_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	var all []*download
	for range 4 {
		d := downloader(t, s)
		require.NoError(t, d.begin(t, map[string]bool{"fresh": false}))
		require.NoError(t, d.begin(t, nil), "again, on the same connection")
		all = append(all, d)
	}
	late := downloader(t, s)
	require.ErrorIs(t, late.begin(t, nil), raftpico.ErrBusy)
	_, err = late.next(t)
	require.ErrorIs(t, err, raftpico.ErrInvalidParams)
	end, err := all[0].next(t)
	require.NoError(t, err)
	require.True(t, end)
	_, err = raftpico.VerifyBackup(bytes.NewReader(all[0].text))
	require.NoError(t, err)
	require.NoError(t, late.begin(t, nil))
	require.ErrorIs(t, all[0].begin(t, nil), raftpico.ErrBusy)
	require.NoError(t, all[1].client.Close())
	waitFor(t, func() bool { return !errors.Is(all[0].begin(t, nil), raftpico.ErrBusy) })
	require.NoError(t, s.Close())
	_, err = all[2].next(t)
	require.Error(t, err)
}

// A backup needs about the same memory, whatever the state's size.
func TestABackupNeedsLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 100 MiB")
	}
	a := startArchive(t, nil)
	_, err := a.CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	a.fill(t, 400, 256<<10) // 100 MiB
	d := downloader(t, a.Server)
	require.NoError(t, d.begin(t, nil))
	held := func() int64 { // by whoever lives
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, peak := held(), int64(0)
	read, write := io.Pipe()
	verified := make(chan error, 1)
	go func() { // ends when write is closed
		_, err := raftpico.VerifyBackup(read)
		verified <- err
	}()
	for end, pieces := false, 0; !end; pieces++ {
		end, err = d.next(t)
		require.NoError(t, err)
		_, err = write.Write(d.text)
		require.NoError(t, err)
		d.text = d.text[:0]
		if pieces%10 == 0 {
			peak = max(peak, held()-before)
		}
	}
	require.NoError(t, write.Close())
	require.NoError(t, <-verified)
	require.Greater(t, d.offset, int64(100<<20))
	t.Logf("%d MiB of backup; client and server together held up to %d KiB more meanwhile", d.offset>>20, peak>>10)
	require.Less(t, peak, int64(32<<20))
}

// A snapshot that the disk has spoiled makes no backup: whoever reads it is told, and the next one is of a new snapshot.
func TestABackupOfASpoiledSnapshotIsRefused(t *testing.T) {
	t.Parallel()
	a := startArchive(t, nil)
	_, err := a.CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	a.fill(t, 20, 256<<10) // 5 MB
	_, err = a.TakeSnapshot(t.Context())
	require.NoError(t, err)
	flip(t, a.opts.File, `xxxx"`)
	d := downloader(t, a.Server)
	require.NoError(t, d.begin(t, map[string]bool{"fresh": false}))
	for err == nil {
		var end bool
		end, err = d.next(t)
		require.False(t, end)
	}
	require.ErrorIs(t, err, jsonrpc.ErrInternal)
	require.ErrorContains(t, err, "damaged")
	_, err = raftpico.VerifyBackup(bytes.NewReader(d.text))
	require.ErrorContains(t, err, "line 3: it is cut")

	await(t, func() bool {
		var out bytes.Buffer
		_, err := a.Backup(t.Context(), &out)
		if err != nil {
			return false
		}
		_, err = raftpico.VerifyBackup(&out)
		return err == nil
	})
}

// A backup whose context ends, or whose writer fails, ends with that.
func TestABackupEndsWithItsContextAndItsWriter(t *testing.T) {
	t.Parallel()
	s := startServer(t, machine.JSON(&counter{}), nil)
	_, err := s.Backup(t.Context(), io.Discard)
	require.ErrorIs(t, err, raftpico.ErrNotMember)
	_, err = s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Backup(ctx, io.Discard)
	require.ErrorIs(t, err, context.Canceled)
	full := errors.New("no space left on device")
	_, err = s.Backup(t.Context(), fullDisk{full})
	require.ErrorIs(t, err, full)
	_, err = s.Backup(t.Context(), io.Discard)
	require.NoError(t, err)
}

type fullDisk struct{ err error }

func (r fullDisk) Write([]byte) (int, error) { return 0, r.err }
