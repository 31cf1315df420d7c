package raftpico_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// The error table of the wire contract, a row or more for each code.

// messages are the contract's.
var messages = map[int]string{
	100: "Cluster already created", 101: "Server already added", 102: "Not a cluster member", 103: "Invalid machine input",
	104: "Invalid machine output", 105: "No machine output", 106: "Request rejected", 107: "Request result unknown", 108: "No leader",
	109: "Server unreachable", 110: "Busy", 112: "Last server",
	-32700: "Parse error", -32600: "Invalid request", -32601: "Method not found", -32602: "Invalid params", -32603: "Internal error",
}

// failure is an error answer.
type failure struct {
	ID    json.RawMessage
	Code  int
	About struct{ Leader, Reason string } // data
}

// failed decodes an answer that must be the contract's error of this code.
func failed(t *testing.T, line string, code int) failure {
	t.Helper()
	var answer struct {
		ID    json.RawMessage
		Error *struct {
			Code    int
			Message string
			Data    json.RawMessage
		}
		Result json.RawMessage
	}
	require.NoError(t, json.Unmarshal([]byte(line), &answer), "%.400s", line)
	require.True(t, answer.Error != nil && answer.Result == nil, "want error %d, got %.400s", code, line)
	require.Equal(t, code, answer.Error.Code, "%.400s", line)
	require.Equal(t, messages[code], answer.Error.Message)
	f := failure{ID: answer.ID, Code: code}
	if answer.Error.Data != nil {
		require.NoError(t, json.Unmarshal(answer.Error.Data, &f.About), "%.400s", line)
	}
	return f
}

// odd is a machine that answers as its input says.
type odd struct{}

func (*odd) Apply(ctx *machine.Context, in string) (any, error) {
	switch in {
	case "nothing":
		return nil, machine.ErrNoOutput
	case "nothing, wrapped":
		return nil, fmt.Errorf("odd: %w", machine.ErrNoOutput)
	case "half":
		return json.RawMessage(`{"half":`), nil
	case "bytes":
		return json.RawMessage("\"\xff\""), nil
	case "channel":
		return make(chan int), nil
	case "own":
		return nil, fmt.Errorf("odd: %w", &machine.Error{Code: 1000, Message: "Overdrawn", Data: map[string]int{"balance": 5}})
	case "own, bare":
		return nil, &machine.Error{Code: 4711, Message: "<Closed>"}
	case "low":
		return nil, &machine.Error{Code: 999, Message: "too low"}
	case "panic":
		panic("boom")
	}
	return nil, errors.New("no such <input>")
}

func TestErrorsOfAServerWithoutACluster(t *testing.T) {
	s := startKVS(t, 1, nil)[0]
	c := dial(t, s)
	for _, line := range []string{
		apply("7", "Command", `{"Put":["k",1]}`), apply("7", "Query", `"List"`), apply("7", "Command", `"nonsense"`),
		request("7", "AddServer", `{"addr":"127.0.0.1:1"}`), request("7", "RemoveServer", `{"addr":"`+s.Addr()+`"}`),
	} {
		require.Equal(t, "7", string(failed(t, c.ask(line), 102).ID), line)
	}
	require.Equal(t, result("7", "[]"), c.ask(apply("7", "LocalQuery", `"List"`)))
	failed(t, c.ask(apply("7", "LocalQuery", `{"Put":["k",1]}`)), 103)
	failed(t, c.ask(request("7", "Nonsense", "")), -32601)
	failed(t, c.ask(request("7", "AddServer", `{"addr":"nonsense"}`)), -32602)
}

func TestErrorsOfMembership(t *testing.T) {
	servers := kvsCluster(t, 3, nil)
	foreign := kvsCluster(t, 1, nil)[0]
	for _, s := range servers {
		c := dial(t, s)
		failed(t, c.ask(request("1", "CreateCluster", "")), 100)
		for _, member := range servers {
			failed(t, c.ask(request("1", "AddServer", `{"addr":"`+member.Addr()+`"}`)), 101)
		}
		failed(t, c.ask(request("1", "RemoveServer", `{"addr":"`+foreign.Addr()+`"}`)), 102)
		unreachable := failed(t, c.ask(request("1", "AddServer", `{"addr":"`+foreign.Addr()+`"}`)), 109)
		require.NotEmpty(t, unreachable.About.Reason)
		require.Equal(t, 3, voters(t, s), "the cluster is unchanged")
	}
	failed(t, dial(t, foreign).ask(request("1", "RemoveServer", `{"addr":"`+foreign.Addr()+`"}`)), 112)
	well(t, foreign)
}

func TestErrorsOfTheMachine(t *testing.T) {
	kv, other := kvsCluster(t, 1, nil)[0], startServer(t, machine.JSON(&odd{}), nil)
	joinAll(t, []*raftpico.Server{other}, calm)
	for _, tt := range []struct {
		server *raftpico.Server
		kinds  string
		input  string
		code   int
	}{
		{kv, "Command Query LocalQuery", `"nonsense"`, 103},
		{kv, "Command Query LocalQuery", `{"put":["k",1]}`, 103},
		{kv, "Command Query LocalQuery", `{"Put":["k"]}`, 103},
		{kv, "Command Query LocalQuery", `{"Put":[1,1]}`, 103},
		{kv, "Command Query LocalQuery", `{"Put":["k",1],"Get":"k"}`, 103},
		{kv, "Command Query LocalQuery", `{}`, 103},
		{kv, "Command Query LocalQuery", `null`, 103},
		{kv, "Command Query LocalQuery", `5`, 103},
		{kv, "Query LocalQuery", `{"Put":["k",1]}`, 103},
		{kv, "Query LocalQuery", `{"Delete":"k"}`, 103},
		{other, "Command Query LocalQuery", `"unknown"`, 103},
		{other, "Command Query LocalQuery", `"low"`, 103},
		{other, "Command Query LocalQuery", `7`, 103},
		{other, "Command Query LocalQuery", `"half"`, 104},
		{other, "Command Query LocalQuery", `"bytes"`, 104},
		{other, "Command Query LocalQuery", `"channel"`, 104},
		{other, "Command Query LocalQuery", `"nothing"`, 105},
		{other, "Command Query LocalQuery", `"nothing, wrapped"`, 105},
		{other, "Query LocalQuery", `"panic"`, -32603},
	} {
		for kind := range strings.FieldsSeq(tt.kinds) {
			got := failed(t, dial(t, tt.server).ask(apply("1", kind, tt.input)), tt.code)
			if tt.code == 103 || tt.code == 104 {
				require.NotEmpty(t, got.About.Reason, "%s %s", kind, tt.input)
			}
		}
	}
	for _, kind := range []string{"Command", "Query", "LocalQuery"} {
		c := dial(t, other)
		require.Equal(t, `{"jsonrpc":"2.0","id":1,"error":{"code":1000,"message":"Overdrawn","data":{"balance":5}}}`, c.ask(apply("1", kind, `"own"`)))
		require.Equal(t, `{"jsonrpc":"2.0","id":1,"error":{"code":4711,"message":"<Closed>"}}`, c.ask(apply("1", kind, `"own, bare"`)))
		require.Contains(t, c.ask(apply("1", kind, `"unknown"`)), `{"reason":"no such <input>"}`)
	}
	well(t, kv)
}

func TestErrorsOfRequests(t *testing.T) {
	s := startKVS(t, 1, nil)[0]
	c := dial(t, s)
	long := strings.Repeat("7", 1000)
	for _, tt := range []struct {
		code int
		rows []string
	}{
		{-32700, []string{
			`nonsense`, `{`, `{"jsonrpc":"2.0","method":"GetServerState","id":1`, `{"jsonrpc":"2.0","method":"GetServerState","id":1}}`,
			`{"jsonrpc":"2.0","method":"GetServerState","id":1} {}`, `{'jsonrpc':"2.0"}`, `{"jsonrpc":"2.0","method":"GetServerState","id":01}`,
			`{"jsonrpc":"2.0","method":"GetServerState","id":NaN}`, `{"jsonrpc":"2.0","method":"GetServerState","id":1,}`,
			"{\"jsonrpc\":\"2.0\",\"method\":\"GetServerState\",\"id\":\"\xff\"}", "{\"jsonrpc\":\"2.0\",\"method\":\"GetServerState\",\"id\":\"\xed\xa0\x80\"}",
			"{\"jsonrpc\":\"2.0\",\"method\":\"GetServerState\",\"id\":\"\x01\"}", "\x00", "\xef\xbb\xbf{}", "GET / HTTP/1.1", "\x16\x03\x01\x02", `[1`, `,`,
			strings.Repeat("[", 129) + strings.Repeat("]", 129),
		}},
		{-32600, []string{
			`1`, `"x"`, `null`, `true`, `{}`, `{"jsonrpc":"2.0","id":1}`, `{"method":"GetServerState","id":1}`, `{"jsonrpc":"1.0","method":"GetServerState","id":1}`,
			`{"jsonrpc":2.0,"method":"GetServerState","id":1}`, `{"jsonrpc":null,"method":"GetServerState","id":1}`, `{"jsonrpc":"2.0","method":1,"id":1}`,
			`{"jsonrpc":"2.0","method":null,"id":1}`, `{"jsonrpc":"2.0","method":"GetServerState","id":{}}`, `{"jsonrpc":"2.0","method":"GetServerState","id":[1]}`,
			`{"jsonrpc":"2.0","method":"GetServerState","id":true}`, `{"JSONRPC":"2.0","Method":"GetServerState","ID":1}`,
			`{"jsonrpc":"2.0","method":"GetServerState","id":1,"id":1}`, `{"jsonrpc":"2.0","method":"GetServerState","m\u0065thod":"GetServerState","id":1}`,
			`{"jsonrpc":"2.0","method":"GetServerState","id":1,"x":1,"x":2}`,
		}},
	} {
		for _, row := range tt.rows {
			require.Equal(t, "null", string(failed(t, c.ask(row+"\n"), tt.code).ID), "%.200q", row)
		}
	}
	for method, rows := range map[string][]string{
		"CreateCluster": {
			`{"min_election_timeout_ms":0}`, `{"max_election_timeout_ms":0}`, `[0,0]`, `[0]`, `{"min_election_timeout_ms":2001}`, `{"max_election_timeout_ms":299}`,
			`[500,400]`, `[-1,5]`, `[1.5,5]`, `["300",2000]`, `[null,2000]`, `[[],2000]`, `[1e30,1e31]`, `[` + long + `,` + long + `]`, `[18446744073709551616,18446744073709551616]`,
			`[300,2000,1]`, `{"min_election_timeout_ms":300,"min_election_timeout_ms":300}`, `[9223372036854775807,9223372036854775807]`,
		},
		"AddServer": {
			``, `{}`, `[]`, `{"address":"127.0.0.1:1"}`, `{"addr":1}`, `{"addr":null}`, `{"addr":["127.0.0.1:1"]}`, `{"addr":""}`, `{"addr":"localhost"}`, `{"addr":"127.0.0.1:"}`,
			`{"addr":":4000"}`, `{"addr":"0.0.0.0:4000"}`, `{"addr":"[::]:4000"}`, `{"addr":"::1:4000"}`, `{"addr":"127.0.0.1:0"}`, `{"addr":"127.0.0.1:65536"}`,
			`{"addr":"127.0.0.1:-1"}`, `{"addr":"127.0.0.1:http"}`, `{"addr":"a b:1"}`, `{"addr":"a\nb:1"}`, `{"addr":"` + strings.Repeat("a", 1000) + `:1"}`,
			`{"addr":"127.0.0.1:1","addr":"127.0.0.1:1"}`, `["127.0.0.1:1","127.0.0.1:2"]`,
		},
		"RemoveServer":   {``, `{}`, `{"addr":1}`, `{"addr":"localhost"}`, `["127.0.0.1:0"]`},
		"GetServerState": {`{"machines":1}`, `{"machines":"false"}`, `[false,false]`, `{"machines":true,"machines":true}`},
		"Apply": {
			``, `{}`, `[]`, `{"kind":"Query"}`, `{"input":"List"}`, `["Query"]`, `{"kind":"query","input":"List"}`, `{"kind":1,"input":"List"}`, `{"kind":null,"input":"List"}`,
			`{"kind":"","input":"List"}`, `["List","Query"]`, `["Query","List",1]`, `{"kind":"Query","input":"List","input":"List"}`, `{"kind":"Query","kind":"Query","input":"List"}`,
			`{"kind":"Query","input":"List","k\u0069nd":"Query"}`, `{"kind":"Query","input":"List","x":1,"x":1}`,
		},
	} {
		for _, params := range rows {
			got := failed(t, c.ask(request(`"i"`, method, params)), -32602)
			require.Equal(t, `"i"`, string(got.ID), "%s %.200s", method, params)
		}
	}
	for _, method := range []string{"", "createCluster", "Apply ", "apply", "rpc.discover", "raftpico", "\U0001F600", strings.Repeat("m", 10_000)} {
		require.Equal(t, "1", string(failed(t, c.ask(request("1", method, `{"addr":1}`)), -32601).ID), "%.100q", method)
	}
	c.silent()
	joinAll(t, []*raftpico.Server{s}, calm)
	well(t, s)
}

// faults lets servers that were started with it be cut off from each other.
type faults struct {
	mu       sync.Mutex
	isolated map[string]bool        // of every server's address: whether it is
	links    map[net.Conn][2]string // who dialled whom
}

// options makes a server part of it.
func (f *faults) options(t *testing.T, o *raftpico.Options) {
	listener, err := net.Listen("tcp", o.Addr)
	require.NoError(t, err)
	self := listener.Addr().String()
	o.Listener, o.Addr = listener, self
	f.mu.Lock()
	f.isolated[self] = false
	f.mu.Unlock()
	o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if _, among := f.isolated[addr]; among && (f.isolated[self] || f.isolated[addr]) {
			return nil, errors.Join(errors.New("cut off"), conn.Close())
		}
		f.links[conn] = [2]string{self, addr}
		return conn, nil
	}
}

// isolate cuts a server off from the others, but not from clients and newcomers.
func (f *faults) isolate(s *raftpico.Server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isolated[s.Addr()] = true
	for conn, link := range f.links {
		if _, among := f.isolated[link[1]]; among && slices.Contains(link[:], s.Addr()) {
			_ = conn.Close()
			delete(f.links, conn)
		}
	}
}

func (f *faults) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for addr := range f.isolated {
		f.isolated[addr] = false
	}
}

// faultyCluster starts three servers that can be cut off from each other; the first one leads.
func faultyCluster(t *testing.T, timeouts raftpico.Timeouts, limits raftpico.Limits) ([]*raftpico.Server, *faults) {
	t.Helper()
	f := &faults{isolated: map[string]bool{}, links: map[net.Conn][2]string{}}
	servers := startKVS(t, 3, func(o *raftpico.Options) {
		o.Limits = limits
		f.options(t, o)
	})
	joinAll(t, servers, timeouts)
	return servers, f
}

// patient are election timeouts by which a leader without a quorum goes on believing that it leads.
var patient = raftpico.Timeouts{Min: 3 * time.Second, Max: 6 * time.Second}

func TestLeaderWithoutAQuorumAnswersWithinTheDeadline(t *testing.T) {
	servers, f := faultyCluster(t, patient, raftpico.Limits{Deadline: 500 * time.Millisecond})
	newcomer := startKVS(t, 1, nil)[0]
	leader := leaderOf(t, servers)
	f.isolate(leader)
	c := dial(t, leader)
	c.send(apply("1", "Command", `{"Put":["k",1]}`), apply("2", "Query", `"List"`), request("3", "AddServer", `{"addr":"`+newcomer.Addr()+`"}`),
		request("4", "CreateCluster", ""), apply("5", "LocalQuery", `"List"`), request("6", "GetServerState", ""))
	answers := map[string]string{}
	for range 6 {
		line := c.line()
		answers[string(idOf(t, line))] = line
	}
	require.Equal(t, result("5", "[]"), answers["5"], "it overtakes the command")
	require.Contains(t, answers["6"], `"result":{`)
	failed(t, answers["4"], 100)
	require.Equal(t, leader.Addr(), failed(t, answers["1"], 107).About.Leader, "it was logged: nobody can know")
	require.Equal(t, leader.Addr(), failed(t, answers["2"], 108).About.Leader, "a query changes nothing")
	require.Equal(t, leader.Addr(), failed(t, answers["3"], 107).About.Leader)
	f.heal()
	well(t, servers...)
	require.Equal(t, result("1", "1"), c.ask(apply("1", "Query", `{"Get":"k"}`)), "this time it was applied in the end")
}

func idOf(t *testing.T, line string) json.RawMessage {
	t.Helper()
	var answer struct{ ID json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(line), &answer), "%.400s", line)
	return answer.ID
}

func TestServerWithoutALeaderAnswersWithinTheDeadline(t *testing.T) {
	servers, f := faultyCluster(t, fast, raftpico.Limits{Deadline: 500 * time.Millisecond})
	newcomer := startKVS(t, 1, nil)[0]
	alone := servers[2]
	f.isolate(alone)
	waitFor(t, func() bool { return string(state(t, alone, "")["leader"]) == "" })
	c := dial(t, alone)
	c.send(apply("1", "Command", `{"Put":["k",1]}`), apply("2", "Query", `"List"`), request("3", "AddServer", `{"addr":"`+newcomer.Addr()+`"}`),
		request("4", "RemoveServer", `{"addr":"`+servers[1].Addr()+`"}`))
	for range 4 {
		require.Empty(t, failed(t, c.line(), 108).About.Leader)
	}
	require.Contains(t, []string{`"Follower"`, `"PreCandidate"`, `"Candidate"`}, string(state(t, alone, "")["role"]))
	f.heal()
	for _, s := range servers {
		require.Equal(t, result("1", "null"), settled(t, s, apply("1", "Query", `{"Get":"k"}`)), "108 is certain")
		require.Equal(t, 3, voters(t, s))
	}
	well(t, servers...)
}

// settled asks until the answer is none of those that are safe to ask again.
func settled(t *testing.T, s *raftpico.Server, line string) (got string) {
	t.Helper()
	c := dial(t, s)
	defer c.Close()
	waitFor(t, func() bool {
		got = c.ask(line)
		return !strings.Contains(got, `"code":106,`) && !strings.Contains(got, `"code":108,`)
	})
	return got
}

func TestCommandThatTheNextLeaderOverwritesIsRejected(t *testing.T) {
	servers, f := faultyCluster(t, raftpico.Timeouts{Min: 300 * time.Millisecond, Max: time.Second}, raftpico.Limits{Deadline: 15 * time.Second})
	rejected := false
	for attempt := 0; attempt < 10 && !rejected; attempt++ { // a slow machine may give up its leadership before the command comes
		old := leaderOf(t, servers)
		c := dial(t, old)
		f.isolate(old)
		c.send(apply("1", "Command", fmt.Sprintf(`{"Put":["k",%d]}`, attempt)))
		others := slices.DeleteFunc(slices.Clone(servers), func(s *raftpico.Server) bool { return s == old })
		next := leaderOf(t, others)
		f.heal()
		line := c.line()
		if strings.Contains(line, `"result":`) {
			continue
		}
		rejected = true
		require.Equal(t, next.Addr(), failed(t, line, 106).About.Leader)
		got := settled(t, next, apply("1", "Query", `{"Get":"k"}`))
		require.NotEqual(t, result("1", strconv.Itoa(attempt)), got, "106 is a promise")
	}
	require.True(t, rejected, "no command was overwritten in ten attempts")
	well(t, servers...)
}

func TestLimitsAnswerBusy(t *testing.T) {
	big := `"` + strings.Repeat("x", 3000) + `"`
	for name, limits := range map[string]raftpico.Limits{
		"requests under way": {MaxPending: 2},
		"uncommitted bytes":  {MaxUncommitted: 7000},
	} {
		t.Run(name, func(t *testing.T) {
			limits.Deadline = 500 * time.Millisecond
			servers, f := faultyCluster(t, patient, limits)
			leader := leaderOf(t, servers)
			f.isolate(leader)
			c := dial(t, leader)
			const n = 5
			for i := range n {
				c.send(apply(strconv.Itoa(i), "Command", fmt.Sprintf(`{"Put":["%d",%s]}`, i, big)))
			}
			busy := map[string]bool{}
			for range n {
				line := c.line()
				if strings.Contains(line, `"code":110,`) {
					got := failed(t, line, 110)
					require.Equal(t, leader.Addr(), got.About.Leader)
					busy[string(got.ID)] = true
					continue
				}
				failed(t, line, 107)
			}
			require.Equal(t, map[string]bool{"2": true, "3": true, "4": true}, busy, "the first two had room")
			f.heal()
			well(t, servers...)
			require.Equal(t, result("1", `["0","1","well"]`), dial(t, leader).ask(apply("1", "Query", `"List"`)), "110 is certain")
		})
	}
}

func TestStoppingServerAnswersEverything(t *testing.T) {
	servers, f := faultyCluster(t, patient, raftpico.Limits{})
	leader := leaderOf(t, servers)
	f.isolate(leader)
	c := dial(t, leader)
	c.send(apply("1", "Command", `{"Put":["k",1]}`), apply("2", "Query", `"List"`))
	waitFor(t, func() bool { return string(state(t, leader, "")["requests_under_way"]) == "2" })
	closed := make(chan error, 1)
	go func() { closed <- leader.Close() }() // ends within Close's patience
	for range 2 {
		line := c.line()
		if string(idOf(t, line)) == "1" {
			failed(t, line, 107)
		} else {
			failed(t, line, 106)
		}
	}
	_, err := c.readLine()
	require.Error(t, err)
	require.NoError(t, <-closed)
}
