package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shell runs one command line.
func shell(stdin string, args ...string) (stdout, stderr string, status int) {
	var out, err strings.Builder
	status = run(args, strings.NewReader(stdin), &out, &err)
	return out.String(), err.String(), status
}

// succeed runs one command line that has nothing to say on stderr.
func succeed(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	stdout, stderr, status := shell(stdin, args...)
	require.Empty(t, stderr)
	require.Zero(t, status)
	return stdout
}

// serve starts a server that answers each line with what answer returns, and closes the connection after an answer of
// "close". It returns the address.
func serve(t *testing.T, answer func(line string) string) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				for in := bufio.NewScanner(conn); in.Scan(); {
					text := answer(in.Text())
					if text == "close" {
						return
					}
					if _, err := conn.Write([]byte(text)); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { listener.Close(); all.Wait() })
	return listener.Addr().String()
}

// echo answers the params, or an error if there are none.
func echo(line string) string {
	var r struct{ ID, Params json.RawMessage }
	if err := json.Unmarshal([]byte(line), &r); err != nil || r.ID == nil {
		return ""
	}
	if r.Params == nil {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}`+"\n", r.ID)
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","result":%s,"id":%s}`+"\n", r.Params, r.ID)
}

func TestUsageErrorsSayHow(t *testing.T) {
	for _, line := range []string{
		"", "what", "req", "req A B", "req A -c 0", "req A -c x", "req A -p 1", "req A -p {", "req A --nope", "call", "call 4000", "call a:1 b:2", "call localhost:",
		"bench", "bench :1 -c 0", "bench x", "bench :1 --timeout 0s", "stats file", "gen", "gen what", "gen put --count 0", "gen put --seed -1", "gen put --value-size -1",
	} {
		stdout, stderr, status := shell("", strings.Fields(line)...)
		require.Equal(t, 1, status, line)
		require.Empty(t, stdout, line)
		require.Contains(t, stderr, "usage: raftpico ", line)
	}
	require.Contains(t, succeed(t, "", "help"), "bench")
	require.Contains(t, succeed(t, "", "gen", "--help"), "put|get|localget")
}

func TestAddressesMayLackTheirHost(t *testing.T) {
	for in, want := range map[string]string{":4000": "127.0.0.1:4000", "localhost:1": "localhost:1", "[::1]:2": "[::1]:2"} {
		got, err := address(in)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestReq(t *testing.T) {
	const query = `{"kind":"Query","input":"List"}`
	want := `{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Query","input":"List"},"id":0}
{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Query","input":"List"},"id":1}
`
	require.Equal(t, want, succeed(t, "", "req", "Apply", "--params", query, "--count", "2"))
	require.Equal(t, want, succeed(t, "", "req", "-c", "2", "Apply", "-p", `{"kind": "Query", "input": "List"}`))
	require.Equal(t, `{"jsonrpc":"2.0","method":"CreateCluster"}`+"\n", succeed(t, "", "req", "CreateCluster", "--notification"))
	require.Equal(t, `{"jsonrpc":"2.0","method":"a\"b","params":[]}`+"\n", succeed(t, "", "req", "-n", `a"b`, "-p=[]"))
}

func TestGen(t *testing.T) {
	puts := succeed(t, "", "gen", "put", "--count", "3")
	require.Regexp(t, `^({"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":{"Put":\["[a-z]{3}",\d{1,10}\]}},"id":[012]}\n){3}$`, puts)
	require.Equal(t, puts, succeed(t, "", "gen", "--count=3", "put"), "the same flags, the same requests")
	require.NotEqual(t, puts, succeed(t, "", "gen", "put", "-c", "3", "--seed", "1"))
	require.Regexp(t, `"Put":\["[a-z]{3}","[a-z]{100}"\]`, succeed(t, "", "gen", "put", "--value-size", "100"))
	require.Regexp(t, `"kind":"Query","input":{"Get":"[a-z]{3}"}},"id":0}\n$`, succeed(t, "", "gen", "get"))
	require.Regexp(t, `"kind":"LocalQuery","input":{"Get":"[a-z]{3}"}},"id":0}\n$`, succeed(t, "", "gen", "localget"))
}

func TestCall(t *testing.T) {
	addr := serve(t, echo)
	in := `{"jsonrpc":"2.0","method":"m","params":[1],"id":0}
{"jsonrpc":"2.0","method":"told","params":[2]}

 {"jsonrpc":"2.0","method":"m","id":"x"}` // the last line may lack its end
	require.Equal(t, `{"jsonrpc":"2.0","result":[1],"id":0}
{"jsonrpc":"2.0","id":"x","error":{"code":-32601,"message":"Method not found"}}
`, succeed(t, in, "call", addr))
	require.Equal(t, `{
  "jsonrpc": "2.0",
  "result": [
    "<"
  ],
  "id": 0
}
`, succeed(t, `{"jsonrpc":"2.0","method":"m","params":["<"],"id":0}`, "call", "-p", addr))

	for in, want := range map[string]string{
		`{"jsonrpc":"2.0"}`:                            "method",
		`{"jsonrpc":"1.0","method":"m","id":0}`:        "2.0",
		`{"jsonrpc":"2.0","method":1,"id":0}`:          "method",
		`{"jsonrpc":"2.0","method":"m","params":1}`:    "params",
		`{"jsonrpc":"2.0","method":"m","id":[]}`:       "id",
		`{"jsonrpc":"2.0","method":"m","id":0,"id":1}`: "two",
		`[]`:         "batch",
		`{"jsonrpc"`: "not JSON",
	} {
		stdout, stderr, status := shell(in, "call", addr)
		require.Equal(t, 1, status, in)
		require.Empty(t, stdout)
		require.Contains(t, stderr, want, in)
	}
}

func TestCallSendsBatches(t *testing.T) {
	addr := serve(t, func(string) string { return "[1]\n" })
	const one, told = `{"jsonrpc":"2.0","method":"m","id":0}`, `{"jsonrpc":"2.0","method":"m"}`
	require.Equal(t, "[1]\n", succeed(t, "["+told+","+one+"]\n", "call", addr))
}

func TestCallFailsWhenTheServerDoes(t *testing.T) {
	for answer, want := range map[string]string{"close": "closed the connection", "{\n": "not one line of JSON"} {
		addr := serve(t, func(string) string { return answer })
		_, stderr, status := shell(`{"jsonrpc":"2.0","method":"m","id":0}`, "call", addr)
		require.Equal(t, 1, status)
		require.Contains(t, stderr, want)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	listener.Close() // so nobody listens there
	_, _, status := shell("", "call", listener.Addr().String())
	require.Equal(t, 1, status)
}
