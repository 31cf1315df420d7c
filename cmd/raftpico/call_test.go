package main

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCall(t *testing.T) {
	addr := serve(t, echo)
	in := `{"jsonrpc":"2.0","method":"m","params":[1],"id":0}
{"jsonrpc":"2.0","method":"told","params":[2]}

 {"jsonrpc":"2.0","method":"m","id":"x"}` // the last line may lack its end
	want := `{"jsonrpc":"2.0","result":[1],"id":0}
{"jsonrpc":"2.0","id":"x","error":{"code":-32601,"message":"Method not found"}}
`
	require.Equal(t, want, succeed(t, in, "call", addr, "--ok"))
	stdout, stderr, status := shell(in, "call", addr)
	require.Equal(t, 1, status, "an answer is an error")
	require.Equal(t, want, stdout)
	require.Empty(t, stderr, "the answer tells")
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

func TestCallFailsIfAnyOfABatchDoes(t *testing.T) {
	addr := serve(t, func(string) string {
		return `[{"id":0,"result":1},{"id":1,"error":{"code":108,"message":"No leader"}}]` + "\n"
	})
	const batch = `[{"jsonrpc":"2.0","method":"m","id":0},{"jsonrpc":"2.0","method":"m","id":1}]`
	_, stderr, status := shell(batch, "call", addr, addr)
	require.Equal(t, 1, status)
	require.Empty(t, stderr, "a batch is carried out in part, so no other server is asked")
}

func TestCallFailsWhenTheServerDoes(t *testing.T) {
	for answer, want := range map[string]string{"close": "closed the connection", "{\n": "not one line of JSON"} {
		addr := serve(t, func(string) string { return answer })
		_, stderr, status := shell(command, "call", addr)
		require.Equal(t, 1, status)
		require.Contains(t, stderr, addr+": ")
		require.Contains(t, stderr, want)
	}
	_, stderr, status := shell("", "call", nobody(t))
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "connection refused")
	_, stderr, status = shell(command, "call", serve(t, func(string) string { return "" }), "--timeout", "20ms")
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "no answer in 20ms; the result is unknown")
}

const (
	command = `{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":1},"id":0}` + "\n"
	query   = `{"jsonrpc":"2.0","method":"Apply","params":{"input":1,"kind":"Query"},"id":0}` + "\n"
	ordered = `{"jsonrpc":"2.0","method":"Apply","params":["LocalQuery",1],"id":0}` + "\n"
	state   = `{"jsonrpc":"2.0","method":"GetServerState","id":0}` + "\n"
)

// nobody is an address where nobody listens.
func nobody(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	listener.Close()
	return listener.Addr().String()
}

// fails answers each request with an error.
func fails(code int) func(string) string {
	return func(string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":0,"error":{"code":%d,"message":"m"}}`+"\n", code)
	}
}

const fine = `{"jsonrpc":"2.0","id":0,"result":7}` + "\n"

// Call asks the next server where the one before has certainly not carried the request out, or only read, and no other.
func TestCallGoesOnWhereThatIsSafe(t *testing.T) {
	closes := func(string) string { return "close" }
	for _, c := range []struct {
		about, request string
		first          func(string) string // nil: nobody listens
		goesOn         bool
	}{
		{"unreachable", command, nil, true},
		{"no member", command, fails(102), true},
		{"rejected", command, fails(106), true},
		{"unknown", command, fails(107), false},
		{"unknown, of a query", query, fails(107), false},
		{"no leader", command, fails(108), true},
		{"busy", command, fails(110), true},
		{"refused by the machine", command, fails(103), false},
		{"the machine's own", command, fails(1000), false},
		{"broken connection", command, closes, false},
		{"broken connection, of a query", query, closes, true},
		{"broken connection, of a local query by position", ordered, closes, true},
		{"broken connection, of a look at the state", state, closes, true},
		{"broken connection, of what is not raftpico's", `{"jsonrpc":"2.0","method":"m","id":0}`, closes, false},
		{"broken connection, of queries", "[" + strings.TrimSpace(query) + "," + strings.TrimSpace(state) + "]", closes, true},
		{"broken connection, of a command among queries", "[" + strings.TrimSpace(query) + "," + strings.TrimSpace(command) + "]", closes, false},
	} {
		t.Run(c.about, func(t *testing.T) {
			first := nobody(t)
			if c.first != nil {
				first = serve(t, c.first)
			}
			asked := false
			second := serve(t, func(string) string { asked = true; return fine })
			stdout, stderr, status := shell(c.request, "call", first, second)
			require.Equal(t, c.goesOn, asked, stderr)
			if c.goesOn {
				require.Zero(t, status)
				require.Equal(t, fine, stdout)
				require.Contains(t, stderr, first+": ")
				require.Contains(t, stderr, "; asking "+second)
			} else {
				require.Equal(t, 1, status)
			}
		})
	}
}

func TestCallAsksEachServerOnceAndPrintsTheLastAnswer(t *testing.T) {
	asked := [2]int{}
	one := serve(t, func(line string) string { asked[0]++; return fails(108)(line) })
	two := serve(t, func(line string) string { asked[1]++; return fails(110)(line) })
	stdout, _, status := shell(command, "call", one, two)
	require.Equal(t, 1, status)
	require.Equal(t, fails(110)(""), stdout)
	require.Equal(t, [2]int{1, 1}, asked)

	stdout, stderr, status := shell(command, "call", one, nobody(t))
	require.Equal(t, 1, status)
	require.Equal(t, fails(108)(""), stdout, "the only answer there is")
	require.Contains(t, stderr, "connection refused")
}

func TestCallStaysWithTheServerThatAnswers(t *testing.T) {
	asked := 0
	one := serve(t, func(line string) string { asked++; return fails(108)(line) })
	stdout, _, status := shell(command+command+command, "call", one, serve(t, func(string) string { return fine }))
	require.Zero(t, status)
	require.Equal(t, fine+fine+fine, stdout)
	require.Equal(t, 1, asked)
}
