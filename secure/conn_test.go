package secure_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/secure/securetest"
)

// stranger accepts one connection, lets anybody in, and then does as it is told.
func stranger(t *testing.T, ca *securetest.Authority, then func(c *tls.Conn)) (addr string) {
	t.Helper()
	f := ca.Issue(aServer)
	own, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() { // ends with the connection
		defer close(done)
		plain, err := l.Accept()
		if err != nil {
			return
		}
		defer plain.Close()
		if c := tls.Server(plain, &tls.Config{Certificates: []tls.Certificate{own}}); c.Handshake() == nil {
			then(c)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// A handshake alone is no welcome: the other side must answer.
func TestClientWaitsForAnAnswer(t *testing.T) {
	ca := securetest.New(t, "ca")
	for what, c := range map[string]struct {
		then func(c *tls.Conn)
		says string
	}{
		"silence":      {func(c *tls.Conn) { _, _ = io.Copy(io.Discard, c) }, "deadline exceeded"},
		"the end":      {func(c *tls.Conn) { _ = c.Close() }, "said nothing"},
		"another tale": {func(c *tls.Conn) { _, _ = io.Copy(c, endless{}) }, "no raftpico server"},
	} {
		t.Run(what, func(t *testing.T) {
			addr := stranger(t, ca, c.then)
			plain, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			patience := 20 * time.Second
			if what == "silence" {
				patience = 2 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err = ca.TLS(securetest.Request{}).Client(ctx, plain, addr)
			require.ErrorContains(t, err, c.says)
		})
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TLS has a last word, which waits for nobody for long: neither for who takes nothing, nor beyond a deadline that was set.
func TestCloseDoesNotWaitForWhoTakesNothing(t *testing.T) {
	ca := securetest.New(t, "ca")
	for name, patience := range map[string]time.Duration{"no deadline": 0, "a deadline": 50 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			over := make(chan struct{})
			addr := stranger(t, ca, func(c *tls.Conn) {
				_, _ = io.ReadFull(c, make([]byte, 10))
				_, _ = io.WriteString(c, "{}\n")
				<-over
			})
			defer close(over)
			plain, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			conn, err := ca.TLS(securetest.Request{}).Client(t.Context(), plain, addr)
			require.NoError(t, err)
			require.NoError(t, plain.SetWriteDeadline(time.Now().Add(200*time.Millisecond)))
			for err == nil { // until the kernel takes no more
				_, err = plain.Write(make([]byte, 1<<16))
			}
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.NoError(t, plain.SetWriteDeadline(time.Time{}))
			began := time.Now()
			if patience > 0 {
				require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
				_ = conn.(interface{ CloseWrite() error }).CloseWrite()
			}
			_ = conn.Close()
			require.Less(t, time.Since(began), 3*time.Second, "crypto/tls would wait for 5 s")
		})
	}
}
