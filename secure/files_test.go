package secure_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/secure"
	"github.com/raftpico/go/secure/securetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var aServer = securetest.Request{Server: true, Hosts: []string{"127.0.0.1", "localhost", "::1"}}

// listen serves JSON-RPC over TLS until the test ends. Who asks is told how it is known.
func listen(t *testing.T, s *secure.TLS) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &jsonrpc.Server{Security: s, Handler: jsonrpc.Handle(func(*jsonrpc.Request) (any, error) { return true, nil })}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.NoError(t, <-served)
	})
	return l.Addr().String()
}

// reaches tells whether a client is let in, and lets the server in.
func reaches(t *testing.T, c *secure.TLS, addr string) error {
	t.Helper()
	plain, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := c.Client(ctx, plain, addr)
	if err == nil {
		require.NoError(t, conn.Close())
	}
	return err
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return text
}

func put(t *testing.T, name string, texts ...[]byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(name, bytes.Join(texts, nil), 0o600))
}

// New files are taken over while the program runs; those that can't be used are not, and that is logged once.
func TestFilesAreReadAgainWhenTheyChange(t *testing.T) {
	old, next := securetest.New(t, "old"), securetest.New(t, "next")
	own, trusted := old.Issue(aServer), filepath.Join(t.TempDir(), "ca.crt")
	put(t, trusted, read(t, old.File))
	var log bytes.Buffer
	s, err := secure.Files(own.Cert, own.Key, trusted)
	require.NoError(t, err)
	s.Logger = slog.New(slog.NewTextHandler(&log, nil))
	addr := listen(t, s)
	again := func(c *secure.TLS) error {
		s.LookAgain()
		return reaches(t, c, addr)
	}
	// who trusts both shows whether it is let in
	both := filepath.Join(t.TempDir(), "both.crt")
	put(t, both, read(t, old.File), read(t, next.File))
	client := func(a *securetest.Authority) *secure.TLS {
		f := a.Issue(securetest.Request{})
		c, err := secure.Files(f.Cert, f.Key, both)
		require.NoError(t, err)
		return c
	}
	oldClient, nextClient := client(old), client(next)
	require.NoError(t, again(oldClient))
	require.ErrorContains(t, again(nextClient), "unknown certificate authority")

	put(t, trusted, read(t, old.File), read(t, next.File))
	require.NoError(t, again(nextClient))
	require.NoError(t, again(oldClient))
	require.Equal(t, 1, strings.Count(log.String(), "new certificates are in use"))

	// Half of a file, the wrong key, no file, nonsense: what was good stays. What is half at first may be whole at the second look.
	whole := read(t, trusted)
	for _, bad := range []struct {
		says  string
		spoil func()
	}{
		{"its last part is cut off", func() { put(t, trusted, whole[:len(whole)-100]) }},
		{"there is no certificate in it", func() { put(t, trusted) }},
		{"private key does not match", func() { put(t, own.Key, read(t, next.Issue(aServer).Key)) }},
		{"no such file", func() { require.NoError(t, os.Remove(own.Cert)) }},
		{"has expired", func() { old.Renew(own, securetest.Request{Server: true, Expires: -time.Minute}) }},
		{"lacks the extended key usage clientAuth", func() { old.Renew(own, securetest.Request{Server: true, NoClient: true}) }},
		{"is none, it may not sign", func() { put(t, trusted, read(t, next.Issue(securetest.Request{}).Cert)) }},
		{"private key in it", func() { put(t, trusted, read(t, own.Key)) }},
		{"larger than", func() { put(t, trusted, make([]byte, 2<<20)) }},
	} {
		log.Reset()
		bad.spoil()
		for range 4 {
			require.NoError(t, again(nextClient), bad.says)
		}
		require.Equal(t, 1, strings.Count(log.String(), "can't be used"), "%s: %s", bad.says, log.String())
		require.Contains(t, log.String(), bad.says)
		old.Renew(own, aServer)
		put(t, trusted, whole)
		require.NoError(t, again(oldClient))
	}

	next.Renew(own, aServer)
	put(t, trusted, read(t, next.File))
	log.Reset()
	require.ErrorContains(t, again(oldClient), "unknown certificate authority")
	require.NoError(t, again(nextClient))
	require.Contains(t, log.String(), "new certificates are in use")
	require.NotContains(t, log.String(), "expires soon")
}

// One look a second is enough: a flood of handshakes reads no files.
func TestFilesAreLookedAtOnceASecond(t *testing.T) {
	ca := securetest.New(t, "ca")
	own := ca.Issue(aServer)
	s, err := secure.Files(own.Cert, own.Key, ca.File)
	require.NoError(t, err)
	s.LookAgain()
	addr := listen(t, s)
	c := ca.TLS(securetest.Request{})
	require.NoError(t, reaches(t, c, addr))
	began := time.Now()
	require.NoError(t, os.Remove(own.Cert))
	require.NoError(t, reaches(t, c, addr))
	require.NoError(t, s.ForServer())
	require.Eventually(t, func() bool { return time.Since(began) > 1100*time.Millisecond }, 20*time.Second, time.Millisecond)
	ca.Renew(own, aServer)
	require.NoError(t, reaches(t, c, addr))
}

func TestCertificateThatExpiresSoonIsLoggedOnce(t *testing.T) {
	ca := securetest.New(t, "ca")
	own := ca.Issue(securetest.Request{Server: true, Hosts: aServer.Hosts, Expires: 10 * time.Minute})
	s, err := secure.Files(own.Cert, own.Key, ca.File)
	require.NoError(t, err)
	var log bytes.Buffer
	s.Logger = slog.New(slog.NewTextHandler(&log, nil))
	addr, c := listen(t, s), ca.TLS(securetest.Request{})
	for range 3 {
		s.LookAgain()
		require.NoError(t, reaches(t, c, addr))
	}
	require.Equal(t, 1, strings.Count(log.String(), "expires soon"), log.String())
}

// The same fault, after it was over, is logged again.
func TestFilesThatAreLostAgainAreLoggedAgain(t *testing.T) {
	ca := securetest.New(t, "ca")
	own := ca.Issue(aServer)
	s, err := secure.Files(own.Cert, own.Key, ca.File)
	require.NoError(t, err)
	var log bytes.Buffer
	s.Logger = slog.New(slog.NewTextHandler(&log, nil))
	whole := read(t, own.Cert)
	for i := range 2 {
		require.NoError(t, os.Remove(own.Cert))
		s.Look()
		s.Look()
		require.Equal(t, i+1, strings.Count(log.String(), "can't be used"), log.String())
		put(t, own.Cert, whole)
		s.Look()
	}
}

// A server does not take over what it could not start with.
func TestServerTakesOverNoClientsCertificate(t *testing.T) {
	ca := securetest.New(t, "ca")
	own := ca.Issue(aServer)
	s, err := secure.Files(own.Cert, own.Key, ca.File)
	require.NoError(t, err)
	require.NoError(t, s.ForServer())
	var log bytes.Buffer
	s.Logger = slog.New(slog.NewTextHandler(&log, nil))
	addr, c := listen(t, s), ca.TLS(securetest.Request{})
	ca.Renew(own, securetest.Request{Hosts: aServer.Hosts})
	for range 3 {
		s.LookAgain()
		require.NoError(t, reaches(t, c, addr))
	}
	require.Equal(t, 1, strings.Count(log.String(), "is a client's"), log.String())
	require.NoError(t, s.ForServer())
}

// Who tries again logs what is new: so the words must not change with the clock.
func TestExpiredCertificateIsToldInTheSameWords(t *testing.T) {
	ca := securetest.New(t, "ca")
	f := ca.Issue(securetest.Request{Server: true, Hosts: aServer.Hosts, Expires: -time.Minute})
	own, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	require.NoError(t, err)
	accepting, dialling := configs(t, ca)
	accepting.Certificates = []tls.Certificate{own}
	addr := listen(t, secure.New(accepting, dialling))
	err = reaches(t, ca.TLS(securetest.Request{}), addr)
	require.ErrorContains(t, err, "has expired")
	require.ErrorContains(t, err, own.Leaf.NotAfter.UTC().Format(time.RFC3339))
	require.NotContains(t, err.Error(), "current time")
}

func TestFilesThatCantBeUsedAreRefused(t *testing.T) {
	ca := securetest.New(t, "ca")
	own := ca.Issue(aServer)
	for name, c := range map[string]struct {
		cert, key, ca string
		says          string
	}{
		"no certificate":      {"none", own.Key, ca.File, "open none"},
		"key for certificate": {own.Key, own.Key, ca.File, "private key in it"},
		"no key":              {own.Cert, own.Cert, ca.File, "the key"},
		"no authority":        {own.Cert, own.Key, own.Cert, "may not sign"},
		"an authority's own":  {ca.File, filepath.Join(filepath.Dir(ca.File), "ca.key"), ca.File, "CA:FALSE"},
		"a device":            {own.Cert, own.Key, "/dev/zero", "larger than"},
		"a folder":            {own.Cert, own.Key, filepath.Dir(ca.File), "is a directory"},
	} {
		_, err := secure.Files(c.cert, c.key, c.ca)
		require.ErrorContains(t, err, c.says, name)
		require.ErrorContains(t, err, "secure: ", name)
	}
}

func TestAdminsNeedTheirUnit(t *testing.T) {
	nobody := api.Peer{Addr: &net.TCPAddr{}}
	require.Nil(t, secure.Chain(nobody))
	for _, unit := range []string{"", "ops"} {
		ask := secure.Admins(unit)
		require.NoError(t, ask(nobody, "Apply"))
		require.Error(t, ask(nobody, "AddServer"))
		require.NoError(t, ask(api.Peer{Server: true}, "AddServer"))
	}
}

// A name is verified as a name, an address as an address, whatever the dialled text is.
func TestHostIsTheOneDialled(t *testing.T) {
	ca := securetest.New(t, "ca")
	addr := listen(t, ca.TLS(aServer))
	c := ca.TLS(securetest.Request{})
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	for host, good := range map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true, "::1%lo": true, "127.0.0.2": false, "db1.example.com": false, "": false} {
		plain, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		conn, err := c.Client(t.Context(), plain, net.JoinHostPort(host, port))
		if good {
			require.NoError(t, err, host)
			require.NoError(t, conn.Close())
		} else {
			require.Error(t, err, host)
		}
	}
}

// Who says nothing is left when the context ends, and the connection is closed.
func TestClientHeedsItsContext(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	go func() { _, _ = there.Read(make([]byte, 1<<16)) }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := securetest.New(t, "ca").TLS(securetest.Request{}).Client(ctx, here, "a:1")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = here.Write([]byte("x"))
	require.Error(t, err)
}
