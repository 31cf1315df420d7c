package loop_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"

	"github.com/raftpico/go/raftpico/internal/loop"
)

// slowly is a file system whose syncs take 2 ms.
type slowly struct {
	storage.FS
	syncs atomic.Int64
}

func (f *slowly) OpenFile(name string, flag int, perm os.FileMode) (storage.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	return &slowFile{file, f}, err
}

type slowFile struct {
	storage.File
	fs *slowly
}

func (f *slowFile) Sync() error {
	f.fs.syncs.Add(1)
	time.Sleep(2 * time.Millisecond)
	return f.File.Sync()
}

// TestSaveBesideTheTurn: while a slow disk is at commands, others come, queries see what was answered, and snapshots are
// taken.
func TestSaveBesideTheTurn(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	begin := func(c *loop.Config) {
		c.Machine, c.FS, c.File, c.CompactAfter = machine.JSON(&tally{}), &slowly{FS: storage.OS}, name, 4<<10
	}
	l, _ := start(t, begin)
	call := func(kind machine.Kind) (count int, err error) {
		result, err := l.Call(t.Context(), node.Request{Op: node.Apply, Kind: kind, Input: json.RawMessage("1")})
		if err != nil {
			return 0, err
		}
		return count, json.Unmarshal(result, &count)
	}
	const callers, times = 8, 20
	var all sync.WaitGroup
	failures := make(chan error, callers)
	for range callers {
		all.Go(func() {
			for range times {
				done, err := call(machine.Command)
				var seen int
				if err == nil {
					seen, err = call(machine.Query)
				}
				if err == nil && seen < done {
					err = fmt.Errorf("%d seen after %d was answered", seen, done)
				}
				if err != nil {
					failures <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(failures)
	require.NoError(t, <-failures)
	require.Positive(t, l.Beside())
	count, err := call(machine.LocalQuery)
	require.NoError(t, err)
	require.Equal(t, callers*times, count)
}
