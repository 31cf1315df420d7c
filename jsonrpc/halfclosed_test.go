package jsonrpc

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"
)

// waitServer serves requests that wait until the test answers them.
func waitServer(t *testing.T) (addr string, detached chan *Call, closed chan *Conn) {
	detached, closed = make(chan *Call, 100), make(chan *Conn, 100)
	s := &Server{Closed: func(c *Conn) { closed <- c }, Handler: func(calls []Call) {
		for i := range calls {
			detached <- calls[i].Detach()
		}
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { require.NoError(t, s.Shutdown(0)) })
	return l.Addr().String(), detached, closed
}

func dialWaiter(t *testing.T, addr string) *net.TCPConn {
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	_, err = io.WriteString(nc, `{"jsonrpc":"2.0","method":"wait","id":1}`+"\n"+`[{"jsonrpc":"2.0","method":"wait","id":2},{"jsonrpc":"2.0","method":"wait","id":3}]`+"\n")
	require.NoError(t, err)
	return nc.(*net.TCPConn)
}

// A client that has died while it waited, and so has sent nothing but its end, is found out.
func TestADeadClientIsFoundOut(t *testing.T) {
	t.Parallel()
	addr, detached, closed := waitServer(t)
	nc := dialWaiter(t, addr)
	calls := []*Call{<-detached, <-detached, <-detached}
	require.NoError(t, nc.Close())
	select {
	case c := <-closed:
		require.Same(t, calls[0].Conn(), c)
		require.True(t, c.Gone())
	case <-time.After(20 * time.Second):
		require.Fail(t, "the connection of a client that has died lives on")
	}
	for _, c := range calls {
		c.Result([]byte("true"))
	}
}

// A client that only stops sending is not cut off: before its answers there are spaces, and never in them.
func TestAHalfClosedClientWaitsOn(t *testing.T) {
	t.Parallel()
	addr, detached, closed := waitServer(t)
	nc := dialWaiter(t, addr)
	calls := []*Call{<-detached, <-detached, <-detached}
	in := bufio.NewReader(nc)
	require.NoError(t, nc.CloseWrite())
	spaces := func(n int) {
		for range n {
			b, err := in.ReadByte()
			require.NoError(t, err)
			require.Equal(t, byte(' '), b)
		}
	}
	answers := func() string {
		line, err := in.ReadString('\n')
		require.NoError(t, err)
		require.True(t, json.Valid([]byte(line)), "%q", line)
		return strings.TrimSpace(line)
	}
	spaces(2)
	calls[0].Result([]byte(`"` + strings.Repeat("x", 1<<20) + `"`)) // more than the kernel takes at once
	calls[0].Conn().Flush()
	require.Len(t, answers(), 1<<20+len(`{"jsonrpc":"2.0","id":1,"result":""}`))
	calls[1].Result([]byte("2"))
	spaces(1) // the batch is not complete
	calls[2].Result([]byte("3"))
	calls[2].Conn().Flush()
	require.Equal(t, `[{"jsonrpc":"2.0","id":2,"result":2},{"jsonrpc":"2.0","id":3,"result":3}]`, answers())
	_, err := in.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, nc.Close())
	<-closed
}

// A client that goes on sending, or whose requests do not wait, sees none.
func TestNoSpacesForOthers(t *testing.T) {
	t.Parallel()
	addr, detached, _ := waitServer(t)
	open := dialWaiter(t, addr)
	for range 3 {
		defer (<-detached).Result(nil)
	}
	require.NoError(t, open.SetReadDeadline(time.Now().Add(2*probeEvery+probeEvery/2)))
	_, err := open.Read(make([]byte, 1))
	require.Error(t, err)
	var late net.Error
	require.ErrorAs(t, err, &late)
	require.True(t, late.Timeout())
}

// A Client takes an answer with spaces before it.
func TestAClientPassesOverSpaces(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		line, _ := bufio.NewReader(nc).ReadBytes('\n')
		var r struct{ ID json.RawMessage }
		_ = json.Unmarshal(line, &r)
		for range 3 {
			_, _ = io.WriteString(nc, " ")
			time.Sleep(time.Millisecond)
		}
		_, _ = fmt.Fprintf(nc, `{"jsonrpc":"2.0","id":%s,"result":7}`+"\n", r.ID)
		_, _ = nc.Read(make([]byte, 1))
	}()
	c, err := Dial(t.Context(), l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	var result int
	require.NoError(t, c.Call(t.Context(), "wait", nil, &result))
	require.Equal(t, 7, result)
}
