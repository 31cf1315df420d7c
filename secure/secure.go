package secure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/raftpico/go/jsonrpc"
)

// TLS makes connections secure, on both sides of them: it is a [jsonrpc.Security]. Its methods may be called from any goroutine.
type TLS struct {
	// Logger, if not nil, is told of new files and of certificates that expire soon. Nil is slog.Default. Set it before the
	// first use.
	Logger *slog.Logger

	files *files // nil: nothing changes
	used  atomic.Pointer[identity]
}

var _ jsonrpc.Security = (*TLS)(nil)

// New makes TLS of configurations for the accepting and for the dialling side. They are copied, and completed: clients must show
// a certificate that ClientCAs verify, servers one with serverAuth, and sessions are not resumed, so that each connection is
// verified as a whole. Without ClientCAs nobody is let in. Of what is in them nothing else is checked.
func New(accepting, dialling *tls.Config) *TLS {
	t := new(TLS)
	t.used.Store(newIdentity(accepting, dialling))
	return t
}

// identity is who we are, and whom we trust, at one time.
type identity struct {
	leaf      *x509.Certificate // ours; nil: not known
	accepting *tls.Config
	dialling  *tls.Config
}

func newIdentity(accepting, dialling *tls.Config) *identity {
	i := &identity{accepting: accepting.Clone(), dialling: dialling.Clone()}
	if i.accepting.ClientCAs == nil {
		i.accepting.ClientCAs = x509.NewCertPool() // nil would be all authorities that the system trusts
	}
	complete(i.accepting)
	if choose := accepting.GetConfigForClient; choose != nil {
		i.accepting.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(hello)
			if chosen == nil || err != nil {
				return nil, err
			}
			chosen = chosen.Clone()
			chosen.ClientCAs = i.accepting.ClientCAs // they also tell who is a server
			complete(chosen)
			return chosen, nil
		}
	}
	i.dialling.ClientSessionCache = nil
	also := dialling.VerifyConnection
	i.dialling.VerifyConnection = func(state tls.ConnectionState) error {
		if !slices.Contains(state.PeerCertificates[0].ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
			return errNoServer
		}
		if also != nil {
			return also(state)
		}
		return nil
	}
	return i
}

// complete has each connection verified as a whole.
func complete(accepting *tls.Config) {
	accepting.ClientAuth = tls.RequireAndVerifyClientCert
	accepting.SessionTicketsDisabled = true
}

// forServer tells why a server can't show the certificate, nil if it can, or if it is not known.
func (i *identity) forServer() error {
	if i.leaf != nil && !slices.Contains(i.leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		return errors.New("secure: the certificate is a client's: a server's has the extended key usage serverAuth")
	}
	return nil
}

func (t *TLS) logger() *slog.Logger {
	if t.Logger == nil {
		return slog.Default()
	}
	return t.Logger
}

// current is who we are now.
func (t *TLS) current() *identity {
	if t.files != nil {
		t.files.look(t, lookEvery)
	}
	return t.used.Load()
}

// Look takes over files that have changed, and logs a certificate that expires soon. Handshakes do so by themselves; servers call it
// now and then, since connections may last for months.
func (t *TLS) Look() {
	if t.files != nil {
		t.files.look(t, 0)
	}
}

var errNotMade = errors.New("secure: a TLS that neither Files nor New has made")

// made tells whether it can be used: a nil one, and the zero value, can't.
func (t *TLS) made() bool { return t != nil && t.used.Load() != nil }

// ForServer tells why a server can't show the certificate, nil if it can. From then on no file is taken over that a server could not show.
func (t *TLS) ForServer() error {
	if !t.made() {
		return errNotMade
	}
	if t.files != nil {
		t.files.mu.Lock()
		defer t.files.mu.Unlock()
		t.files.server = true
	}
	return t.used.Load().forServer()
}

// Server implements jsonrpc.Security.
func (t *TLS) Server(nc net.Conn) jsonrpc.SecureConn {
	config := t.current().accepting
	u := &under{Conn: nc}
	return &conn{Conn: tls.Server(u, config), under: u, roots: config.ClientCAs}
}

// Client implements jsonrpc.Security. It returns when the other side has answered something: that it accepts our certificate,
// TLS 1.3 does not tell.
func (t *TLS) Client(ctx context.Context, nc net.Conn, addr string) (net.Conn, error) {
	if !t.made() {
		_ = nc.Close()
		return nil, errNotMade
	}
	u := &under{Conn: nc}
	c := &conn{Conn: tls.Client(u, t.current().diallingTo(addr)), under: u}
	if err := c.greet(ctx); err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("secure: %s: %w", addr, err)
	}
	return c, nil
}

// diallingTo is the configuration for a host:port.
func (i *identity) diallingTo(addr string) *tls.Config {
	config := i.dialling.Clone()
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			host = addr
		}
		config.ServerName, _, _ = strings.Cut(host, "%") // certificates know no zones
	}
	return config
}
