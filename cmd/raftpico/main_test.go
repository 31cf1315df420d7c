package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
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

// serve starts a server that answers each line with what answer returns, and closes the connection after one that ends in
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
					text, closes := strings.CutSuffix(text, "close")
					if _, err := conn.Write([]byte(text)); err != nil || closes {
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
		"", "what", "help what", "--nope", "req", "req A B", "req A -c 0", "req A -c x", "req A -p 1", "req A -p {", "req A --nope", "call", "call 4000", "call localhost:",
		"bench", "bench :1 -c 0", "bench :1 -c 1000001", "bench x", "call :1 --timeout 0s", "status", "log", "version x", "bench :1 --timeout 0s", "stats file", "gen", "gen what", "gen put --count 0", "gen put --seed -1", "gen put --value-size -1",
	} {
		stdout, stderr, status := shell("", strings.Fields(line)...)
		require.Equal(t, 1, status, line)
		require.Empty(t, stdout, line)
		require.Regexp(t, `(?i)usage:\s+raftpico `, stderr, line)
	}
	require.Contains(t, succeed(t, "", "help"), "bench")
	require.Equal(t, succeed(t, "", "bench", "--help"), succeed(t, "", "help", "bench"))
	require.Contains(t, succeed(t, "", "gen", "--help"), "put|get|localget")
	_, stderr, _ := shell("", "bensch")
	require.Contains(t, stderr, "\tbench\n", "what may have been meant")
}

func TestShellsCompleteWhatIsKnown(t *testing.T) {
	require.Contains(t, succeed(t, "", "completion", "bash"), "complete -o default -F __start_raftpico raftpico")
	for line, want := range map[string]string{"ben": "bench\t", "gen ": "localget\n", "req Cr": "CreateCluster\n", "status --j": "--json\t"} {
		stdout, _, status := shell("", append([]string{"__complete"}, strings.Split(line, " ")...)...)
		require.Zero(t, status, line)
		require.Contains(t, stdout, want, line)
	}
}

// Bars are for people: none of a pipeline's streams is a terminal here, nor is /dev/null.
func TestProgressIsShownOnTerminalsOnly(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	require.NoError(t, err)
	defer null.Close()
	require.False(t, isTerminal(null))
	_, stderr, _ := shell(succeed(t, "", "gen", "put", "-c", "100000"), "bench", serve(t, echo), "-c", "100")
	require.Empty(t, stderr)
}

func TestVersionTellsWhatItWasBuiltFrom(t *testing.T) {
	require.Contains(t, succeed(t, "", "version"), runtime.Version())
	require.Equal(t, succeed(t, "", "version"), succeed(t, "", "--version"))
	info := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}
	require.Regexp(t, `^raftpico 1\.2\.3, go\S+ \w+/\w+$`, describeBuild("1.2.3", info))
	info.Settings = []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-11-29T08:00:00Z"}, {Key: "vcs.modified", Value: "true"}}
	require.Contains(t, describeBuild("1.2.3", info), ", commit abc of 2026-11-29T08:00:00Z, with changes")
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
