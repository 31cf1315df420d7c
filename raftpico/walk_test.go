package raftpico_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// The wire contract over real sockets: what a client sends and what it reads, byte for byte. Errors are in
// errors_test.go; what must do no harm is in hostile_test.go.

// kvs is the key-value machine of the contract.
type kvs map[string]json.RawMessage

func (m kvs) Apply(ctx *machine.Context, in machine.Union) (any, error) {
	var key string
	var value json.RawMessage
	var err error
	switch in.Tag {
	case "Put":
		err = in.Tuple(&key, &value)
	case "Get", "Delete":
		err = in.Decode(&key)
	case "List":
		keys := slices.AppendSeq([]string{}, maps.Keys(m))
		slices.Sort(keys)
		return keys, in.Unit()
	default:
		err = fmt.Errorf("unknown operation %.32q", in.Tag)
	}
	if err == nil && in.Tag != "Get" && ctx.Kind != machine.Command {
		err = fmt.Errorf("%s must be a Command", in.Tag)
	}
	if err != nil {
		return nil, err
	}
	previous := m[key]
	switch in.Tag {
	case "Put":
		m[key] = bytes.Clone(value)
	case "Delete":
		delete(m, key)
	}
	return previous, nil
}

// startKVS starts n servers that belong to no cluster.
func startKVS(t *testing.T, n int, change func(*raftpico.Options)) []*raftpico.Server {
	t.Helper()
	servers := make([]*raftpico.Server, n)
	for i := range servers {
		servers[i] = startServer(t, machine.JSON(&kvs{}), change)
	}
	return servers
}

// kvsCluster starts n servers that are a cluster, whose leader stays.
func kvsCluster(t *testing.T, n int, change func(*raftpico.Options)) []*raftpico.Server {
	t.Helper()
	servers := startKVS(t, n, change)
	joinAll(t, servers, still)
	return servers
}

// client speaks lines over a plain socket, as nc does.
type client struct {
	net.Conn
	t  *testing.T
	in *bufio.Reader
}

// patience is when waiting for a socket becomes a failure. It is longer than any deadline of a request.
const patience = 20 * time.Second

func dial(t *testing.T, s *raftpico.Server) *client {
	t.Helper()
	return dialAddr(t, s.Addr())
}

func dialAddr(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &client{conn, t, bufio.NewReader(conn)}
}

// send writes bytes as they are, in one packet where they fit.
func (c *client) send(lines ...string) {
	c.t.Helper()
	require.NoError(c.t, c.SetWriteDeadline(time.Now().Add(patience)))
	_, err := io.WriteString(c, strings.Join(lines, ""))
	require.NoError(c.t, err, "the server did not take a request")
}

// readLine reads an answer, without its newline.
func (c *client) readLine() (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	line, err := c.in.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

func (c *client) line() string {
	c.t.Helper()
	line, err := c.readLine()
	require.NoError(c.t, err, "no answer; read so far: %.200q", line)
	return line
}

func (c *client) ask(request string) string {
	c.t.Helper()
	c.send(request)
	return c.line()
}

// silent checks that the server has nothing more to say than the answer to one more request, which passes all of it.
func (c *client) silent() {
	c.t.Helper()
	require.Contains(c.t, c.ask(request(`"the end"`, "GetServerState", `{"machines":false}`)), `{"jsonrpc":"2.0","id":"the end","result":{`)
}

// request is a line. Empty params and an empty id are left out.
func request(id, method, params string) string {
	line := `{"jsonrpc":"2.0","method":` + strconv.Quote(method)
	if params != "" {
		line += `,"params":` + params
	}
	if id != "" {
		line += `,"id":` + id
	}
	return line + "}\n"
}

func apply(id, kind, input string) string {
	return request(id, "Apply", `{"kind":"`+kind+`","input":`+input+`}`)
}

func result(id, value string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"result":` + value + `}`
}

// A server that was added answers 102 until it has heard of it, and from then on it serves, while it is catching up.
func TestServerServesAsSoonAsItHasJoined(t *testing.T) {
	t.Parallel()
	servers := startKVS(t, 3, nil)
	_, err := servers[0].CreateCluster(t.Context(), still)
	require.NoError(t, err)
	for i, s := range servers[1:] {
		add(t, servers[0], s)
		c := dial(t, s)
		var got string
		waitFor(t, func() bool {
			got = c.ask(apply("1", "Command", fmt.Sprintf(`{"Put":["%d",1]}`, i)))
			return !strings.Contains(got, `"code":102,`)
		})
		require.Equal(t, result("1", "null"), got)
		require.Equal(t, result("1", "1"), c.ask(apply("1", "Query", fmt.Sprintf(`{"Get":"%d"}`, i))))
	}
}

// state is what GetServerState answers, member by member. While its disk is slow a server tells all but the machines: it is
// asked again.
func state(t *testing.T, s *raftpico.Server, params string) map[string]json.RawMessage {
	t.Helper()
	c := dial(t, s)
	defer c.Close()
	var answer struct{ Result map[string]json.RawMessage }
	waitFor(t, func() bool {
		answer.Result = nil
		require.NoError(t, json.Unmarshal([]byte(c.ask(request("1", "GetServerState", params))), &answer))
		return answer.Result["machines_missing"] == nil
	})
	return answer.Result
}

// whole is what State tells in process, with the machines.
func whole(t *testing.T, s *raftpico.Server) (state *raftpico.State) {
	t.Helper()
	waitFor(t, func() bool {
		var err error
		state, err = s.State(t.Context(), true)
		require.NoError(t, err)
		return state.Machines != nil
	})
	return state
}

func TestServerStateHasTheOriginalsFields(t *testing.T) {
	t.Parallel()
	servers := startKVS(t, 3, nil)
	blank := state(t, servers[1], "") // it is told once a second
	for name, want := range map[string]string{
		"addr": strconv.Quote(servers[1].Addr()), "node_id": "null", "current_term": "0", "voted_for": "null", "role": `"Follower"`,
		"commit_index": "0", "snapshot": `{"term":0,"index":0}`,
		"machines": `{"system":{"min_election_timeout_ms":300,"max_election_timeout_ms":2000,"members":{}},"user":{}}`,
	} {
		require.JSONEq(t, want, string(blank[name]), "%s, of a server without a cluster", name)
	}
	require.NotContains(t, state(t, servers[1], `{"machines":false}`), "machines")
	require.NotContains(t, state(t, servers[1], `[false]`), "machines")

	joinAll(t, servers, still)
	require.Equal(t, result("1", "null"), dial(t, servers[0]).ask(apply("1", "Command", `{"Put":["k",[1, 1.0]]}`)))
	leaders := 0
	for i, s := range servers {
		require.Equal(t, result("1", "[1,1.0]"), dial(t, s).ask(apply("1", "Query", `{"Get":"k"}`)), "so that it has applied what it shows")
		got := state(t, s, `{"machines":true}`)
		require.Equal(t, strconv.Quote(s.Addr()), string(got["addr"]))
		for _, number := range []string{"node_id", "current_term", "commit_index"} {
			n, err := strconv.ParseUint(string(got[number]), 10, 64)
			require.NoError(t, err, number)
			require.Positive(t, n, number)
		}
		if string(got["role"]) == `"Leader"` {
			leaders++
			require.Equal(t, string(got["node_id"]), string(got["voted_for"]))
		} else {
			require.Equal(t, `"Follower"`, string(got["role"]))
		}
		var snapshot struct{ Term, Index uint64 }
		require.NoError(t, json.Unmarshal(got["snapshot"], &snapshot))
		require.Positive(t, snapshot.Term)
		require.Positive(t, snapshot.Index)
		var machines struct {
			System struct {
				Min     int `json:"min_election_timeout_ms"`
				Max     int `json:"max_election_timeout_ms"`
				Members map[string]struct{ Addr string }
			}
			User json.RawMessage
		}
		require.NoError(t, json.Unmarshal(got["machines"], &machines))
		require.Equal(t, `{"k":[1,1.0]}`, string(machines.User))
		require.Equal(t, []int{3000, 6000}, []int{machines.System.Min, machines.System.Max})
		require.Len(t, machines.System.Members, 3)
		require.Equal(t, s.Addr(), machines.System.Members[string(got["node_id"])].Addr)
		if i == 0 {
			require.Equal(t, "1", string(got["node_id"]), "the first server's id")
		}
	}
	require.Equal(t, 1, leaders)
}

func machineState(t *testing.T, s *raftpico.Server) string {
	t.Helper()
	var machines struct{ User json.RawMessage }
	require.NoError(t, json.Unmarshal(state(t, s, "")["machines"], &machines))
	return string(machines.User)
}

func TestCommandsOfAConnectionAreCarriedOutInTheOrderSent(t *testing.T) {
	t.Parallel()
	const n = 2000
	for _, s := range kvsCluster(t, 3, nil) {
		c := dial(t, s)
		var lines strings.Builder
		for i := range n {
			lines.WriteString(apply(strconv.Itoa(i), "Command", fmt.Sprintf(`{"Put":["k",%d]}`, i)))
		}
		c.send(lines.String())
		want := map[string]bool{result("0", "null"): true}
		for i := 1; i < n; i++ {
			want[result(strconv.Itoa(i), strconv.Itoa(i-1))] = true
		}
		for range n {
			got := c.line()
			require.True(t, want[got], got)
			delete(want, got)
		}
		require.Equal(t, result("1", strconv.Itoa(n-1)), c.ask(apply("1", "Command", `{"Delete":"k"}`)))
	}
}

func TestOneOfManyCreateClusterSucceeds(t *testing.T) {
	t.Parallel()
	s := startKVS(t, 1, nil)[0]
	c := dial(t, s)
	c.send(strings.Repeat(request("1", "CreateCluster", ""), 100))
	created := 0
	for range 100 {
		if got := c.line(); got == result("1", `{"members":["`+s.Addr()+`"]}`) {
			created++
		} else {
			require.Contains(t, got, `"error":{"code":100,"message":"Cluster already created"`)
		}
	}
	require.Equal(t, 1, created)
}
