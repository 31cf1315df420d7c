package raftpico_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// Bad addresses of AddServer and RemoveServer, given to a leader and a follower at once. TestAddServerOfWhatIsNone has
// such over the wire, many at a time; here each is alone, so that what it leaves behind shows.

func TestBadAddressesChangeNothing(t *testing.T) {
	const deadline = 2 * time.Second
	const nowhere = "192.0.2.1:4000" // no answer ever comes from there (RFC 5737), nor do these servers ask
	asked := startKVS(t, 2, func(o *raftpico.Options) {
		o.Limits.Deadline = deadline
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == nowhere {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	members := append(asked, startKVS(t, 1, nil)...)
	removed, foreign := startKVS(t, 1, nil)[0], kvsCluster(t, 1, nil)[0]
	joinAll(t, append(members[:3:3], removed), still)
	leader, follower := asked[0], asked[1]
	instances := instancesOf(t, leader)
	_, err := leader.RemoveServer(t.Context(), removed.Addr())
	require.NoError(t, err)
	waitFor(t, func() bool {
		_, err := removed.Apply(t.Context(), machine.Command, json.RawMessage(`{"Put":["removed",1]}`))
		return errors.Is(err, raftpico.ErrNotMember)
	})
	waitFor(t, func() bool { return goroutines("peer.(*Link).run(") == 6 }) // two of each member's

	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	port := func(s *raftpico.Server) string { return s.Addr()[strings.LastIndex(s.Addr(), ":")+1:] }
	state, err := leader.State(t.Context(), false)
	require.NoError(t, err)
	var fakes fakes
	hello := func(result string) string {
		return fakes.saying(t, `{"jsonrpc":"2.0","id":0,"result":`+result+`}`+"\n")
	}

	type row struct {
		name, addr string
		add        error
	}
	unreachable, exists, malformed := raftpico.ErrUnreachable, raftpico.ErrServerExists, jsonrpc.ErrInvalidParams
	rows := []row{
		{"a closed port", closed.Addr().String(), unreachable},
		{"no way there", nowhere, unreachable},
		{"a name that is none", "nobody.invalid:4000", unreachable},
		{"a broadcast address", "255.255.255.255:4000", unreachable},
		{"a web server", web.Listener.Addr().String(), unreachable},
		{"a member of another cluster", foreign.Addr(), unreachable},
		{"a removed server that runs", removed.Addr(), unreachable},
		{"a removed server that runs, by another name", "localhost:" + port(removed), unreachable},

		{"one that says nothing", fakes.saying(t, ""), unreachable},
		{"one that closes at once", fakes.start(t, func(conn net.Conn) { _ = conn.Close() }), unreachable},
		{"one that resets at once", fakes.start(t, func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) }), unreachable},
		{"one that closes after half an answer", fakes.start(t, func(conn net.Conn) { _, _ = io.WriteString(conn, `{"jsonrpc":"2.0","id":0,"result":{"protocol":1`) }), unreachable},
		{"one with a long error", fakes.saying(t, `{"jsonrpc":"2.0","id":0,"error":{"code":1,"message":"`+strings.Repeat("x", 60_000)+`"}}`+"\n"), unreachable},
		{"one that stops in the middle of an answer", fakes.saying(t, `{"jsonrpc":"2.0","id":0,"result":{"protocol":1`), unreachable},
		{"one that never ends a line", fakes.start(t, func(conn net.Conn) { _, _ = io.Copy(conn, endless(bytes.Repeat([]byte("x"), 4096))) }), unreachable},
		{"one that never ends a line, slowly", fakes.start(t, func(conn net.Conn) {
			for err := error(nil); err == nil; time.Sleep(10 * time.Millisecond) { // the pace is what is tested
				_, err = io.WriteString(conn, " ")
			}
		}), unreachable},
		{"empty lines without end", fakes.start(t, func(conn net.Conn) { _, _ = io.Copy(conn, endless("\n")) }), unreachable},
		{"zeros without end", fakes.start(t, func(conn net.Conn) { _, _ = io.Copy(conn, endless([]byte{0})) }), unreachable},
		{"JSON lines of something else", fakes.start(t, func(conn net.Conn) { _, _ = io.Copy(conn, endless(`{"time":1,"level":"info","result":[]}`+"\n")) }), unreachable},
		{"an answer of another type", hello(`[1,"instance"]`), unreachable},
		{"a negative id", hello(`{"protocol":1,"instance":"a","cluster_id":"b","node_id":-1}`), unreachable},
		{"an error answer", fakes.saying(t, `{"jsonrpc":"2.0","id":0,"error":{"code":-32601,"message":"Method not found"}}`+"\n"), unreachable},
		{"another cluster's handshake", hello(`{"protocol":1,"instance":"a","cluster_id":"another","node_id":1}`), unreachable},
		{"another cluster's handshake, under a removed server's instance", hello(`{"protocol":1,"instance":"` + instances[removed.Addr()] + `","cluster_id":"another","node_id":1}`), unreachable},
		{"this cluster's handshake, under an id that nobody has", hello(`{"protocol":1,"instance":"a","cluster_id":"` + state.ClusterID + `","node_id":2}`), unreachable},
		{"no cluster's handshake, under a removed server's instance", hello(`{"protocol":1,"instance":"` + instances[removed.Addr()] + `"}`), unreachable},
		{"no cluster's handshake, under a member's instance", hello(`{"protocol":1,"instance":"` + instances[follower.Addr()] + `"}`), exists},

		{"the leader", leader.Addr(), exists},
		{"a follower", follower.Addr(), exists},
		{"another follower", members[2].Addr(), exists},
	}
	for _, host := range []string{"localhost:", "[127.0.0.1]:", "[::ffff:127.0.0.1]:", "127.0.0.1:0"} {
		rows = append(rows, row{"a member, as " + host, host + port(follower), exists})
	}
	for _, host := range []string{"", "0.0.0.0", "[0.0.0.0]", "[::]", "[0:0:0:0:0:0:0:0]", "[::ffff:0.0.0.0]", "[::%1]"} {
		rows = append(rows, row{"a wildcard, as " + host, host + ":" + port(follower), malformed})
	}
	for _, addr := range []string{
		"", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:+80", "127.0.0.1:0x50", "127.0.0.1:８０", "127.0.0.1: 80", "127.0.0.1:80\n", "127.0.0.1:80/", " 127.0.0.1:80",
		"127.0.0.1\x00:80", "127.0.0.1:80:80", "http://127.0.0.1:80", "[::1:80", "::1]:80", "[[::1]]:80", "[127.0.0.1:80]", strings.Repeat("a", 300) + ":80",
	} {
		rows = append(rows, row{fmt.Sprintf("malformed: %.40q", addr), addr, malformed})
	}

	w := startWriting(t, members[2])
	list := memberList(t, leader)
	for _, row := range rows {
		alone := t.Run(row.name, func(t *testing.T) {
			attempt := func(f func(ctx context.Context, addr string) ([]string, error), want error) (err error) {
				for range 5 { // the machine may be too busy for a deadline, but not each time
					if err = w.inTime(deadline, func() error {
						_, err := f(t.Context(), row.addr)
						return mustBe(err, want)
					}); !errors.Is(err, errBusy) {
						break
					}
				}
				return err
			}
			errs := make([]error, len(asked))
			var wg sync.WaitGroup
			for i, s := range asked {
				wg.Go(func() {
					errs[i] = attempt(s.AddServer, row.add)
					switch row.addr {
					case leader.Addr(), follower.Addr(), members[2].Addr():
						return // it would be removed
					}
					if row.add == exists && strings.Contains(row.addr, "127.0.0.1") {
						return // so it would, however its address is written
					}
					want := raftpico.ErrNotMember
					if row.add == malformed {
						want = malformed
					}
					errs[i] = errors.Join(errs[i], attempt(s.RemoveServer, want))
				})
			}
			wg.Wait()
			require.NoError(t, errors.Join(errs...))
			for _, s := range members {
				require.Equal(t, list, memberList(t, s), "the members")
			}
			waitFor(t, func() bool { return goroutines("(*links).Probe") == 0 && fakes.open.Load() == 0 })
			require.Equal(t, 6, goroutines("peer.(*Link).run("), "links")
			w.await()
		})
		if !alone {
			break // the next ones would find what it has left behind
		}
	}
	w.stop()
	require.Len(t, memberList(t, foreign), 1)
	well(t, foreign)
	well(t, members...)
}

// errBusy is an answer for which the machine may be to blame.
var errBusy = errors.New("too late")

// mustBe checks the error of a request. A 109 must say why, at no great length.
func mustBe(err, want error) error {
	switch {
	case errors.Is(err, raftpico.ErrRejected), errors.Is(err, raftpico.ErrUnknown), errors.Is(err, raftpico.ErrNoLeader):
		return fmt.Errorf("%w: %w", errBusy, err)
	case !errors.Is(err, want):
		return fmt.Errorf("got %v, want %v", err, want)
	}
	var about struct{ Reason string }
	if e, ok := errors.AsType[*raftpico.Error](err); ok && e.Is(raftpico.ErrUnreachable) {
		if err := json.Unmarshal(e.Data, &about); err != nil || about.Reason == "" || len(about.Reason) > 1000 {
			return fmt.Errorf("a bad reason: %.2000s", e.Data)
		}
	}
	return nil
}

// goroutines tells in how many places of all stacks a function is.
func goroutines(function string) int {
	buf := make([]byte, 1<<16)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			return bytes.Count(buf[:n], []byte(function))
		}
		buf = make([]byte, 2*len(buf))
	}
}

// endless repeats itself.
type endless []byte

func (e endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		n += copy(p[n:], e)
	}
	return n, nil
}

// fakes are servers that are none. Their connections count as open until the other side has closed them.
type fakes struct{ open atomic.Int64 }

// start starts one that does f to each connection, and afterwards waits for the end of it.
func (k *fakes) start(t *testing.T, f func(net.Conn)) (addr string) {
	return listen(t, func(conn net.Conn) {
		k.open.Add(1)
		f(conn)
		_ = conn.Close()
		k.open.Add(-1)
	})
}

// saying starts one that says something, and then nothing.
func (k *fakes) saying(t *testing.T, what string) (addr string) {
	return k.start(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, what)
		_, _ = io.Copy(io.Discard, conn)
	})
}

// memberList is the members as a server knows them, with their ids and roles.
func memberList(t *testing.T, s *raftpico.Server) (list []string) {
	t.Helper()
	state, err := s.State(t.Context(), false)
	require.NoError(t, err)
	for _, m := range state.Members {
		list = append(list, fmt.Sprintf("%d %s %s", m.ID, m.Addr, m.Role))
	}
	return list
}

// instancesOf returns the instances of a cluster's members, by address.
func instancesOf(t *testing.T, s *raftpico.Server) map[string]string {
	t.Helper()
	state := whole(t, s)
	var system struct {
		Members map[string]struct{ Addr, Instance string }
	}
	require.NoError(t, json.Unmarshal(state.Machines.System, &system))
	instances := map[string]string{}
	for _, m := range system.Members {
		require.NotEmpty(t, m.Instance)
		instances[m.Addr] = m.Instance
	}
	return instances
}

// writing is a client that writes 1, 2, 3, … through one server without a pause. Each write must succeed, in its turn.
type writing struct {
	t     *testing.T
	acked atomic.Int64
	stop  func()
}

func startWriting(t *testing.T, s *raftpico.Server) *writing {
	w := &writing{t: t}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop, or with the first write that fails
		defer close(ended)
		previous := "null"
		for n := int64(1); ; n++ {
			select {
			case <-quit:
				return
			default:
			}
			out, err := s.Apply(context.Background(), machine.Command, json.RawMessage(fmt.Sprintf(`{"Put":["n",%d]}`, n)))
			if err != nil || string(out) != previous {
				t.Errorf("write %d answered %s, %v; want %s", n, out, err, previous)
				return
			}
			previous = strconv.FormatInt(n, 10)
			w.acked.Store(n)
		}
	}()
	w.stop = sync.OnceFunc(func() {
		close(quit)
		<-ended
	})
	t.Cleanup(w.stop)
	return w
}

// await waits for a write that begins after its call.
func (w *writing) await() {
	w.t.Helper()
	now := w.acked.Load()
	waitFor(w.t, func() bool { return w.acked.Load() >= now+2 })
}

// inTime does f, which must end within the deadline; if it takes long, there must be writes meanwhile.
func (w *writing) inTime(deadline time.Duration, f func() error) error {
	before, began := w.acked.Load(), time.Now()
	err := f()
	took, writes := time.Since(began), w.acked.Load()-before
	switch {
	case err != nil:
		return err
	case took > deadline:
		return fmt.Errorf("%w: it took %v", errBusy, took)
	case took > deadline/4 && writes < 2:
		return fmt.Errorf("%w: %d writes in %v", errBusy, writes, took)
	}
	return nil
}
