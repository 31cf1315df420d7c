package front

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/backup"
	"github.com/raftpico/go/raftpico/internal/node"
)

// closing is a state that tells when it is closed.
type closing struct {
	io.Reader
	closed *int
}

func (c closing) Close() error { *c.closed++; return nil }

func streamOf(t *testing.T, closed *int) *backup.Stream {
	s, err := backup.New(backup.Head{Index: 1, Term: 1, Bytes: 2}, json.RawMessage(`{}`), closing{strings.NewReader(`{}`), closed})
	require.NoError(t, err)
	return s
}

// Nothing of a backup is kept that nobody reads: it is dropped when its time is over, with its connection, and at its end.
func TestABackupIsDroppedOnce(t *testing.T) {
	var all backups
	closed := 0
	begun := func() *outgoing {
		t.Helper()
		require.True(t, all.enter())
		o := &outgoing{of: &all}
		require.NoError(t, o.open(streamOf(t, &closed)))
		return o
	}
	for i, end := range []func(o *outgoing){
		func(o *outgoing) {
			o.timer.Reset(0)
			require.Eventually(t, func() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.stream == nil }, 20*time.Second, time.Millisecond)
		},
		func(o *outgoing) { o.end() },
		func(o *outgoing) { o.drop(); o.drop(); o.end() },
		func(o *outgoing) {
			answer, err := o.next(0)
			require.NoError(t, err)
			require.Contains(t, string(answer), `"end":true`)
		},
	} {
		o := begun()
		end(o)
		require.Equal(t, i+1, closed)
		require.Zero(t, all.count)
		_, err := o.next(0)
		require.ErrorIs(t, err, jsonrpc.ErrInvalidParams)
	}
	gone := &outgoing{of: &all}
	gone.end()
	require.ErrorIs(t, gone.open(streamOf(t, &closed)), node.ErrRejected, "its connection has ended meanwhile")
	twice := begun()
	require.ErrorIs(t, twice.open(streamOf(t, &closed)), node.ErrRejected)
	for range maxBackups - 1 {
		require.True(t, all.enter())
	}
	require.False(t, all.enter())
}
