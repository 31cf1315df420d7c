package jsonrpc

import (
	"bufio"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// piped is a listener of pipes, where nothing is on its way: what a client has not read, the server has not sent.
type piped chan net.Conn

func (p piped) listener() net.Listener {
	return failing{accept: func() (net.Conn, error) {
		if nc, ok := <-p; ok {
			return nc, nil
		}
		return nil, net.ErrClosed
	}}
}

func (p piped) connect(t testing.TB) *raw {
	client, server := net.Pipe()
	p <- server
	return &raw{client, t, bufio.NewReader(client)}
}

func TestConnectionThatIsIdleLongestGivesWay(t *testing.T) {
	asked := make(chan *Call, 1)
	s := &Server{Handler: func(calls []Call) { asked <- &calls[0] }}
	dials := make(piped)
	served := make(chan error)
	go func() { served <- s.Serve(dials.listener()) }()
	client := func(idle time.Duration, do func(*Call, *raw)) *raw {
		c := dials.connect(t)
		c.send(echoLine + "\n")
		call := <-asked
		do(call, c)
		conn := call.Conn()
		require.Eventually(t, func() bool {
			conn.mu.Lock()
			defer conn.mu.Unlock()
			return !conn.decoding
		}, time.Minute, time.Millisecond)
		conn.mu.Lock()
		conn.moved = time.Now().Add(-idle)
		conn.mu.Unlock()
		return c
	}
	unread := func(call *Call, _ *raw) {
		call.Result(nil)
		call.Conn().Flush()
	}
	read := func(call *Call, c *raw) {
		unread(call, c)
		c.line()
		require.Eventually(t, func() bool {
			call.Conn().mu.Lock()
			defer call.Conn().mu.Unlock()
			return call.Conn().out.unsent() == 0
		}, time.Minute, time.Millisecond)
	}
	client(9*time.Hour, func(call *Call, c *raw) { call.Conn().Exempt(); read(call, c) })
	client(9*time.Hour, func(*Call, *raw) {}) // its request is under way
	client(stalled/2, unread)                 // it may still read
	fresh := client(0, read)
	stuck := client(time.Hour, unread)
	old := client(time.Minute, read)
	for _, next := range []*raw{stuck, old, fresh, nil} {
		s.mu.Lock()
		found := s.makeRoom()
		n := len(s.conns)
		s.mu.Unlock()
		require.Equal(t, next != nil, found)
		if next != nil {
			next.gone()
			require.Eventually(t, func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.conns) == n-1
			}, time.Minute, time.Millisecond)
		}
	}
	close(dials)
	require.Equal(t, net.ErrClosed, <-served)
	require.NoError(t, s.Close())
}

func TestIdleConnectionGivesWayWhenFileDescriptorsRunOut(t *testing.T) {
	s := &Server{Handler: echo}
	waiting := make(chan net.Conn, 1)
	ln := failing{accept: func() (net.Conn, error) {
		nc, ok := <-waiting
		if !ok {
			return nil, io.ErrUnexpectedEOF
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.conns) > 0 {
			waiting <- nc
			return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		return nc, nil
	}}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	client := func() *raw {
		c, nc := net.Pipe()
		waiting <- nc
		return &raw{c, t, bufio.NewReader(c)}
	}
	stranger := client()
	stranger.echoes()
	newcomer := client() // with one place alone
	newcomer.echoes()
	stranger.gone()
	close(waiting)
	require.Equal(t, io.ErrUnexpectedEOF, <-served)
	require.NoError(t, s.Close())
}

func TestMaxConnsLeavesFileDescriptorsToOthers(t *testing.T) {
	for _, c := range []struct {
		limits      Limits
		files, want int
	}{
		{Limits{}, 1 << 20, 16384},
		{Limits{}, 1024, 1008},
		{Limits{Reserve: 40}, 64, 24},
		{Limits{Reserve: 40, MaxConns: 10}, 64, 10},
		{Limits{Reserve: 40}, 32, 8},
		{Limits{Reserve: 40}, 1, 1},
	} {
		require.Equal(t, c.want, c.limits.filled(c.files).MaxConns, "%+v", c)
	}
}
