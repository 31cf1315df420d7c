//go:build unix

package jsonrpc

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pair returns the two ends of a connection.
func pair(t *testing.T, network, addr string) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen(network, addr)
	require.NoError(t, err)
	defer ln.Close()
	a, err = net.Dial(network, ln.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { a.Close() })
	b, err = ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	return a, b
}

// A socket is read as by its own Read: what has come, then what comes, its end, a deadline, and why it broke.
func TestSocketReader(t *testing.T) {
	for network, addr := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		t.Run(network, func(t *testing.T) {
			a, b := pair(t, network, addr)
			in := readerOf(b)
			require.IsType(t, &socketReader{}, in)
			buf := make([]byte, 8)

			_, err := a.Write([]byte("0123456789"))
			require.NoError(t, err)
			_, err = io.ReadFull(in, buf)
			require.NoError(t, err)
			require.Equal(t, "01234567", string(buf))
			n, err := in.Read(buf)
			require.NoError(t, err)
			require.Equal(t, "89", string(buf[:n]))
			n, err = in.Read(nil)
			require.NoError(t, err)
			require.Zero(t, n)

			late := time.AfterFunc(10*time.Millisecond, func() { _, _ = a.Write([]byte("later")) })
			defer late.Stop()
			n, err = in.Read(buf)
			require.NoError(t, err)
			require.Equal(t, "later", string(buf[:n]))

			require.NoError(t, b.SetReadDeadline(time.Now().Add(time.Millisecond)))
			_, err = in.Read(buf)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.NoError(t, b.SetReadDeadline(time.Time{}))

			require.NoError(t, a.Close())
			_, err = in.Read(buf)
			require.ErrorIs(t, err, io.EOF)
			require.NoError(t, b.Close())
			_, err = in.Read(buf)
			require.ErrorIs(t, err, net.ErrClosed)
		})
	}
}

func TestSocketReaderTellsWhyAConnectionBroke(t *testing.T) {
	a, b := pair(t, "tcp", "127.0.0.1:0")
	require.NoError(t, a.(*net.TCPConn).SetLinger(0))
	require.NoError(t, a.Close())
	_, err := readerOf(b).Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	_, ok := errors.AsType[*net.OpError](err)
	require.True(t, ok, "%T", err)
	require.Contains(t, err.Error(), "read tcp "+b.LocalAddr().String()+"->"+b.RemoteAddr().String())
}
