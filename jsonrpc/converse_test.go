package jsonrpc

import (
	"bufio"
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// converse is one who speaks with a server over a pipe, and what came of it.
func converse(ctx context.Context, t *testing.T, s *Server, value any) (*raw, chan bool) {
	client, server := net.Pipe()
	over := make(chan bool, 1)
	go func() { over <- s.Converse(ctx, server, value) }()
	t.Cleanup(func() { _ = client.Close() })
	return &raw{client, t, bufio.NewReader(client)}, over
}

func TestConversationEndsWhenAllIsAnswered(t *testing.T) {
	asked := make(chan *Call, 10)
	s := &Server{Handler: func(calls []Call) {
		for i := range calls {
			asked <- &calls[i]
		}
	}}
	defer s.Close()
	c, over := converse(t.Context(), t, s, "who")
	c.send("no JSON\n") // whoever calls Converse has kept web pages away
	require.Contains(t, c.line(), `"code":-32700`)
	c.send(`{"jsonrpc":"2.0","id":1}` + "\n")
	require.Contains(t, c.line(), `"code":-32600`)
	before := time.Now()
	c.send(echoLine + "\n")
	call := <-asked
	require.Equal(t, "who", call.Conn().Value())
	require.WithinRange(t, call.Came(), before, time.Now())
	now := s.Stats()
	require.Positive(t, now.Underway)
	now.Underway, now.Held = 0, 0
	require.Equal(t, Stats{Conns: 1, Accepted: 1, Unparsed: 1, Invalid: 1}, now)
	call.Tag = 7
	late := call.Detach()
	require.EqualValues(t, 7, late.Tag)
	require.Equal(t, call.Came(), late.Came())
	late.Result(nil)
	late.Conn().Flush()
	require.Contains(t, c.line(), `"result":null`)
	require.NoError(t, c.Close())
	require.True(t, <-over)
	require.Zero(t, s.Stats().Conns)
}

func TestConversationIsCutOffWithItsContext(t *testing.T) {
	asked := make(chan *Call, 1)
	s := &Server{Handler: func(calls []Call) { asked <- &calls[0] }}
	defer s.Close()
	ctx, leave := context.WithCancel(t.Context())
	c, over := converse(ctx, t, s, nil)
	c.send(echoLine + "\n")
	call := <-asked
	leave()
	require.False(t, <-over)
	require.True(t, call.Conn().Gone())
	call.Result(nil) // nobody hears it
}

func TestConversationIsRefusedWhereThereIsNoRoom(t *testing.T) {
	asked := make(chan *Call, 2)
	s := &Server{Handler: func(calls []Call) { asked <- &calls[0] }, Limits: Limits{MaxConns: 1}}
	first, over := converse(t.Context(), t, s, nil)
	first.send(echoLine + "\n")
	busy := <-asked
	_, refused := converse(t.Context(), t, s, nil)
	require.False(t, <-refused)
	require.EqualValues(t, 1, s.Stats().Refused)
	busy.Result(nil)
	busy.Conn().Flush()
	first.line()
	require.Eventually(t, func() bool { // it gives way when it is idle
		second, _ := converse(t.Context(), t, s, nil)
		return s.Stats().GaveWay > 0 && second != nil
	}, 20*time.Second, 5*time.Millisecond)
	require.False(t, <-over)
	require.NoError(t, s.Close())
	_, refused = converse(t.Context(), t, s, nil)
	require.False(t, <-refused)
}

func TestConnectionThatHoldsTooMuchIsCounted(t *testing.T) {
	s := &Server{Limits: Limits{MaxUnsent: 1 << 10}}
	s.Handler = func(calls []Call) {
		for range 3 { // what is unread already decides about the next
			calls[0].Conn().mu.Lock()
			calls[0].Conn().put(nil, calls[0].ID, make([]byte, 4<<10), nil)
			calls[0].Conn().unlock()
		}
		calls[0].Fail(ErrInternal)
	}
	defer s.Close()
	c, over := converse(t.Context(), t, s, nil)
	c.send(echoLine + "\n")
	require.False(t, <-over)
	require.EqualValues(t, 1, s.Stats().CutOff)
}
