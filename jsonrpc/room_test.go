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

// conn is the server's side of a client.
func (s *Server) conn(client *raw) (found *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.RemoteAddr().String() == client.LocalAddr().String() {
			found = c
		}
	}
	return found
}

func TestConnectionThatIsIdleLongestGivesWay(t *testing.T) {
	held := make(chan *Call, 1)
	large := make([]byte, 20<<20) // more than the kernel takes
	for i := range large {
		large[i] = '1'
	}
	s := &Server{Handler: func(calls []Call) {
		c := &calls[0]
		switch c.Method {
		case "hold":
			held <- c
			return
		case "large":
			c.Result(large)
		case "trust":
			c.Conn().Exempt()
			c.Result(nil)
		default:
			c.Result(nil)
		}
		c.Conn().Flush()
	}}
	addr := start(t, s)
	client := func(method string, idle time.Duration) *raw {
		c := connect(t, addr)
		c.send(`{"jsonrpc":"2.0","method":"` + method + `","id":1}` + "\n")
		if method == "hold" {
			call := <-held
			t.Cleanup(func() { call.Result(nil) })
		} else {
			_, err := c.in.Peek(1)
			require.NoError(t, err)
		}
		conn := s.conn(c)
		require.Eventually(t, func() bool {
			conn.mu.Lock()
			defer conn.mu.Unlock()
			return conn.unread == 0 && (method == "hold" || conn.requests == 0)
		}, time.Minute, time.Millisecond)
		conn.mu.Lock()
		conn.moved = time.Now().Add(-idle)
		conn.mu.Unlock()
		return c
	}
	client("trust", 9*time.Hour)
	client("hold", 9*time.Hour)
	client("large", stalled/2) // it may still read
	fresh := client("echo", 0)
	stuck := client("large", time.Hour)
	old := client("echo", time.Minute)
	for _, next := range []*raw{stuck, old, fresh, nil} {
		s.mu.Lock()
		found := s.makeRoom()
		s.mu.Unlock()
		require.Equal(t, next != nil, found)
		if next != nil {
			next.gone()
			require.Eventually(t, func() bool { return s.conn(next) == nil }, time.Minute, time.Millisecond)
		}
	}
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
