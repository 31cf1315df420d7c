package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// counts returns how many of the results are answers, and how many are unknown.
func counts(t *testing.T, results []resultLine) (answered, unknown int) {
	ids := map[string]bool{}
	for _, r := range results {
		require.False(t, ids[string(r.ID)], "%s is there twice", r.ID)
		ids[string(r.ID)] = true
		if strings.Contains(string(r.Error), `"code":107,`) {
			require.Contains(t, string(r.Error), "the connection broke before the answer: ")
			unknown++
		} else {
			answered++
		}
	}
	return answered, unknown
}

// Each request is sent once and has a line, whatever connections do.
func TestBenchDialsAgain(t *testing.T) {
	var seen sync.Map
	var n atomic.Int64
	flaky := serve(t, func(line string) string {
		if _, twice := seen.LoadOrStore(line, true); twice {
			t.Errorf("sent twice: %s", line)
		}
		if n.Add(1)%100 == 0 {
			return "close"
		}
		return echo(line)
	})
	requests := succeed(t, "", "gen", "put", "--count", "1000")
	stdout, stderr, status := shell(requests, "bench", flaky, "-c", "10")
	require.Equal(t, 1, status)
	answered, unknown := counts(t, parseResults(t, stdout))
	require.Equal(t, 1000, answered+unknown)
	require.GreaterOrEqual(t, unknown, 9)
	require.Contains(t, stderr, flaky+": the server closed the connection; ")
	require.Contains(t, stderr, " requests unknown; dialing again\n")
	require.Contains(t, stderr, flaky+": answers again after ")
	require.Contains(t, stderr, fmt.Sprintf("%d requests answered, %d whose result is unknown", answered, unknown))
}

// A connection that breaks with nothing under way costs nothing.
func TestBenchEndsWellIfNothingWasLost(t *testing.T) {
	in, fed := io.Pipe()
	again := make(chan struct{})
	go func() {
		_, _ = io.WriteString(fed, strings.ReplaceAll(command, `"id":0`, `"id":1`))
		<-again
		_, _ = io.WriteString(fed, strings.ReplaceAll(command, `"id":0`, `"id":2`))
		fed.Close()
	}()
	var stdout strings.Builder
	var notes []string
	stderr := writerFunc(func(p []byte) (int, error) {
		if notes = append(notes, string(p)); len(notes) == 1 {
			close(again)
		}
		return len(p), nil
	})
	gone := serve(t, func(line string) string { return echo(line) + "close" })
	require.Zero(t, run([]string{"bench", gone}, in, &stdout, stderr), notes)
	require.Len(t, parseResults(t, stdout.String()), 2)
	require.Contains(t, notes[0], "0 requests unknown; dialing again")
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestBenchGoesOnWithTheOthersMeanwhile(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { // one connection, broken by the first request; nobody listens any more
		conn, err := listener.Accept()
		if err == nil {
			listener.Close()
			_, _ = conn.Read(make([]byte, 1))
			conn.Close()
		}
	}()
	stdout, stderr, status := shell(succeed(t, "", "gen", "put", "-c", "500"), "bench", listener.Addr().String(), serve(t, echo), "-c", "10")
	require.Equal(t, 1, status)
	answered, unknown := counts(t, parseResults(t, stdout))
	require.Equal(t, 500, answered+unknown, stderr)
	require.True(t, unknown >= 1 && unknown <= 10, unknown)
}

// What dialing again would not help ends the use of a server.
func TestBenchGivesUpServers(t *testing.T) {
	for name, bad := range map[string]string{
		"null id":    `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid request"}}` + "\n",
		"foreign id": `{"jsonrpc":"2.0","id":123456,"result":0}` + "\n",
		"no JSON":    "hello\n",
		"no object":  "[]\n",
	} {
		t.Run(name, func(t *testing.T) {
			const breaks = 5 // the other server may be quicker and get the rest
			var n atomic.Int64
			broken := serve(t, func(line string) string {
				if n.Add(1) == breaks {
					return bad
				}
				return echo(line)
			})
			requests := succeed(t, "", "gen", "put", "--count", "500")
			stdout, stderr, status := shell(requests, "bench", broken, serve(t, echo), "-c", "10")
			require.Equal(t, 1, status)
			answered, unknown := counts(t, parseResults(t, stdout))
			require.Equal(t, 500, answered+unknown)
			require.True(t, unknown >= 1 && unknown <= 10, unknown)
			require.Contains(t, stderr, broken+": unexpected answer: ")
			require.Contains(t, stderr, fmt.Sprintf("%d requests unknown; given up", unknown))

			n.Store(0)
			stdout, stderr, status = shell(requests, "bench", broken, "-c", "10")
			require.Equal(t, 1, status)
			answered, unknown = counts(t, parseResults(t, stdout))
			require.Equal(t, breaks-1, answered)
			require.LessOrEqual(t, unknown, 10)
			require.Contains(t, stderr, fmt.Sprintf("no server is left; the requests from id %d on were not sent", answered+unknown))
		})
	}
}

func TestBenchDoesNotWaitForEver(t *testing.T) {
	mute := serve(t, func(string) string { return "" })
	stdout, stderr, status := shell(command, "bench", mute, "--timeout", "20ms")
	require.Equal(t, 1, status)
	require.Contains(t, stderr, mute+": no answer in 20ms; 1 requests unknown; given up")
	_, unknown := counts(t, parseResults(t, stdout))
	require.Equal(t, 1, unknown)

	requests := succeed(t, "", "gen", "put", "-c", "20")
	for about, then := range map[string]func(net.Listener){
		"nobody listens any more": func(l net.Listener) { l.Close() },
		"it accepts, and closes": func(l net.Listener) {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 1))
				conn.Close()
			}
		},
	} {
		t.Run(about, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				if conn, err := listener.Accept(); err == nil {
					_, _ = conn.Read(make([]byte, 1))
					conn.Close()
					then(listener)
				}
			}()
			stdout, stderr, status := shell(requests, "bench", listener.Addr().String(), "--timeout", "300ms", "-c", "3")
			require.Equal(t, 1, status)
			require.Contains(t, stderr, "no server is left; the requests from id ")
			_, unknown := counts(t, parseResults(t, stdout))
			require.True(t, unknown >= 3 && unknown < 20, "few were lost on the way: %d", unknown)
			listener.Close()
			<-ended
		})
	}
}

func TestBenchWantsAllServersAtTheStart(t *testing.T) {
	_, stderr, status := shell("", "bench", serve(t, echo), nobody(t))
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "connection refused")
}

// A server that hangs costs what was under way on it, and the others do not wait.
func TestBenchGivesUpTheSilentServerAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a timeout")
	}
	mute := serve(t, func(string) string { return "" })
	stdout, stderr, status := shell(succeed(t, "", "gen", "put", "-c", "400"), "bench", mute, serve(t, echo), "--timeout", "3s", "-c", "10")
	require.Equal(t, 1, status)
	answered, unknown := counts(t, parseResults(t, stdout))
	require.Equal(t, 400, answered+unknown)
	require.LessOrEqual(t, unknown, 10)
	require.Contains(t, stderr, mute+": no answer in 3s")
}

// Ctrl-C ends a run at once, and what was under way is told.
func TestBenchInterruptedTellsWhatWasUnderWay(t *testing.T) {
	in, fed := io.Pipe()
	defer fed.Close()
	go func() {
		_, _ = io.WriteString(fed, succeed(t, "", "gen", "put", "-c", "3")) // and no more, but no end either
	}()
	var n atomic.Int64
	addr := serve(t, func(line string) string {
		if n.Add(1) == 1 {
			return echo(line)
		}
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Signal(os.Interrupt)
		}
		if err != nil {
			t.Error(err)
		}
		return ""
	})
	var stdout, stderr strings.Builder
	require.Equal(t, 1, run([]string{"bench", addr}, in, &stdout, &stderr))
	answered, unknown := counts(t, parseResults(t, stdout.String()))
	require.Equal(t, [2]int{1, 1}, [2]int{answered, unknown})
	require.Contains(t, stderr.String(), "interrupted")
}
