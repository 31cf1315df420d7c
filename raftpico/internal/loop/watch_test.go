package loop_test

import (
	"bufio"
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/loop"
	"github.com/raftpico/go/raftpico/internal/node"
)

type tally struct{ Count int }

func (m *tally) Apply(ctx *machine.Context, _ json.RawMessage) (any, error) {
	if ctx.Kind == machine.Command {
		m.Count++
	}
	return m.Count, nil
}

type answer struct {
	ID     string
	Result json.RawMessage
	Error  *jsonrpc.Error
}

// client speaks with a loop over one connection.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (c *client) send(lines ...string) {
	for i, line := range lines {
		lines[i] = `{"jsonrpc":"2.0",` + line + "}\n"
	}
	_, err := c.conn.Write([]byte(strings.Join(lines, "")))
	require.NoError(c.t, err)
}

// receive returns that many answers by their ids.
func (c *client) receive(n int) map[string]answer {
	c.t.Helper()
	answers := map[string]answer{}
	for range n {
		require.NoError(c.t, c.conn.SetReadDeadline(time.Now().Add(time.Minute)))
		line, err := c.in.ReadBytes('\n')
		require.NoError(c.t, err)
		var a answer
		require.NoError(c.t, json.Unmarshal(line, &a))
		require.NotContains(c.t, answers, a.ID)
		answers[a.ID] = a
	}
	return answers
}

func apply(kind, id string) string {
	return `"method":"Apply","params":{"kind":"` + kind + `","input":1},"id":"` + id + `"`
}

// TestFrozenDiskLeavesNobodyWaiting: while a sync hangs, what needs no disk is answered, and all else at its deadline: what the core
// has been given by 107, or 108 where it changes nothing, the rest by 108, which is certain. Nobody is answered twice.
func TestFrozenDiskLeavesNobodyWaiting(t *testing.T) {
	const deadline = 1500 * time.Millisecond
	disk := newFrozen()
	l, conn := start(t, func(c *loop.Config) {
		c.Machine, c.FS, c.File, c.Deadline = machine.JSON(&tally{}), disk, filepath.Join(t.TempDir(), "log"), deadline
	})
	t.Cleanup(func() { _ = disk.ice.TryLock(); disk.ice.Unlock() })
	c := &client{t, conn, bufio.NewReader(conn)}
	command := func(ctx context.Context) error {
		_, err := l.Call(ctx, node.Request{Op: node.Apply, Kind: machine.Command, Input: json.RawMessage("1")})
		return err
	}
	require.NoError(t, command(t.Context()))

	for round := 1; round <= 3; round++ {
		disk.ice.Lock()
		// The reader of this connection does the turn, and hangs in it.
		c.send(apply("Command", "inside"), apply("Query", "reading"), `"method":"TakeSnapshot","id":"snapshot"`)
		require.Eventually(t, l.AtDisk, time.Minute, time.Millisecond)
		began := time.Now()
		// On the same connection, so that somebody else must read.
		c.send(apply("LocalQuery", "local"), `"method":"GetServerState","id":"state"`, `"method":"GetServerState","params":{"machines":false},"id":"bare"`)
		now := c.receive(4)
		require.Nil(t, now["reading"].Error) // a leader that is alone needs nobody for it
		require.Nil(t, now["local"].Error)
		require.Contains(t, string(now["state"].Result), `"machines_missing":"the disk does not answer"`)
		require.Contains(t, string(now["bare"].Result), `"role":"Leader"`)
		require.NotContains(t, string(now["bare"].Result), `machines_missing`)

		asked := make(chan error, 2)
		go func() { asked <- command(context.Background()) }()
		go func() {
			_, err := l.Call(context.Background(), node.Request{Op: node.AddServer, Addr: "127.0.0.1:9"})
			asked <- err
		}()
		gone, leave := context.WithCancel(context.Background())
		leave()
		_, err := l.Call(cancelled{gone}, node.Request{Op: node.Apply, Kind: machine.Command, Input: json.RawMessage("1")})
		require.ErrorIs(t, err, node.ErrUnknown) // its Cancel stays in the inbox
		c.send(apply("Command", "outside"), apply("Query", "late"))
		late := c.receive(4)
		require.ErrorIs(t, late["inside"].Error, node.ErrUnknown)
		require.ErrorIs(t, late["snapshot"].Error, node.ErrUnknown)
		for _, id := range []string{"outside", "late"} {
			require.ErrorIs(t, late[id].Error, node.ErrNoLeader, id)
		}
		require.ErrorIs(t, <-asked, node.ErrNoLeader)
		require.ErrorIs(t, <-asked, node.ErrNoLeader)
		require.Less(t, time.Since(began), 20*time.Second)
		disk.ice.Unlock()

		// It goes on: what hung is carried out, what was refused is not.
		require.Eventually(t, func() bool { return !l.AtDisk() }, time.Minute, time.Millisecond)
		require.Eventually(t, func() bool { // the snapshot comes to its end too
			c.send(`"method":"TakeSnapshot","id":"after"`)
			return c.receive(1)["after"].Error == nil
		}, time.Minute, 10*time.Millisecond)
		c.send(apply("Query", "count"))
		require.JSONEq(t, string(mustMarshal(t, 1+round)), string(c.receive(1)["count"].Result))
	}
	require.Zero(t, l.Early(), "the core has answered all again")
}

// cancelled is a context that ends when its end is waited for.
type cancelled struct{ context.Context }

func (cancelled) Err() error { return nil }

func mustMarshal(t *testing.T, v any) []byte {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}
