package jsonrpc

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// overTLS is the least Security: a certificate, and no questions.
type overTLS struct{ config *tls.Config }

func (o overTLS) Server(nc net.Conn) SecureConn { return tls.Server(nc, o.config) }

func (o overTLS) Client(ctx context.Context, nc net.Conn, _ string) (net.Conn, error) {
	c := tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
	return c, c.HandshakeContext(ctx)
}

func newTLS(t *testing.T) overTLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return overTLS{&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}
}

// connectTLS is connect over TLS.
func connectTLS(t *testing.T, addr string, s Security) *raw {
	t.Helper()
	plain := connect(t, addr)
	conn, err := Secure(t.Context(), s, plain.Conn, addr)
	require.NoError(t, err)
	return &raw{conn, t, bufio.NewReader(conn)}
}

// A handshake that never ends is an idle connection: it gives way, and holds nothing else up. In the end it is closed.
func TestHandshakeThatNeverEndsHoldsAnIdleConnection(t *testing.T) {
	security := newTLS(t)
	s := &Server{Handler: echo, Security: security, Limits: Limits{MaxConns: 4}}
	addr := start(t, s)
	hurried := start(t, &Server{Handler: echo, Security: security, patience: 200 * time.Millisecond})
	var silent []*raw
	for _, begin := range []string{"", "\x16", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\x16\x03\x01"} {
		c := connect(t, addr)
		c.send(begin)
		silent = append(silent, c)
		c = connect(t, hurried)
		c.send(begin)
		c.gone()
	}
	for range 10 {
		c := connectTLS(t, addr, security)
		c.echoes()
		require.NoError(t, c.Close())
	}
	silent[0].gone()
}

// What a client sends before it is known is bounded, and counted in the budget.
func TestHandshakeIsBounded(t *testing.T) {
	addr := start(t, &Server{Handler: echo, Security: newTLS(t), Limits: Limits{Budget: 1 << 20}})
	c := connect(t, addr)
	record := "\x16\x03\x01\x40\x00" + strings.Repeat("\x01\x00\xff\xff", 4096) // a hello of 64 KiB, in pieces
	go func() {                                                                 // the server may close before it has all
		for range 100 {
			if _, err := io.WriteString(c, record); err != nil {
				return
			}
		}
	}()
	said, _ := io.ReadAll(c.in) // a reset, or an alert: it ends
	require.Less(t, len(said), 100)

	s := &Server{Handler: echo, Security: newTLS(t), Limits: Limits{Budget: 1 << 20}}
	addr = start(t, s)
	for range 40 {
		part := connect(t, addr)
		part.send("\x16\x03\x01\x40\x00" + strings.Repeat("\x01\x00\x3f\xfc", 4000))
	}
	require.Eventually(t, func() bool {
		s.budget.mu.Lock()
		defer s.budget.mu.Unlock()
		return s.budget.held >= 16_000
	}, time.Minute, time.Millisecond)
	s.budget.mu.Lock()
	held := s.budget.held
	s.budget.mu.Unlock()
	require.LessOrEqual(t, held, 1<<20)
	connectTLS(t, addr, s.Security).echoes()
}

// Nothing of who does not speak TLS is carried out, however it comes.
func TestNothingIsCarriedOutOfWhatIsNotSecure(t *testing.T) {
	var calls atomic.Int32
	security := newTLS(t)
	addr := start(t, &Server{Handler: counted(&calls), Security: security})
	for _, c := range []struct{ said, want string }{
		{echoLine + "\n", "over TLS"},
		{"\n\n" + echoLine + "\n" + echoLine + "\n", "over TLS"},
		{"[" + echoLine + "]\n", "over TLS"},
		{"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
		{"SSH-2.0-OpenSSH_9.6\r\n", "over TLS"},
		{"\x00\x01", "over TLS"},
		{strings.Repeat("a", 1<<20) + "\n", "over TLS"},
	} {
		conn := connect(t, addr)
		go func() { _, _ = io.WriteString(conn, c.said) }() // the server may close before it has all
		require.Contains(t, conn.all(), c.want, "%.40q", c.said)
	}
	require.Zero(t, calls.Load())

	// Within TLS all is as it is without.
	in := connectTLS(t, addr, security)
	in.send("GET / HTTP/1.1\r\n\r\n")
	require.Contains(t, in.all(), "over TLS, not HTTP")
	in = connectTLS(t, addr, security)
	in.send("\x16\x03\x01")
	require.Contains(t, in.all(), "no JSON")
	in = connectTLS(t, addr, security)
	in.send(echoLine) // without a newline
	require.Contains(t, in.line(), `"result":["here"]`)
	in.echoes()
}

// A client that reads nothing is paused and closed, as without TLS, and holds up no end of the server.
func TestClientThatNeverReadsOverTLS(t *testing.T) {
	calls := make(later, 1000)
	closed := make(chan struct{}, 10)
	security := newTLS(t)
	s := &Server{Handler: calls.handle, Security: security, Closed: func(*Conn) { closed <- struct{}{} }, Limits: Limits{MaxUnsent: 1 << 20}}
	c := connectTLS(t, start(t, s), security)
	c.send(strings.Repeat(`{"jsonrpc":"2.0","method":"m","id":1}`+"\n", 1000))
	big := []byte(`"` + strings.Repeat("x", 100_000) + `"`)
	for over := false; !over; {
		select {
		case batch := <-calls:
			for i := range batch {
				batch[i].Result(big)
			}
			batch[0].Conn().Flush()
		case <-closed:
			over = true
		}
	}
}

func TestShutdownOverTLSSendsWhatWasAnswered(t *testing.T) {
	security := newTLS(t)
	s := &Server{Handler: echo, Security: security}
	addr := start(t, s)
	c := connectTLS(t, addr, security)
	c.echoes()
	idle, reads := connect(t, addr), connectTLS(t, addr, security)
	idle.send("\x16")
	reads.send(strings.Repeat(echoLine+"\n", 1000))
	require.Contains(t, reads.line(), "result")
	began := time.Now()
	require.NoError(t, s.Close())
	require.Less(t, time.Since(began), 3*time.Second, "nobody is waited for")
	_, err := io.ReadAll(c.in)
	require.NoError(t, err, "TLS says its last word")
}

// guests hands over connections that are known already.
type guests struct{ net.Listener }

type guest struct{ net.Conn }

func (g guests) Accept() (net.Conn, error) {
	conn, err := g.Listener.Accept()
	return guest{conn}, err
}

func (guest) Identify() (identity any, server bool) { return "a guest", false }

func TestWhoIsKnownAlreadyNeedsNoHandshake(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &Server{Security: newTLS(t), Handler: func(calls []Call) {
		who, _ := calls[0].Conn().NetConn().(Identified).Identify()
		for i := range calls {
			calls[i].Result([]byte(`"` + who.(string) + `"`))
		}
		calls[0].Conn().Flush()
	}}
	served := make(chan error, 1)
	go func() { served <- s.Serve(guests{ln}) }()
	c := connect(t, ln.Addr().String())
	c.send(echoLine + "\n")
	require.Contains(t, c.line(), `"result":"a guest"`)
	require.NoError(t, s.Close())
	require.NoError(t, <-served)
}
