package raftpico_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// Clients that wait for ever by the thousand leave places for others who want to wait, and hold up nobody who does not: what
// waits takes no place from other requests.
func TestWaitingClientsStarveNobody(t *testing.T) {
	t.Parallel()
	s := startServer(t, newLocks(), func(o *raftpico.Options) {
		o.Limits = raftpico.Limits{MaxWaiting: 1000, MaxPending: 100, MaxUnderway: 100}
	})
	_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	watch := func(id int, name string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","method":"Apply","params":{"kind":"LocalQuery","input":{"Watch":{"Name":%q,"Not":0}},"timeout_ms":300000},"id":%d}`+"\n", name, id)
	}
	waiting := func() int { state, err := s.State(t.Context(), false); require.NoError(t, err); return state.Waiting }
	for i := range 5 {
		greedy := dial(t, s)
		greedy.send(watch(0, "first")) // decides that this is JSON
		for n := 1; n < 3000; n++ {
			greedy.send(watch(n, strings.Repeat("a", n%20)))
		}
		for n := 0; n < 2000; n++ { // at least; it has the lines that were refused
			require.Contains(t, greedy.line(), `"code":110`, "client %d", i)
		}
	}
	require.LessOrEqual(t, waiting(), 1000-1000>>6)

	other := dial(t, s)
	other.send(watch(7, "mine"))
	require.Contains(t, other.ask(`{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":{"Add":1}},"id":8}`+"\n"), `"result":1`)
	require.Contains(t, other.ask(`{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Query","input":{"Sum":{}}},"id":9}`+"\n"), `"result":1`)
	other.send(`{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":{"Lock":{"Name":"mine","For":100000}}},"id":10}` + "\n")
	require.ElementsMatch(t, []string{`{"jsonrpc":"2.0","id":7,"result":1}`, `{"jsonrpc":"2.0","id":10,"result":1}`}, []string{other.line(), other.line()})
}

// Requests that wait end with their connections.
func TestWaitingEndsWithTheConnection(t *testing.T) {
	t.Parallel()
	s := startServer(t, newLocks(), nil)
	_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	waiting := func() int { state, err := s.State(t.Context(), false); require.NoError(t, err); return state.Waiting }
	for _, input := range []string{`"LocalQuery","input":{"Watch":{"Name":"a","Not":0}}`, `"Query","input":{"Watch":{"Name":"a","Not":0}}`, `"Command","input":{"Lock":{"Name":"b","For":1000000}}`} {
		c := dial(t, s)
		if strings.Contains(input, "Lock") {
			require.Contains(t, c.ask(`{"jsonrpc":"2.0","method":"Apply","params":{"kind":`+input+`},"id":1}`+"\n"), `"result"`)
		}
		for n := range 100 {
			c.send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"Apply","params":{"kind":%s,"timeout_ms":300000},"id":%d}`+"\n", input, n))
		}
		require.Eventually(t, func() bool { return waiting() == 100 }, time.Minute, time.Millisecond)
		require.NoError(t, c.Conn.(*net.TCPConn).SetLinger(0)) // a reset: one that only stops sending may still read
		require.NoError(t, c.Close())
		require.Eventually(t, func() bool { return waiting() == 0 }, time.Minute, time.Millisecond)
	}
}

// gated is a machine that defers, and waits for its gate where it is told to.
type gated struct {
	gate    chan struct{}
	Tickets []machine.Ticket
}

func (g *gated) Apply(ctx *machine.Context, in string) (any, error) {
	if in == "gate" {
		<-g.gate
	} else {
		g.Tickets = append(g.Tickets, ctx.Defer())
	}
	return nil, nil
}

// A command that is applied when its connection has ended already does not wait.
func TestCommandOfAConnectionThatHasEndedDoesNotWait(t *testing.T) {
	t.Parallel()
	g := &gated{gate: make(chan struct{})}
	s := startServer(t, machine.JSON(g), nil)
	_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	line := `{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":%q,"timeout_ms":300000},"id":1}` + "\n"
	first := dial(t, s)
	first.send(fmt.Sprintf(line, "gate"))
	c := dial(t, s)
	c.send(fmt.Sprintf(line, "defer"))
	require.NoError(t, c.Conn.(*net.TCPConn).SetLinger(0))
	require.NoError(t, c.Close())
	time.Sleep(200 * time.Millisecond) // the server sees the end meanwhile; if it does not, it forgets the command afterwards
	close(g.gate)
	require.Contains(t, first.line(), `"result":null`)
	require.Eventually(t, func() bool {
		state, err := s.State(t.Context(), false)
		require.NoError(t, err)
		return state.Waiting == 0 && state.Pending == 0
	}, time.Minute, time.Millisecond)
}
