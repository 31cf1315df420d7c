package raftpico_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	callers "github.com/raftpico/go/client"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/secure"
	"github.com/raftpico/go/secure/securetest"
)

// aServer is what a server of these tests asks its authority for.
var aServer = securetest.Request{Server: true, Hosts: []string{"127.0.0.1"}}

// overTLS has a server speak TLS, with a certificate of its own.
func overTLS(ca *securetest.Authority) func(*raftpico.Options) {
	return func(o *raftpico.Options) { o.TLS = ca.TLS(aServer) }
}

// dialTLS is dial for a client that has what it is given.
func dialTLS(t *testing.T, s *raftpico.Server, with *secure.TLS) *client {
	t.Helper()
	plain, err := net.DialTimeout("tcp", s.Addr(), patience)
	require.NoError(t, err)
	conn, err := with.Client(t.Context(), plain, s.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &client{conn, t, bufio.NewReader(conn)}
}

func addrsOf(servers []*raftpico.Server) (addrs []string) {
	for _, s := range servers {
		addrs = append(addrs, s.Addr())
	}
	return addrs
}

func TestClusterOverTLSSurvivesItsLeader(t *testing.T) {
	t.Parallel()
	ca := securetest.New(t, "ca")
	servers := make([]*raftpico.Server, 3)
	for i := range servers {
		servers[i] = startServer(t, machine.JSON(&counter{}), overTLS(ca))
	}
	joinAll(t, servers, fast)
	c := callers.NewWith(callers.Options{TLS: ca.TLS(securetest.Request{})}, addrsOf(servers)...)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i := range 30 {
		got, err := callers.Call[int](ctx, c, machine.Command, 1)
		require.NoError(t, err)
		require.Equal(t, i+1, got)
		if i == 10 {
			require.NoError(t, leaderOf(t, servers).Close())
		}
	}
	session, err := c.OpenSession(ctx, time.Minute)
	require.NoError(t, err)
	got, err := callers.Call[int](ctx, session, machine.Command, 1)
	require.NoError(t, err)
	require.Equal(t, 31, got)
	require.NoError(t, session.Close(ctx))
}

// A snapshot of some megabytes travels, and many answers that nobody reads hold up nobody.
func TestSnapshotOverTLS(t *testing.T) {
	t.Parallel()
	ca := securetest.New(t, "ca")
	a, b := startArchive(t, overTLS(ca)), startArchive(t, overTLS(ca))
	_, err := a.CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	a.fill(t, 10, 1<<20)
	_, err = a.TakeSnapshot(t.Context())
	require.NoError(t, err)
	_, err = a.AddServer(t.Context(), b.Addr())
	require.NoError(t, err)
	waitFor(t, func() bool { return voters(t, b.Server) == 2 })
	require.Equal(t, a.sum(t), b.sum(t))

	c := dialTLS(t, b.Server, ca.TLS(securetest.Request{}))
	const n = 20_000
	c.send(strings.Repeat(request("1", "GetServerState", `[false]`), n)) // it reads when all are sent
	for range n {
		require.Contains(t, c.line(), `"result":`)
	}
	c.silent()
}

// spoken is what a plain client at addr is told.
func spoken(t *testing.T, addr, said string) string {
	t.Helper()
	c := dialAddr(t, addr)
	c.send(said)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	var all strings.Builder
	_, err := c.in.WriteTo(&all)
	require.NoError(t, err, "no reset")
	return all.String()
}

// Who does not speak what a port speaks is told so, and logged once.
func TestWhoSpeaksSomethingElseThanThePortIsTold(t *testing.T) {
	t.Parallel()
	ca := securetest.New(t, "ca")
	log := new(logged)
	text := slog.New(slog.NewTextHandler(log, nil))
	s := startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { o.TLS, o.Logger = ca.TLS(aServer), text })
	plain := startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { o.Logger = text })
	const want = `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error","data":{"reason":"no TLS. ` +
		`This port speaks JSON-RPC 2.0, one JSON value a line, over TLS"}}}` + "\n"
	for range 3 {
		require.Equal(t, want, spoken(t, s.Addr(), request("1", "CreateCluster", "")))
		require.Equal(t, want, spoken(t, s.Addr(), "hello\n"))
		require.Equal(t, want, spoken(t, s.Addr(), "{"))
		answer := spoken(t, s.Addr(), "GET / HTTP/1.1\r\n\r\n")
		require.Contains(t, answer, "HTTP/1.1 400 Bad Request")
		require.Contains(t, answer, "over TLS, not HTTP")
	}
	_, err := s.CreateCluster(t.Context(), fast)
	require.NoError(t, err, "nothing was carried out")

	conn, err := net.Dial("tcp", plain.Addr())
	require.NoError(t, err)
	_, err = ca.TLS(securetest.Request{}).Client(t.Context(), conn, plain.Addr())
	require.ErrorContains(t, err, "it does not speak TLS")

	// Nor do servers find each other; both are told why.
	_, err = s.AddServer(t.Context(), plain.Addr())
	require.ErrorIs(t, err, raftpico.ErrUnreachable)
	_, err = plain.CreateCluster(t.Context(), fast)
	require.NoError(t, err)
	_, err = plain.AddServer(t.Context(), s.Addr())
	require.ErrorIs(t, err, raftpico.ErrUnreachable)
	waitFor(t, func() bool { return strings.Contains(log.String(), "a client speaks TLS, and this server does not") })
	require.Equal(t, 1, strings.Count(log.String(), "a client does not speak TLS, and this server does"))
}

// unchecked shows a certificate, whatever it is, and trusts an authority.
func unchecked(t *testing.T, ca *securetest.Authority, f securetest.Files) *secure.TLS {
	t.Helper()
	roots := x509.NewCertPool()
	text, err := os.ReadFile(ca.File)
	require.NoError(t, err)
	require.True(t, roots.AppendCertsFromPEM(text))
	own, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	require.NoError(t, err)
	return secure.New(&tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: roots},
		&tls.Config{RootCAs: roots, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }})
}

// Nobody gets in without a certificate that the authority has signed for now.
func TestImpostorsAreNotLetIn(t *testing.T) {
	t.Parallel()
	ca, other := securetest.New(t, "ca"), securetest.New(t, "ca") // of the same name
	s := startServer(t, machine.JSON(&counter{}), overTLS(ca))
	for _, i := range []struct {
		name string
		with *secure.TLS
		want string // what it is told
	}{
		{"without a certificate", secure.New(&tls.Config{}, &tls.Config{InsecureSkipVerify: true}), "certificate required"},
		{"of another authority", unchecked(t, ca, other.Issue(aServer)), "unknown certificate authority"},
		{"that has expired", unchecked(t, ca, ca.Issue(securetest.Request{Expires: -time.Minute})), "expired certificate"},
		{"a server's alone", unchecked(t, ca, ca.Issue(securetest.Request{Server: true, NoClient: true})), "bad certificate"},
		{"none of either", unchecked(t, ca, ca.Issue(securetest.Request{Bare: true})), ""}, // a client, see below
	} {
		t.Run(i.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.Addr())
			require.NoError(t, err)
			c, err := i.with.Client(t.Context(), conn, s.Addr())
			if i.want != "" {
				require.ErrorContains(t, err, i.want)
				return
			}
			require.NoError(t, err)
			require.NoError(t, c.Close())
		})
	}
	state, err := s.State(t.Context(), false)
	require.NoError(t, err)
	require.Nil(t, state.NodeID)
}

// A client's certificate makes no server, whatever else its holder knows: also not the cluster's key.
func TestClientsCertificateCantSpeakAsAServer(t *testing.T) {
	t.Parallel()
	ca := securetest.New(t, "ca")
	a, b := startArchive(t, overTLS(ca)), startArchive(t, overTLS(ca))
	joinAll(t, []*raftpico.Server{a.Server, b.Server}, calm)
	a.fill(t, 1, 1)

	p := playing(t, a, b)
	p.hello(dialTLS(t, b.Server, ca.TLS(aServer))) // a server's certificate and the key: so far the play is right
	for name, with := range map[string]securetest.Request{"a client's": {}, "none of either": {Bare: true}} {
		c := dialTLS(t, b.Server, unchecked(t, ca, ca.Issue(with)))
		for _, step := range []struct {
			method string
			params any
		}{
			{peer.MethodHello, peer.Hello{Protocol: peer.Protocol}},
			{peer.MethodHello, peer.Hello{Protocol: peer.Protocol, ClusterID: p.self.ClusterID, To: p.to, From: peer.Name{ID: p.self.NodeID, Instance: p.instance, Addr: p.addr}, Nonce: peer.NewNonce()}},
			{peer.MethodJoin, peer.Join{Identity: p.self, Instance: p.to.Instance}},
			{peer.MethodProve, peer.Prove{MAC: "00"}},
			{peer.MethodMessage, p.offer(1)},
			{peer.MethodSnapshot, p.announcement(p.offer(1), 10)},
			{peer.MethodChunk, peer.Chunk{Data: []byte("x")}},
			{peer.MethodInstall, peer.Install{}},
		} {
			answer := p.say(c, step.method, step.params)
			require.Contains(t, answer, `"code":113,"message":"Not permitted"`, "%s, %s", name, step.method)
			require.Contains(t, answer, "not a server's")
		}
		require.NotContains(t, c.ask(apply("1", "LocalQuery", `"sum"`)), `"error"`, "it is a client")
	}
}

// Nor can one listen as a server: whoever dials finds out.
func TestWhoDialsTakesAServersCertificateForThatHostOnly(t *testing.T) {
	t.Parallel()
	ca, other := securetest.New(t, "ca"), securetest.New(t, "ca")
	log := new(logged)
	s := startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) {
		o.TLS, o.Logger = ca.TLS(aServer), slog.New(slog.NewTextHandler(log, nil))
	})
	_, err := s.CreateCluster(t.Context(), fast)
	require.NoError(t, err)
	host := aServer.Hosts
	for _, c := range []struct {
		name  string
		shows securetest.Files
		want  string
	}{
		{"a client's", ca.Issue(securetest.Request{Hosts: host}), "serverAuth"},
		{"a wrong host", ca.Issue(securetest.Request{Server: true, Hosts: []string{"127.0.0.2", "localhost"}}), "127.0.0.1"},
		{"no host", ca.Issue(securetest.Request{Server: true}), "IP SANs"},
		{"another authority's", other.Issue(aServer), "unknown authority"},
		{"an expired one", ca.Issue(securetest.Request{Server: true, Hosts: host, Expires: -time.Minute}), "expired"},
		{"one without usages", ca.Issue(securetest.Request{Bare: true, Hosts: host}), "serverAuth"},
	} {
		t.Run(c.name, func(t *testing.T) {
			impostor := startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { o.TLS = unchecked(t, ca, c.shows) })

			conn, err := net.Dial("tcp", impostor.Addr())
			require.NoError(t, err)
			_, err = ca.TLS(securetest.Request{}).Client(t.Context(), conn, impostor.Addr())
			require.ErrorContains(t, err, c.want, "a client")
			for range 2 {
				_, err = s.AddServer(t.Context(), impostor.Addr())
				require.ErrorIs(t, err, raftpico.ErrUnreachable, "a server")
			}
			why := func() (lines []string) {
				for line := range strings.Lines(log.String()) {
					if strings.Contains(line, "no server found to add") && strings.Contains(line, impostor.Addr()) {
						lines = append(lines, line)
					}
				}
				return lines
			}
			waitFor(t, func() bool { return len(why()) > 0 })
			require.Contains(t, why()[0], c.want)
			require.Len(t, why(), 1)
			state, err := impostor.State(t.Context(), false)
			require.NoError(t, err)
			require.Nil(t, state.NodeID)
		})
	}
}

func TestServerRefusesToStartWithAClientsCertificate(t *testing.T) {
	t.Parallel()
	ca := securetest.New(t, "ca")
	_, err := raftpico.Start(machine.JSON(&counter{}), raftpico.Options{Addr: "127.0.0.1:0", InMemory: true, TLS: ca.TLS(securetest.Request{}), Logger: quiet})
	require.ErrorContains(t, err, "the certificate is a client's")
	_, err = raftpico.Start(machine.JSON(&counter{}), raftpico.Options{Addr: "127.0.0.1:0", InMemory: true, TLS: (*secure.TLS)(nil), Logger: quiet})
	require.ErrorContains(t, err, "neither Files nor New")
}

// A server looks at its certificate also when nobody connects.
func TestCertificateOfAnIdleServerIsLookedAt(t *testing.T) {
	t.Parallel()
	ca := securetest.New(t, "ca")
	f := ca.Issue(securetest.Request{Server: true, Hosts: aServer.Hosts, Expires: 10 * time.Minute})
	own, err := secure.Files(f.Cert, f.Key, ca.File)
	require.NoError(t, err)
	log := new(logged)
	own.Logger = slog.New(slog.NewTextHandler(log, nil))
	startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { o.TLS = own })
	waitFor(t, func() bool { return strings.Contains(log.String(), "the certificate expires soon") })
	ca.Renew(f, aServer)
	waitFor(t, func() bool { return strings.Contains(log.String(), "new certificates are in use") })
	require.Equal(t, 1, strings.Count(log.String(), "expires soon"))
}

// A client that is not let in asks again and again until its context ends, with pauses, and knows then that nothing was carried out.
func TestClientThatIsNotLetInKnowsWhy(t *testing.T) {
	t.Parallel()
	ca, other := securetest.New(t, "ca"), securetest.New(t, "ca")
	var handshakes atomic.Int32
	s := startServer(t, machine.JSON(&counter{}), overTLS(ca))
	c := callers.NewWith(callers.Options{TLS: unchecked(t, ca, other.Issue(securetest.Request{})),
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			handshakes.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		}}, s.Addr())
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := callers.Call[int](ctx, c, machine.Command, 1)
	require.ErrorIs(t, err, raftpico.ErrRejected)
	require.ErrorContains(t, err, "refuses this side: remote error: tls: unknown certificate authority")
	require.Less(t, handshakes.Load(), int32(50))
}
