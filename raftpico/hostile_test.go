package raftpico_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico"
)

// What bad input must never do (the wire contract): after each the same connection goes on where it may, other clients
// notice nothing, the server stays up.

var wells atomic.Int64

// well checks that clients who come now notice nothing: each server writes and reads, and all read the same.
func well(t *testing.T, servers ...*raftpico.Server) {
	t.Helper()
	for _, s := range servers {
		value := wells.Add(1)
		require.Contains(t, settled(t, s, apply("1", "Command", fmt.Sprintf(`{"Put":["well",%d]}`, value))), `"result":`)
		for _, other := range servers {
			require.Equal(t, result("1", fmt.Sprint(value)), settled(t, other, apply("1", "Query", `{"Get":"well"}`)))
		}
	}
}

const list = `{"jsonrpc":"2.0","method":"Apply","params":["Query","List"],"id":"good"}` + "\n"

func TestBadLineHarmsNothing(t *testing.T) {
	t.Parallel()
	servers := kvsCluster(t, 3, nil)
	for i, s := range servers {
		c := dial(t, s)
		require.NotContains(t, c.ask(list), `"error"`) // what begins otherwise is closed
		for name, line := range map[string]string{
			"no JSON":                    "nonsense",
			"half a request":             `{"jsonrpc":"2.0","method":"Apply"`,
			"a NUL":                      "\x00",
			"no UTF-8":                   "\"\xff\xfe\"",
			"no UTF-8 in an input":       "{\"jsonrpc\":\"2.0\",\"method\":\"Apply\",\"params\":[\"Command\",{\"Put\":[\"k\",\"\xc3\x28\"]}],\"id\":1}",
			"a request of another time":  "GET / HTTP/1.1",
			"only brackets":              strings.Repeat("[", 1_000_000),
			"only braces":                strings.Repeat(`{"a":`, 200_000),
			"deep nesting in an input":   `{"jsonrpc":"2.0","method":"Apply","params":["Command",{"Put":["k",` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `]}],"id":1}`,
			"deep nesting in an unknown": `{"jsonrpc":"2.0","method":"Apply","x":` + strings.Repeat("[", 50_000) + strings.Repeat("]", 50_000) + `,"id":1}`,
		} {
			require.Equal(t, "null", string(failed(t, c.ask(line+"\n"), -32700).ID), name)
			require.NotContains(t, c.ask(list), `"error"`, "the connection goes on after: %s", name)
			c.send(line, "\n", list, line, "\n", list, line, "\n") // in one packet
			bad, good := 0, 0
			for range 5 {
				if got := c.line(); strings.Contains(got, `"id":"good","result":[`) {
					good++
				} else {
					failed(t, got, -32700)
					bad++
				}
			}
			require.Equal(t, []int{3, 2}, []int{bad, good}, name)
			c.silent()
		}
		require.Equal(t, result("1", "null"), c.ask(apply("1", "Query", `{"Get":"k"}`)))
		well(t, servers[i])
	}
	well(t, servers...)
}

func TestOversizedPartsOfARequestAreSmallInAnswers(t *testing.T) {
	t.Parallel()
	s := kvsCluster(t, 1, nil)[0]
	c := dial(t, s)
	digits, text := strings.Repeat("7", 1<<20), `"`+strings.Repeat("x", 1<<20)+`"`
	for _, line := range []string{
		request("1", "CreateCluster", `[`+digits+`,`+digits+`]`), request("1", "CreateCluster", `[`+text+`]`),
		request("1", "AddServer", `[`+text+`]`), request("1", "AddServer", `[`+digits+`]`), request("1", "RemoveServer", `[`+text+`]`),
		request("1", "Apply", `[`+text+`,1]`), request("1", "Apply", `[`+digits+`,1]`), apply("1", "Query", text), apply("1", "Query", `{`+text+`:1}`),
		apply("1", "Query", `{"Get":`+digits+`}`), request("1", "GetServerState", `[`+digits+`]`), request("1", strings.Trim(text, `"`), ""),
		request("1", "raftpico.Hello", text), request("1", "raftpico.Hello", `{"protocol":`+digits+`}`), request("1", "raftpico.Hello", `{"protocol":`+text+`}`),
		request("1", "raftpico.Prove", `{"mac":`+digits+`}`), request("1", "raftpico.Join", `{"identity":{"node_id":`+digits+`}}`),
	} {
		got := c.ask(line)
		require.Contains(t, got, `"error":{`)
		require.Less(t, len(got), 2000, "%.100s… to %.100s…", got, line)
	}
	well(t, s)
}

func TestPlainClientIsNoMember(t *testing.T) {
	t.Parallel()
	servers := kvsCluster(t, 3, nil)
	for _, s := range servers {
		c := dial(t, s)
		var who struct {
			Result struct {
				Instance  string `json:"instance"`
				ClusterID string `json:"cluster_id"`
				NodeID    uint64 `json:"node_id"`
				MAC       string `json:"mac"`
			}
		}
		require.NoError(t, json.Unmarshal([]byte(c.ask(request("1", "raftpico.Hello", `{"protocol":1}`))), &who))
		me := who.Result
		require.NotEmpty(t, me.ClusterID)
		require.NotContains(t, c.ask(request("1", "raftpico.Hello", `{"protocol":1}`)), "key")

		messages := func() { // forged, once as requests and once as notifications
			for _, params := range []string{
				``, `{}`, `[]`, `{"type":"MsgTimeoutNow","from":1,"to":3,"term":1}`, `{"type":"MsgVote","from":9,"to":1,"term":18446744073709551615}`,
				`{"type":"MsgHeartbeat","from":1,"to":1,"term":99,"commit":99999}`, `{"type":"MsgSnap","from":1,"to":1,"term":99,"snapshot":{}}`,
				`{"type":"MsgApp","from":1,"to":1,"term":99,"log_term":99,"index":9,"entries":[]}`, `{"type":"MsgProp"}`, `{"type":5}`,
				`{"type":"Propose","from":1,"to":1,"term":1,"boot":"a","seq":1,"commands":[{"Apply":{"Put":["forged",1]}}]}`,
				`{"type":"Rejected","from":1,"to":1,"term":1,"boot":"a","seq":0,"code":106}`,
			} {
				failed(t, c.ask(request("1", "raftpico.Message", params)), 102)
				c.send(request("", "raftpico.Message", params))
			}
			c.silent()
		}
		messages()

		for _, params := range []string{`{"mac":""}`, `{"mac":"` + strings.Repeat("0", 64) + `"}`} {
			failed(t, c.ask(request("1", "raftpico.Prove", params)), 102)
		}
		for _, params := range []string{``, `5`, `[]`, `{"mac":5}`, `{"mac":{}}`, `{"mac":"` + strings.Repeat("0", 1<<20) + `"}`} {
			require.Contains(t, c.ask(request("1", "raftpico.Prove", params)), `"error":{"code":`, params)
		}
		for _, params := range []string{
			``, `[]`, `{}`, `{"identity":null,"instance":""}`, `{"identity":{"cluster_id":5}}`,
			`{"identity":{"cluster_id":"a","key":"b","node_id":7},"instance":"` + me.Instance + `"}`,
			`{"identity":{"cluster_id":"` + me.ClusterID + `","key":"b","node_id":7},"instance":"` + me.Instance + `"}`,
			`{"identity":{"cluster_id":"a","key":"b","node_id":0},"instance":"` + me.Instance + `"}`,
			`{"identity":{"cluster_id":"a","key":"b","node_id":18446744073709551615},"instance":"` + me.Instance + `"}`,
			`{"identity":{"cluster_id":"a\n","key":"b","node_id":7},"instance":"` + me.Instance + `"}`,
		} {
			require.Contains(t, c.ask(request("1", "raftpico.Join", params)), `"error":{"code":`, params)
		}
		for _, params := range []string{
			``, `[]`, `{}`, `{"protocol":0}`, `{"protocol":2}`, `{"protocol":"1"}`, `{"protocol":1,"from":5}`, `{"protocol":1,"from":{"id":-1}}`,
			`{"protocol":1,"cluster_id":"another","nonce":"00"}`, `{"protocol":1,"cluster_id":"` + me.ClusterID + `"}`,
			`{"protocol":1,"cluster_id":"` + me.ClusterID + `","to":{"id":` + strconv.FormatUint(me.NodeID, 10) + `,"instance":"another"}}`,
		} {
			require.Contains(t, c.ask(request("1", "raftpico.Hello", params)), `"error":{"code":`, params)
		}

		// All that anybody can learn, in the name of a member: the proof is missing, and the server's own is none.
		hello := request("1", "raftpico.Hello", fmt.Sprintf(`{"protocol":1,"cluster_id":"%s","from":{"id":99,"instance":"a","addr":"127.0.0.1:1"},"to":{"id":%d,"instance":"%s"},"nonce":"00"}`,
			me.ClusterID, me.NodeID, me.Instance))
		require.NoError(t, json.Unmarshal([]byte(c.ask(hello)), &who))
		require.NotEmpty(t, who.Result.MAC)
		failed(t, c.ask(request("1", "raftpico.Prove", `{"mac":"`+who.Result.MAC+`"}`)), 102)
		failed(t, c.ask(request("1", "raftpico.Prove", `{"mac":"`+who.Result.MAC+`"}`)), 102)
		messages()
		require.NotContains(t, c.ask(list), "forged")
	}
	well(t, servers...)

	// A server without a cluster takes a place only from one that names it, and can still be given one.
	stranger := startKVS(t, 1, nil)[0]
	c := dial(t, stranger)
	failed(t, c.ask(request("1", "raftpico.Message", `{}`)), 102)
	failed(t, c.ask(request("1", "raftpico.Prove", `{"mac":""}`)), 102)
	failed(t, c.ask(request("1", "raftpico.Join", `{"identity":{"cluster_id":"a","key":"b","node_id":7},"instance":"another"}`)), 102)
	require.Contains(t, c.ask(request("1", "raftpico.Join", `{"identity":{"cluster_id":"a","key":"b"}}`)), `"error"`)
	failed(t, c.ask(apply("1", "Query", `"List"`)), 102)
	require.Contains(t, c.ask(request("1", "CreateCluster", "")), `"result":{"members":[`)
	well(t, stranger)
}

// listen serves connections by f, each on a goroutine that ends at the end of the test, and returns the address.
func listen(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var mu sync.Mutex
	var conns []net.Conn
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() { f(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return listener.Addr().String()
}

// answering answers every line by the same.
func answering(t *testing.T, answer string) string {
	return listen(t, func(conn net.Conn) {
		c := &client{Conn: conn, t: t}
		buf := make([]byte, 4096)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			if _, err := io.WriteString(conn, answer); err != nil {
				return
			}
		}
	})
}

func TestAddServerOfWhatIsNone(t *testing.T) {
	t.Parallel()
	limits := raftpico.Limits{Deadline: 3 * time.Second}
	s := kvsCluster(t, 1, func(o *raftpico.Options) { o.Limits = limits })[0]
	_, port, err := net.SplitHostPort(s.Addr())
	require.NoError(t, err)
	foreign := kvsCluster(t, 1, nil)[0]

	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	rpc := &jsonrpc.Server{Handler: jsonrpc.Handle(func(*jsonrpc.Request) (any, error) { return nil, jsonrpc.ErrMethodNotFound }), Logger: quiet}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() { _ = rpc.Serve(other) }) // ends with rpc.Close
	defer serving.Wait()
	defer rpc.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, gone.Close())

	rows := []struct {
		name, addr string
		code       int
	}{
		{"nobody", gone.Addr().String(), 109},
		{"a web server", web.Listener.Addr().String(), 109},
		{"another JSON-RPC server", other.Addr().String(), 109},
		{"one that says nothing", listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }), 109},
		{"one that hangs up", listen(t, func(conn net.Conn) { _ = conn.Close() }), 109},
		{"one that never ends a line", listen(t, func(conn net.Conn) {
			for err := error(nil); err == nil; {
				_, err = io.WriteString(conn, "{")
			}
		}), 109},
		{"an echo", listen(t, func(conn net.Conn) { _, _ = io.Copy(conn, conn) }), 109},
		{"nonsense", answering(t, "nonsense\n"), 109},
		{"a null", answering(t, `{"jsonrpc":"2.0","id":0,"result":null}`+"\n"), 109},
		{"an empty result", answering(t, `{"jsonrpc":"2.0","id":0,"result":{}}`+"\n"), 109},
		{"another protocol", answering(t, `{"jsonrpc":"2.0","id":0,"result":{"protocol":99,"instance":"a"}}`+"\n"), 109},
		{"a bad instance", answering(t, `{"jsonrpc":"2.0","id":0,"result":{"protocol":1,"instance":"\n\"}{"}}`+"\n"), 109},
		{"another id", answering(t, `{"jsonrpc":"2.0","id":7,"result":{"protocol":1,"instance":"a"}}`+"\n"), 109},
		{"a name that is none", "nobody.invalid:4000", 109},
		{"a member of another cluster", foreign.Addr(), 109},
		{"itself", s.Addr(), 101},
		{"itself by another name", "localhost:" + port, 101},
		{"a wildcard", "0.0.0.0:" + port, -32602},
		{"a wildcard without an address", ":" + port, -32602},
		{"a port alone", port, -32602},
	}
	c := dial(t, s)
	for i, row := range rows { // all at once: none waits for the patience with another
		c.send(request(strconv.Itoa(i), "AddServer", `{"addr":"`+row.addr+`"}`))
	}
	c.send(apply("-1", "Command", `{"Put":["k",1]}`))
	for range len(rows) + 1 {
		line := c.line()
		i, err := strconv.Atoi(string(idOf(t, line)))
		require.NoError(t, err)
		if i < 0 {
			require.Equal(t, result("-1", "null"), line, "they hold up nobody's commands")
			continue
		}
		got := failed(t, line, rows[i].code)
		if rows[i].code == 109 {
			require.NotEmpty(t, got.About.Reason, rows[i].name)
			require.Less(t, len(line), 1000, "%s: %.100s…", rows[i].name, line)
		}
	}
	require.Equal(t, 1, voters(t, s))
	var system struct {
		System struct{ Members map[string]struct{} }
	}
	require.NoError(t, json.Unmarshal(state(t, s, "")["machines"], &system))
	require.Len(t, system.System.Members, 1, "the cluster is unchanged")
	well(t, s)
	well(t, foreign)

	// And a real one can still be added, by any of its names, once.
	newcomer := startKVS(t, 1, nil)[0]
	_, port, err = net.SplitHostPort(newcomer.Addr())
	require.NoError(t, err)
	c.send(request("1", "AddServer", `["`+newcomer.Addr()+`"]`), request("2", "AddServer", `["`+newcomer.Addr()+`"]`), request("3", "AddServer", `["localhost:`+port+`"]`))
	require.Equal(t, result("1", `{"members":["`+s.Addr()+`","`+newcomer.Addr()+`"]}`), c.line())
	failed(t, c.line(), 101)
	failed(t, c.line(), 101)
	waitFor(t, func() bool { return voters(t, newcomer) == 2 })
	well(t, s, newcomer)
}

// One that says what a server says, and then nothing: it is on the list, and never counts in a quorum.
func TestImpostorNeverCounts(t *testing.T) {
	t.Parallel()
	s := kvsCluster(t, 1, nil)[0]
	var said atomic.Bool
	addr := listen(t, func(conn net.Conn) {
		if !said.Swap(true) {
			_, _ = io.WriteString(conn, `{"jsonrpc":"2.0","id":0,"result":{"protocol":1,"instance":"a"}}`+"\n")
		}
		_, _ = io.Copy(io.Discard, conn)
	})
	require.Equal(t, result("1", `{"members":["`+s.Addr()+`","`+addr+`"]}`), dial(t, s).ask(request("1", "AddServer", `["`+addr+`"]`)))
	waitFor(t, func() bool { return strings.Contains(string(state(t, s, "")["members"]), `"Learner"`) })
	for range 3 {
		well(t, s)
	}
	require.Equal(t, 1, voters(t, s))
}

func TestElectionTimeoutsThatCantBe(t *testing.T) {
	t.Parallel()
	s := startKVS(t, 1, nil)[0]
	c := dial(t, s)
	for _, params := range []string{`[0,0]`, `[0,2000]`, `[2000,300]`, `[300,299]`, `{"min_election_timeout_ms":2001,"max_election_timeout_ms":2000}`, `[-300,300]`, `[1e18,1e18]`} {
		failed(t, c.ask(request("1", "CreateCluster", params)), -32602)
	}
	require.Equal(t, "null", string(state(t, s, "")["node_id"]))
	require.Contains(t, c.ask(request("1", "CreateCluster", `[1,1]`)), `"result":{"members":[`, "the shortest")
	well(t, s)
}

func TestWritesAsQueriesAreRefused(t *testing.T) {
	t.Parallel()
	servers := kvsCluster(t, 3, nil)
	require.Equal(t, result("1", "null"), dial(t, servers[0]).ask(apply("1", "Command", `{"Put":["k",1]}`)))
	for _, s := range servers {
		c := dial(t, s)
		for _, kind := range []string{"Query", "LocalQuery"} {
			require.NotEmpty(t, failed(t, c.ask(apply("1", kind, `{"Put":["k",2]}`)), 103).About.Reason)
			require.NotEmpty(t, failed(t, c.ask(apply("1", kind, `{"Delete":"k"}`)), 103).About.Reason)
		}
	}
	for _, s := range servers {
		require.Equal(t, result("1", "1"), dial(t, s).ask(apply("1", "Query", `{"Get":"k"}`)))
		require.Equal(t, `{"k":1}`, machineState(t, s))
	}
}
