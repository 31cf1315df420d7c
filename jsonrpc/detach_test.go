package jsonrpc

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A request that was detached is answered later, as itself. It keeps no memory of what came with it, and takes no place
// of other requests.
func TestDetachedRequests(t *testing.T) {
	detached := make(chan *Call, 1000)
	s := &Server{Limits: Limits{MaxUnderway: 10, MaxRequests: 20}, Handler: func(calls []Call) {
		for i := range calls {
			if c := &calls[i]; c.Method == "wait" {
				d := c.Detach()
				require.Same(t, d, d.Detach())
				detached <- d
			} else {
				c.Result(c.Params)
			}
		}
		calls[0].Conn().Flush()
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = s.Serve(l) }()
	defer func() { require.NoError(t, s.Shutdown(0)) }()
	nc, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer nc.Close()
	in := bufio.NewReader(nc)
	line := func() string {
		line, err := in.ReadString('\n')
		require.NoError(t, err)
		return strings.TrimSpace(line)
	}
	var waits []*Call
	for i := range 100 { // ten times what may be under way
		_, err = fmt.Fprintf(nc, `{"jsonrpc":"2.0","method":"wait","params":["%s"],"id":"w%d"}`+"\n"+`{"jsonrpc":"2.0","method":"echo","params":[%d],"id":%d}`+"\n",
			strings.Repeat("x", 5000), i, i, i)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":[%d]}`, i, i), line())
		waits = append(waits, <-detached)
	}
	conn := waits[0].Conn()
	require.Equal(t, 100, conn.Detached())
	conn.mu.Lock()
	require.Zero(t, conn.pinned)
	require.Zero(t, conn.requests)
	conn.mu.Unlock()
	for i, c := range waits {
		require.Empty(t, c.Params)
		c.Result([]byte("true"))
		conn.Flush()
		require.Equal(t, fmt.Sprintf(`{"jsonrpc":"2.0","id":"w%d","result":true}`, i), line())
	}
	require.Zero(t, conn.Detached())

	// A client that only stops sending gets its answers. So does a batch, in one piece.
	_, err = io.WriteString(nc, `[{"jsonrpc":"2.0","method":"wait","id":1},{"jsonrpc":"2.0","method":"echo","params":[],"id":2}]`+"\n")
	require.NoError(t, err)
	require.NoError(t, nc.(*net.TCPConn).CloseWrite())
	(<-detached).Fail(ErrInternal)
	conn.Flush()
	answers := line()
	require.Contains(t, answers, `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"Internal error"}}`)
	require.Contains(t, answers, `{"jsonrpc":"2.0","id":2,"result":[]}`)
	_, err = in.ReadByte()
	require.ErrorIs(t, err, io.EOF)
}
