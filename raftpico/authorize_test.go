package raftpico_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	callers "github.com/raftpico/go/client"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/secure"
	"github.com/raftpico/go/secure/securetest"
)

// Administrators change the cluster, others use it.
func TestAuthorizeKeepsMethodsForSome(t *testing.T) {
	t.Parallel()
	ca := securetest.New(t, "ca")
	guarded := func(o *raftpico.Options) {
		overTLS(ca)(o)
		o.Authorize = secure.Admins("ops")
	}
	servers := []*raftpico.Server{startServer(t, machine.JSON(&counter{}), guarded), startServer(t, machine.JSON(&counter{}), guarded)}
	everybody, admin := dialTLS(t, servers[0], ca.TLS(securetest.Request{Unit: "dev"})), dialTLS(t, servers[0], ca.TLS(securetest.Request{Unit: "ops"}))
	const denied = `"error":{"code":113,"message":"Not permitted","data":{"reason":"only a client with the organizational unit \"ops\" in its certificate may call this method"}}}`
	add := fmt.Sprintf(`{"addr":%q}`, servers[1].Addr())
	require.Contains(t, everybody.ask(request("1", "CreateCluster", "")), denied)
	require.Contains(t, admin.ask(request("1", "CreateCluster", "[3000,6000]")), `"result":`)
	for _, method := range []string{"AddServer", "RemoveServer", "Configure", "TakeSnapshot", "CheckState", "OfALaterVersion"} {
		require.Contains(t, everybody.ask(request("1", method, add)), denied, method)
	}
	require.Contains(t, admin.ask(request("1", "AddServer", add)), `"result":`)
	require.Contains(t, admin.ask(request("1", "OfALaterVersion", add)), `"code":-32601`)
	waitFor(t, func() bool { return voters(t, servers[0]) == 2 })
	require.Equal(t, result("1", "5"), everybody.ask(apply("1", "Command", "5")))
	require.Equal(t, result("1", "5"), everybody.ask(apply("1", "Query", "0")))
	require.Contains(t, everybody.ask(request("1", "OpenSession", "")), `"session":`)
	require.Contains(t, everybody.ask(request("1", "GetServerState", "[false]")), `"result":`)

	// Each request of a batch is for itself, and params are not looked at.
	batch := "[" + strings.TrimSpace(apply("1", "Command", "1")) + "," + strings.TrimSpace(request("2", "RemoveServer", "[7]")) + "]\n"
	answers := everybody.ask(batch)
	require.Contains(t, answers, `{"jsonrpc":"2.0","id":1,"result":6}`)
	require.Contains(t, answers, `{"jsonrpc":"2.0","id":2,`+denied)

	// A server of the cluster's authority may add itself; callers in process are not asked.
	server := dialTLS(t, servers[0], ca.TLS(aServer))
	require.Contains(t, server.ask(request("1", "TakeSnapshot", "")), `"result":`)
	_, err := servers[0].TakeSnapshot(t.Context())
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := callers.NewWith(callers.Options{TLS: ca.TLS(securetest.Request{})}, addrsOf(servers)...)
	defer c.Close()
	_, err = c.RemoveServer(ctx, servers[1].Addr())
	require.ErrorIs(t, err, raftpico.ErrNotPermitted)
}

// Authorize also works without TLS, by the address; it may panic.
func TestAuthorizeIsAskedForEachRequest(t *testing.T) {
	t.Parallel()
	log := new(logged)
	asked := make(chan string, 100)
	s := startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) {
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
		o.Authorize = func(p raftpico.Peer, method string) error {
			asked <- method
			switch {
			case p.Identity != nil || p.Server || !strings.HasPrefix(p.Addr.String(), "127.0.0.1:"):
				return fmt.Errorf("who is %v?", p)
			case method == "TakeSnapshot":
				panic("a mistake")
			case method == "CheckState":
				return fmt.Errorf("no \xff\n%s", strings.Repeat("x", 1000))
			}
			return nil
		}
	})
	c := dial(t, s)
	require.Contains(t, c.ask(request("1", "CreateCluster", "")), `"result":`)
	require.Contains(t, c.ask(request("1", "TakeSnapshot", "")), `"code":113,"message":"Not permitted"`)
	refusal := c.ask(request("1", "CheckState", ""))
	require.True(t, json.Valid([]byte(refusal)))
	require.Contains(t, refusal, `"code":113`)
	require.Less(t, len(refusal), 500)
	require.Equal(t, result("1", "1"), c.ask(apply("1", "Command", "1")))
	require.Contains(t, c.ask(request("1", peer.MethodHello, `{"protocol":1}`)), `"instance":`, "servers prove themselves")
	require.Equal(t, result("1", "null"), c.ask(request("1", peer.MethodPing, "")))
	for _, want := range []string{"CreateCluster", "TakeSnapshot", "CheckState", "Apply"} {
		require.Equal(t, want, <-asked)
	}
	require.Empty(t, asked)
	waitFor(t, func() bool { return strings.Contains(log.String(), "a mistake") })
}
