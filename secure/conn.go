package secure

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// conn is either side of a TLS connection.
type conn struct {
	*tls.Conn
	under  *under
	roots  *x509.CertPool // of those who dial
	server bool           // who has dialled is a server
}

// HandshakeContext shadows tls.Conn's: it also finds out whether who dials is a server.
func (c *conn) HandshakeContext(ctx context.Context) error {
	if err := c.Conn.HandshakeContext(ctx); err != nil {
		return err
	}
	if c.roots != nil {
		c.server = isServer(c.ConnectionState().PeerCertificates, c.roots)
	}
	return nil
}

// isServer tells whether a chain is a server's: the handshake has looked for clientAuth alone.
func isServer(chain []*x509.Certificate, roots *x509.CertPool) bool {
	if len(chain) == 0 || !slices.Contains(chain[0].ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err == nil
}

// Identify tells who is at the other end of an accepted connection: its verified chain, and whether it is a server.
func (c *conn) Identify() (identity any, server bool) {
	if chains := c.ConnectionState().VerifiedChains; len(chains) > 0 {
		return chains[0], c.server
	}
	return nil, false
}

// A ping is answered at once, by each server.
const greeting = `{"jsonrpc":"2.0","method":"raftpico.Ping","id":0}` + "\n"

// maxGreeting bounds the answer, in bytes.
const maxGreeting = 4 << 10

// greet does the handshake of who dials, and waits for an answer.
func (c *conn) greet(ctx context.Context) error {
	if err := c.HandshakeContext(ctx); err != nil {
		return told(err)
	}
	unwatch := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	err := c.ping()
	if !unwatch() && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return told(err)
	}
	return nil
}

// ping reads no more than its answer.
func (c *conn) ping() error {
	if _, err := io.WriteString(c, greeting); err != nil {
		return err
	}
	var answer []byte
	for some := make([]byte, 512); ; {
		n, err := c.Read(some)
		answer = append(answer, some[:n]...)
		switch {
		case bytes.HasSuffix(answer, []byte("\n")) && bytes.HasPrefix(answer, []byte("{")):
			return nil
		case errors.Is(err, io.EOF):
			return errors.New("it closed the connection, and said nothing")
		case err != nil:
			return err
		case len(answer) > maxGreeting:
			return errors.New("it is no raftpico server")
		}
	}
}

var errNoServer = errors.New("who answers has no server's certificate: it lacks the extended key usage serverAuth")

// told is a handshake's error in words that say more, where the other side has said little.
func told(err error) error {
	if header, ok := errors.AsType[tls.RecordHeaderError](err); ok && header.Conn != nil {
		return fmt.Errorf("it does not speak TLS: %w", err)
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		switch invalid.Reason {
		case x509.IncompatibleUsage:
			return errNoServer
		case x509.Expired: // x509's words have the time of day in them, and are others each second
			return fmt.Errorf("its certificate %q has expired, or is not valid yet: by this machine's clock it is not between %s and %s", invalid.Cert.Subject, invalid.Cert.NotBefore.UTC().Format(time.RFC3339), invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	if refusal, ok := errors.AsType[*net.OpError](err); ok && refusal.Op == "remote error" {
		if strings.HasSuffix(err.Error(), "handshake failure") { // what our ports without TLS say
			return fmt.Errorf("it does not speak TLS, or not with us: %w", err)
		}
		return fmt.Errorf("it refuses this side: %w", err)
	}
	return err
}

// farewell bounds how long Close waits for the other side to take TLS's last word, where its buffers are full.
const farewell = 100 * time.Millisecond

// Close says so to the other side, and closes.
func (c *conn) Close() error {
	c.under.endBy(time.Now().Add(farewell))
	return c.Conn.Close()
}

// SetWriteDeadline also bounds TLS's last word.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.under.setEnd(t)
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline does so too.
func (c *conn) SetDeadline(t time.Time) error {
	c.under.setEnd(t)
	return c.Conn.SetDeadline(t)
}

// under is the connection under a TLS connection. When crypto/tls says its last word it sets a deadline of its own, 5 s from then: here
// no later than the one that was set by who owns the connection, who may have none of these seconds.
type under struct {
	net.Conn

	mu  sync.Mutex
	end time.Time // zero: none
}

func (u *under) setEnd(t time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.end = t
}

// endBy brings the end forward, if it is not there already.
func (u *under) endBy(t time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.end.IsZero() || t.Before(u.end) {
		u.end = t
	}
}

// SetWriteDeadline implements net.Conn.
func (u *under) SetWriteDeadline(t time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.end.IsZero() && (t.IsZero() || t.After(u.end)) {
		t = u.end
	}
	return u.Conn.SetWriteDeadline(t)
}
