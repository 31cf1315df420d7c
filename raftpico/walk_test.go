package raftpico_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"regexp"
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

// calm are election timeouts for tests that want no election.
var calm = raftpico.Timeouts{Min: time.Second, Max: 2 * time.Second}

// joinAll makes servers a cluster that the first one leads, each a voter.
func joinAll(t *testing.T, servers []*raftpico.Server, timeouts raftpico.Timeouts) {
	t.Helper()
	_, err := servers[0].CreateCluster(t.Context(), timeouts)
	require.NoError(t, err)
	for _, s := range servers[1:] {
		_, err := servers[0].AddServer(t.Context(), s.Addr())
		require.NoError(t, err)
	}
	for _, s := range servers {
		waitFor(t, func() bool { return voters(t, s) == len(servers) })
	}
}

// kvsCluster starts n servers that are a calm cluster.
func kvsCluster(t *testing.T, n int, change func(*raftpico.Options)) []*raftpico.Server {
	t.Helper()
	servers := startKVS(t, n, change)
	joinAll(t, servers, calm)
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

// play carries out exchanges written as in the contract, over one connection a server: "a>" is sent to the first
// server, "b<" is read from the second. Lines sent one after the other travel in one packet; lines read one after
// the other may come in any order. $a is the address of the first server, … is anything. Nothing else may be answered.
func play(t *testing.T, script string, servers ...*raftpico.Server) {
	t.Helper()
	clients := make([]*client, len(servers))
	for i, s := range servers {
		clients[i] = dial(t, s)
		script = strings.ReplaceAll(script, "$"+string(rune('a'+i)), s.Addr())
	}
	lines := slices.DeleteFunc(strings.Split(script, "\n"), func(line string) bool { return strings.TrimSpace(line) == "" })
	for len(lines) > 0 {
		head := strings.TrimSpace(lines[0])[:2]
		var group []string
		for len(lines) > 0 && strings.HasPrefix(strings.TrimSpace(lines[0]), head) {
			group = append(group, strings.TrimSpace(strings.TrimSpace(lines[0])[2:]))
			lines = lines[1:]
		}
		c := clients[head[0]-'a']
		if head[1] == '>' {
			c.send(strings.Join(group, "\n") + "\n")
			continue
		}
		for range len(group) {
			got := c.line()
			i := slices.IndexFunc(group, func(want string) bool { return matches(want, got) })
			require.GreaterOrEqual(t, i, 0, "from server %c: got  %.400s\nwant %s", head[0], got, strings.Join(group, "\nor   "))
			group = slices.Delete(group, i, i+1)
		}
	}
	for _, c := range clients {
		c.silent()
		require.NoError(t, c.Close())
	}
}

func matches(pattern, line string) bool {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), "…", ".*") + "$").MatchString(line)
}

func TestWalkThroughTheContract(t *testing.T) {
	play(t, `
		a> {"jsonrpc":"2.0","method":"Apply","params":{"input":"List","kind":"LocalQuery"},"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":[]}

		a> {"jsonrpc":"2.0","method":"CreateCluster","id":0}
		a< {"jsonrpc":"2.0","id":0,"result":{"members":["$a"]}}
		a> {"jsonrpc":"2.0","method":"AddServer","params":{"addr":"$b"},"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":{"members":["$a","$b"]}}
		a> {"jsonrpc":"2.0","method":"AddServer","params":{"addr":"$c"},"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":{"members":["$a","$b","$c"]}}

		a> {"jsonrpc":"2.0","method":"Apply","params":{"input":{"Put":["foo",123]},"kind":"Command"},"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":null}
		a> {"jsonrpc":"2.0","method":"Apply","params":{"input":{"Put":["foo",124]},"kind":"Command"},"id":"x"}
		a< {"jsonrpc":"2.0","id":"x","result":123}
		a> {"jsonrpc":"2.0","method":"Apply","params":{"input":{"Get":"foo"},"kind":"Query"},"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":124}

		a> {"jsonrpc":"2.0","method":"Apply","params":{"input":{"Put":["bar",{"x":[1,null,"s"]}]},"kind":"Command"},"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":null}
		a> {"jsonrpc":"2.0","method":"Apply","params":{"input":"List","kind":"Query"},"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":["bar","foo"]}
		a> {"jsonrpc":"2.0","method":"Apply","params":{"input":{"Delete":"bar"},"kind":"Command"},"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":{"x":[1,null,"s"]}}
		a> {"jsonrpc":"2.0","method":"Apply","params":{"input":{"Delete":"bar"},"kind":"Command"},"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":null}
		a> {"jsonrpc":"2.0","method":"Apply","params":{"input":{"Get":"bar"},"kind":"Query"},"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":null}
	`, startKVS(t, 3, nil)...)
}

func TestFollowersTakeEveryMethod(t *testing.T) {
	servers := startKVS(t, 3, nil)
	play(t, `
		b> {"jsonrpc":"2.0","method":"CreateCluster","params":{"min_election_timeout_ms":1000},"id":0}
		b< {"jsonrpc":"2.0","id":0,"result":{"members":["$b"]}}
		b> {"jsonrpc":"2.0","method":"AddServer","params":{"addr":"$c"},"id":0}
		b< {"jsonrpc":"2.0","id":0,"result":{"members":["$b","$c"]}}
	`, servers...)
	waitFor(t, func() bool { return voters(t, servers[2]) == 2 })
	play(t, `
		c> {"jsonrpc":"2.0","method":"AddServer","params":{"addr":"$a"},"id":0}
		c< {"jsonrpc":"2.0","id":0,"result":{"members":["$b","$c","$a"]}}
	`, servers...)
	waitFor(t, func() bool { return voters(t, servers[0]) == 3 })
	play(t, `
		a> {"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":{"Put":["foo",1]}},"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":null}
		a> {"jsonrpc":"2.0","method":"Apply","params":{"kind":"LocalQuery","input":{"Get":"foo"}},"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":1}
		c> {"jsonrpc":"2.0","method":"Apply","params":{"kind":"Query","input":{"Get":"foo"}},"id":0}
		c< {"jsonrpc":"2.0","id":0,"result":1}
		c> {"jsonrpc":"2.0","method":"Apply","params":{"kind":"LocalQuery","input":{"Get":"foo"}},"id":0}
		c< {"jsonrpc":"2.0","id":0,"result":1}
		c> {"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":{"Delete":"foo"}},"id":0}
		c< {"jsonrpc":"2.0","id":0,"result":1}
		b> {"jsonrpc":"2.0","method":"Apply","params":{"kind":"Query","input":"List"},"id":0}
		b< {"jsonrpc":"2.0","id":0,"result":[]}
	`, servers...)
}

// A server that was added answers 102 until it has heard of it, and from then on it serves, while it is catching up.
func TestServerServesAsSoonAsItHasJoined(t *testing.T) {
	servers := startKVS(t, 3, nil)
	_, err := servers[0].CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	for i, s := range servers[1:] {
		_, err := servers[0].AddServer(t.Context(), s.Addr())
		require.NoError(t, err)
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

func TestThreeCallsInOnePacket(t *testing.T) {
	play(t, `
		a> {"jsonrpc":"2.0","method":"CreateCluster","id":0}
		a> {"jsonrpc":"2.0","method":"AddServer","params":{"addr":"$b"},"id":1}
		a> {"jsonrpc":"2.0","method":"AddServer","params":{"addr":"$c"},"id":2}
		a< {"jsonrpc":"2.0","id":0,"result":{"members":["$a"]}}
		a< {"jsonrpc":"2.0","id":1,"result":{"members":["$a","$b"]}}
		a< {"jsonrpc":"2.0","id":2,"result":{"members":["$a","$b","$c"]}}

		a> {"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":{"Put":["foo",1]}},"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":null}
		b> {"jsonrpc":"2.0","method":"Apply","params":{"kind":"Query","input":{"Get":"foo"}},"id":0}
		b< {"jsonrpc":"2.0","id":0,"result":1}
		c> {"jsonrpc":"2.0","method":"Apply","params":{"kind":"Query","input":{"Get":"foo"}},"id":0}
		c< {"jsonrpc":"2.0","id":0,"result":1}
	`, startKVS(t, 3, nil)...)
}

// state is what GetServerState answers, member by member.
func state(t *testing.T, s *raftpico.Server, params string) map[string]json.RawMessage {
	t.Helper()
	c := dial(t, s)
	defer c.Close()
	var answer struct{ Result map[string]json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(c.ask(request("1", "GetServerState", params))), &answer))
	return answer.Result
}

func TestServerStateHasTheOriginalsFields(t *testing.T) {
	servers := startKVS(t, 3, nil)
	for name, want := range map[string]string{
		"addr": strconv.Quote(servers[1].Addr()), "node_id": "null", "current_term": "0", "voted_for": "null", "role": `"Follower"`,
		"commit_index": "0", "snapshot": `{"term":0,"index":0}`,
		"machines": `{"system":{"min_election_timeout_ms":300,"max_election_timeout_ms":2000,"members":{}},"user":{}}`,
	} {
		require.JSONEq(t, want, string(state(t, servers[1], "")[name]), "%s, of a server without a cluster", name)
	}
	require.NotContains(t, state(t, servers[1], `{"machines":false}`), "machines")
	require.NotContains(t, state(t, servers[1], `[false]`), "machines")

	joinAll(t, servers, raftpico.Timeouts{Min: 400 * time.Millisecond})
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
		require.Equal(t, []int{400, 2000}, []int{machines.System.Min, machines.System.Max})
		require.Len(t, machines.System.Members, 3)
		require.Equal(t, s.Addr(), machines.System.Members[string(got["node_id"])].Addr)
		if i == 0 {
			require.Equal(t, "1", string(got["node_id"]), "the first server's id")
		}
	}
	require.Equal(t, 1, leaders)
}

func TestValuesReadBackAsTheyCame(t *testing.T) {
	servers := kvsCluster(t, 3, nil)
	writer := dial(t, servers[1])
	for _, value := range []string{
		`123456789012345678901234567890`, `-0`, `1.0`, `1e400`, `0.1000000000000000055511151231257827`, `1E+2`,
		`"<script>&amp;'</script>"`, `"\u003c\u2028"`, "\"\u2028\u2029é\U0001F600\"", `"\ud83d\ude00"`, `"\/\b\f\n\r\t\"\\"`, `"\u0000"`,
		`{"b":1,"a":2}`, `{"":{}}`, `[]`, `[[],{},null,true,false]`, `null`, `"` + strings.Repeat("x", 1<<18) + `"`,
		strings.Repeat("[", 100) + strings.Repeat("]", 100),
	} {
		writer.ask(apply("1", "Command", `{"Put":["k",`+value+`]}`))
		for _, s := range servers {
			require.Equal(t, result("1", value), dial(t, s).ask(apply("1", "Query", `{"Get":"k"}`)))
		}
		require.Equal(t, `{"k":`+value+`}`, machineState(t, servers[2]))
	}
	// White space is not kept, but in strings.
	writer.ask(apply("1", "Command", "\t{ \"Put\" : [ \"k\" ,\r { \"a b\" : [ 1 , \" \" ] } ] } "))
	require.Equal(t, result("1", `{"a b":[1," "]}`), dial(t, servers[0]).ask(apply("1", "Query", ` { "Get" : "k" } `)))
	// A key is the text, however it is written.
	require.Equal(t, result("1", `{"a b":[1," "]}`), writer.ask(apply("1", "Query", `{"\u0047et":"\u006b"}`)))
}

func machineState(t *testing.T, s *raftpico.Server) string {
	t.Helper()
	var machines struct{ User json.RawMessage }
	require.NoError(t, json.Unmarshal(state(t, s, "")["machines"], &machines))
	return string(machines.User)
}

func TestParamsByNameAndByPosition(t *testing.T) {
	play(t, `
		a> {"jsonrpc":"2.0","method":"CreateCluster","params":[400,500],"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":{"members":["$a"]}}
		b> {"jsonrpc":"2.0","method":"CreateCluster","params":{"max_election_timeout_ms":300},"id":0}
		b< {"jsonrpc":"2.0","id":0,"result":{"members":["$b"]}}
		c> {"jsonrpc":"2.0","method":"CreateCluster","params":[],"id":0}
		c< {"jsonrpc":"2.0","id":0,"result":{"members":["$c"]}}
		d> {"jsonrpc":"2.0","method":"CreateCluster","params":{},"id":0}
		d< {"jsonrpc":"2.0","id":0,"result":{"members":["$d"]}}
		a> {"jsonrpc":"2.0","method":"AddServer","params":["$e"],"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":{"members":["$a","$e"]}}
		a> {"jsonrpc":"2.0","method":"Apply","params":["Command",{"Put":["foo",1]}],"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":null}
		a> {"jsonrpc":"2.0","method":"Apply","params":["Query",{"Get":"foo"}],"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":1}
		a> {"id":0,"unknown":[{}],"params":{"unknown":{"a":1},"input":{"Get":"foo"},"Kind":"Command","kind":"Query"},"method":"Apply","jsonrpc":"2.0"}
		a< {"jsonrpc":"2.0","id":0,"result":1}
		a> {"jsonrpc":"\u0032.0","m\u0065thod":"\u0041pply","params":{"k\u0069nd":"Qu\u0065ry","input":{"Get":"foo"}},"id":0}
		a< {"jsonrpc":"2.0","id":0,"result":1}
	`, startKVS(t, 5, nil)...)
}

func TestIDsAreEchoedByteForByte(t *testing.T) {
	s := kvsCluster(t, 1, nil)[0]
	c := dial(t, s)
	for _, id := range []string{
		`0`, `-0`, `1.0`, `1e400`, `-1E-7`, `123456789012345678901234567890`, `null`, `""`, `"x"`, `"<&>"`, `"\u0078"`, `"\/"`, `"é"`,
		`"` + strings.Repeat("i", 100_000) + `"`, strings.Repeat("9", 100_000),
	} {
		require.Equal(t, result(id, `[]`), c.ask(apply(id, "LocalQuery", `"List"`)))
		require.Equal(t, result(id, `[]`), c.ask(apply(id, "Query", `"List"`)))
		require.Equal(t, result(id, `null`), c.ask(apply(id, "Command", `{"Delete":"k"}`)))
		require.Contains(t, c.ask(request(id, "Nonsense", "")), `{"jsonrpc":"2.0","id":`+id+`,"error":{"code":-32601,`)
		require.Contains(t, c.ask(request(id, "Apply", "")), `{"jsonrpc":"2.0","id":`+id+`,"error":{"code":-32602,`)
	}
	require.Equal(t, result(`1`, `[]`), c.ask(`{"id" : 1 ,"jsonrpc":"2.0", "method":"Apply","params":["Query","List"]}`+"\n"), "white space around an id")
}

func TestLinesMayEndInCRLFAndComeInPieces(t *testing.T) {
	s := kvsCluster(t, 1, nil)[0]
	c := dial(t, s)
	line := strings.TrimSuffix(apply("1", "Query", `"List"`), "\n")
	require.Equal(t, result("1", `[]`), c.ask(line+"\r\n"))
	require.Equal(t, result("1", `[]`), c.ask(" \t"+line+" \r\n"))
	for i := range len(line) {
		c.send(line[i : i+1])
	}
	require.Equal(t, result("1", `[]`), c.ask("\r\n"))
	c.send(line+"\r\n"+line+"\n"+line[:10], line[10:]+"\n")
	for range 3 {
		require.Equal(t, result("1", `[]`), c.line())
	}
	c.silent()

	// As nc -N does: the last line without its newline, then no more to send, but to read.
	c.send(line, "\n", line)
	require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
	require.Equal(t, result("1", `[]`), c.line())
	require.Equal(t, result("1", `[]`), c.line())
	_, err := c.readLine()
	require.ErrorIs(t, err, io.EOF)
}

func TestNotificationsAreCarriedOutAndNeverAnswered(t *testing.T) {
	servers := startKVS(t, 3, nil)
	play(t, `
		a> {"jsonrpc":"2.0","method":"CreateCluster"}
		a> {"jsonrpc":"2.0","method":"AddServer","params":{"addr":"$b"}}
		a> {"jsonrpc":"2.0","method":"AddServer","params":{"addr":"$c"},"id":1}
		a< {"jsonrpc":"2.0","id":1,"result":{"members":["$a","$b","$c"]}}
	`, servers...)
	waitFor(t, func() bool { return voters(t, servers[1]) == 3 })
	play(t, `
		a> {"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":{"Put":["n",1]}}}
		a> {"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":{"Put":["n",2]}},"id":2}
		a< {"jsonrpc":"2.0","id":2,"result":1}
		b> {"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":{"Put":["n",3]}}}
		b> {"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":{"Put":["n",4]}},"id":3}
		b< {"jsonrpc":"2.0","id":3,"result":3}
		a> {"jsonrpc":"2.0","method":"Nonsense"}
		a> {"jsonrpc":"2.0","method":"CreateCluster"}
		a> {"jsonrpc":"2.0","method":"CreateCluster","params":[0,0]}
		a> {"jsonrpc":"2.0","method":"AddServer","params":{"addr":"nonsense"}}
		a> {"jsonrpc":"2.0","method":"AddServer","params":{"addr":"$b"}}
		a> {"jsonrpc":"2.0","method":"Apply"}
		a> {"jsonrpc":"2.0","method":"Apply","params":{"kind":"Query","input":"List"}}
		a> {"jsonrpc":"2.0","method":"Apply","params":{"kind":"LocalQuery","input":"List"}}
		a> {"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":"nonsense"}}
		a> {"jsonrpc":"2.0","method":"GetServerState"}
		a> {"jsonrpc":"2.0","method":"raftpico.Message","params":{}}
		a> {"jsonrpc":"2.0","method":"raftpico.Hello","params":{}}
		a> {"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":{"Delete":"n"}},"id":4}
		a< {"jsonrpc":"2.0","id":4,"result":4}
	`, servers...)
}

func TestBatches(t *testing.T) {
	servers := kvsCluster(t, 1, nil)
	c := dial(t, servers[0])
	get, list := `{"jsonrpc":"2.0","method":"Apply","params":["LocalQuery",{"Get":"k"}],"id":%d}`, `{"jsonrpc":"2.0","method":"Apply","params":["Query","List"]}`
	put := `{"jsonrpc":"2.0","method":"Apply","params":["Command",{"Put":["k",%d]}]%s}`
	invalid := `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid request"…}}`
	for _, tt := range []struct {
		batch string
		want  []string // nil: no answer
		alone bool     // not in an array
	}{
		{`[` + fmt.Sprintf(put, 1, `,"id":"p"`) + `]`, []string{result(`"p"`, "null")}, false},
		{`[` + fmt.Sprintf(put, 2, ``) + `,` + fmt.Sprintf(put, 3, `,"id":1`) + ` , ` + fmt.Sprintf(put, 4, `,"id":2`) + `]`, []string{result("1", "2"), result("2", "3")}, false},
		{`[` + fmt.Sprintf(put, 5, ``) + `]`, nil, false},
		{`[` + list + `,` + list + `]`, nil, false},
		{`[` + list + `,` + fmt.Sprintf(put, 6, `,"id":3`) + `]`, []string{result("3", "5")}, false},
		{` [ ` + fmt.Sprintf(get, 4) + ` ] `, []string{result("4", "6")}, false},
		{`[]`, []string{invalid}, true},
		{`[ ]`, []string{invalid}, true},
		{`[1]`, []string{invalid}, false},
		{`[1,2,3]`, []string{invalid, invalid, invalid}, false},
		{`[[]]`, []string{invalid}, false},
		{`[{}]`, []string{invalid}, false},
		{`[[` + fmt.Sprintf(get, 5) + `],{"foo":"boo"},` + list + `,` + fmt.Sprintf(get, 6) + `,{"jsonrpc":"2.0","method":"Nonsense","id":7}]`,
			[]string{invalid, invalid, result("6", "6"), `{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"Method not found"…}}`}, false},
		{`[` + fmt.Sprintf(put, 7, ``) + `,]`, []string{`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"…}}`}, true},
		{`[` + fmt.Sprintf(put, 7, ``), []string{`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"…}}`}, true},
		{`[` + fmt.Sprintf(get, 8) + `]`, []string{result("8", "6")}, false},
	} {
		c.send(tt.batch, "\n")
		var answers []json.RawMessage
		switch {
		case tt.want == nil:
			c.silent()
		case tt.alone:
			answers = []json.RawMessage{json.RawMessage(c.line())}
		default:
			require.NoError(t, json.Unmarshal([]byte(c.line()), &answers), tt.batch)
		}
		require.Len(t, answers, len(tt.want), tt.batch)
		want := slices.Clone(tt.want)
		for _, got := range answers {
			i := slices.IndexFunc(want, func(w string) bool { return matches(w, string(got)) })
			require.GreaterOrEqual(t, i, 0, "%s: got %s, want one of %v", tt.batch, got, want)
			want = slices.Delete(want, i, i+1)
		}
	}
	c.silent()
}

func TestCommandsOfAConnectionAreCarriedOutInTheOrderSent(t *testing.T) {
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
