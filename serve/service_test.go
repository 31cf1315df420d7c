package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/internal/ports"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

const patience = time.Minute

// journal is a log that can be read while it is written.
type journal struct {
	mu   sync.Mutex
	said bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.said.Write(b)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.said.String()
}

// running is a Service that runs.
type running struct {
	t    *testing.T
	out  journal
	stop context.CancelFunc
	done chan error
}

func run(t *testing.T, s *Service, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, stop: cancel, done: make(chan error, 1)}
	go func() { r.done <- s.Run(ctx, args, &r.out) }()
	return r
}

// end tells it to end, and waits.
func (r *running) end() {
	r.t.Helper()
	r.stop()
	require.NoError(r.t, <-r.done)
}

// get asks over HTTP until somebody listens.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	require.Eventually(t, func() bool {
		answer, err := http.Get(url)
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		status, body = answer.StatusCode, string(text)
		return err == nil
	}, patience, 5*time.Millisecond, url)
	return status, body
}

func TestDemoIsAClusterThatFindsItsDataAgain(t *testing.T) {
	t.Chdir(t.TempDir())
	s := full()
	s.Addrs, s.HTTPAddrs = ports.Free(t, 3), ports.Free(t, 3)
	s.Next = func(d Demo) string { return fmt.Sprintf("call %s\nlook %s\n", d.Addrs[0], d.Files[2]) }
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i := range 2 {
		r := run(t, s)
		require.Eventually(t, func() bool { return strings.Contains(r.out.text(), "Ctrl-C") }, patience, 5*time.Millisecond)
		require.Equal(t, fmt.Sprintf(`
These servers are a cluster now: %s, %s, %s. Their logs are in sums-data.
HTTP: http://%s, http://%s, http://%s
In another terminal:

  call %s
  look sums-data/server-2.jsonl

Ctrl-C stops them; the next start finds the data again.
`, s.Addrs[0], s.Addrs[1], s.Addrs[2], s.HTTPAddrs[0], s.HTTPAddrs[1], s.HTTPAddrs[2], s.Addrs[0]), r.out.text())
		c := client.New(s.Addrs[1])
		sum, err := client.Call[int](ctx, c, machine.Command, 5)
		require.NoError(t, err)
		require.Equal(t, 5*(i+1), sum)
		require.NoError(t, c.Close())
		for _, addr := range s.HTTPAddrs {
			require.Eventually(t, func() bool { status, _ := get(t, "http://"+addr+"/ready"); return status == http.StatusOK }, patience, 5*time.Millisecond)
		}
		r.end()
	}
}

func TestDemoTellsWhichAddressesItNeeds(t *testing.T) {
	t.Chdir(t.TempDir())
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	s := full()
	s.Addrs = append(ports.Free(t, 1), taken.Addr().String())
	require.ErrorContains(t, s.Run(t.Context(), nil, new(bytes.Buffer)), "needs the addresses "+strings.Join(s.Addrs, ", "))
	s.Addrs, s.HTTPAddrs = ports.Free(t, 1), []string{taken.Addr().String()}
	require.ErrorContains(t, s.Run(t.Context(), nil, new(bytes.Buffer)), "HTTP: listen tcp "+s.HTTPAddrs[0])
	s.Addrs = ports.Free(t, 2)
	require.ErrorContains(t, s.Run(t.Context(), nil, new(bytes.Buffer)), "1 addresses for HTTP, and 2 servers")
	s.HTTPAddrs = nil
	require.NoError(t, os.MkdirAll("sums-data", 0o755))
	require.NoError(t, os.WriteFile("sums-data/server-0.jsonl", []byte("no log\n"), 0o644))
	err = s.Run(t.Context(), nil, new(bytes.Buffer))
	require.ErrorContains(t, err, "server-0.jsonl")
	require.NotContains(t, err.Error(), "needs the addresses")
}

// Three programs that are started in any order make a cluster, with HTTP beside each.
func TestProgramsJoin(t *testing.T) {
	dir := t.TempDir()
	addrs, web := ports.Free(t, 3), ports.Free(t, 3)
	var programs []*running
	for _, i := range []int{2, 0, 1} {
		programs = append(programs, run(t, full(), "-join", strings.Join(addrs, ","), "-bootstrap", "3", "-http", web[i], addrs[i], fmt.Sprintf("%s/%d", dir, i)))
	}
	for _, addr := range web {
		require.Eventually(t, func() bool { status, _ := get(t, "http://"+addr+"/ready"); return status == http.StatusOK }, patience, 5*time.Millisecond)
	}
	for _, p := range programs {
		p.stop()
	}
	for _, p := range programs {
		p.end()
	}
}

// What waits over HTTP is answered when the program ends, and does not hold it up.
func TestRequestsUnderWayAreAnsweredAtTheEnd(t *testing.T) {
	addr, web := ports.Free(t, 1)[0], ports.Free(t, 1)[0]
	s := full()
	waiting := make(chan struct{})
	s.HTTP = func(s *raftpico.Server) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(waiting)
			require.Error(t, s.Ready(r.Context())) // it belongs to no cluster, so this lasts as long as the server
			w.WriteHeader(http.StatusServiceUnavailable)
		})
	}
	p := run(t, s, "-http", web, addr, t.TempDir()+"/log")
	var wg sync.WaitGroup
	wg.Go(func() {
		status, _ := get(t, "http://"+web)
		require.Equal(t, http.StatusServiceUnavailable, status)
	})
	<-waiting
	began := time.Now()
	p.end()
	require.Less(t, time.Since(began), httpPatience)
	wg.Wait()
}

func TestProgramEndsWithItsServer(t *testing.T) {
	addr := ports.Free(t, 1)[0]
	s := full()
	s.New = func() machine.Machine { return machine.JSON(&bomb{}) }
	p := run(t, s, "-join", addr, "-bootstrap", "1", addr, t.TempDir()+"/log")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := client.NewWith(client.Options{NoSessions: true}, addr)
	defer c.Close()
	_, _ = client.Call[int](ctx, c, machine.Command, 1)
	select {
	case err := <-p.done:
		require.ErrorContains(t, err, "boom")
	case <-time.After(patience):
		require.FailNow(t, "it goes on without its server")
	}
}

type bomb struct{}

func (*bomb) Apply(*machine.Context, int) (any, error) { panic("boom") }

func TestOptionsAreTheProgramsToChange(t *testing.T) {
	s := full()
	s.Options = func(o *raftpico.Options) { o.Limits.MaxConns = -1 }
	err := s.Run(t.Context(), []string{"127.0.0.1:0", t.TempDir() + "/log"}, io.Discard)
	require.ErrorContains(t, err, "a limit is negative")
}

func TestHealth(t *testing.T) {
	ask := func(s *raftpico.Server, method, path string) (int, map[string]any, http.Header) {
		w := httptest.NewRecorder()
		Health(s).ServeHTTP(w, httptest.NewRequest(method, path, nil))
		answer := map[string]any{}
		_ = json.Unmarshal(w.Body.Bytes(), &answer)
		return w.Code, answer, w.Header()
	}
	lone, err := raftpico.Start(newCounter(), raftpico.Options{Addr: "127.0.0.1:0", InMemory: true})
	require.NoError(t, err)
	defer lone.Close()
	status, answer, header := ask(lone, "GET", "/health")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, map[string]any{"healthy": true}, answer)
	require.Equal(t, "application/json", header.Get("Content-Type"))
	status, answer, _ = ask(lone, "GET", "/ready")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, map[string]any{"ready": false, "role": "Follower", "leader": "", "reason": "the server belongs to no cluster"}, answer)
	status, _, header = ask(lone, "POST", "/ready")
	require.Equal(t, http.StatusMethodNotAllowed, status)
	require.Equal(t, "GET, HEAD", header.Get("Allow"))

	c := memnet.Start(t, 3, newCounter)
	cut := c.Servers[0]
	await := func(status int, reason string) {
		t.Helper()
		require.Eventually(t, func() bool {
			got, answer, _ := ask(cut, "GET", "/ready")
			return got == status && (reason == "" || answer["reason"] == reason)
		}, patience, 5*time.Millisecond)
	}
	await(http.StatusOK, "")
	c.Isolate(cut.Addr())
	await(http.StatusServiceUnavailable, "no leader is known")
	status, _, _ = ask(cut, "GET", "/health")
	require.Equal(t, http.StatusOK, status, "it lives")
	c.Heal()
	await(http.StatusOK, "")
	require.Eventually(t, func() bool { // it is refused where an election comes between
		_, err := c.Leader().RemoveServer(t.Context(), cut.Addr())
		return err == nil || errors.Is(err, raftpico.ErrNotMember)
	}, patience, 5*time.Millisecond)
	await(http.StatusServiceUnavailable, "the server was removed from its cluster")
	require.NoError(t, cut.Close())
	await(http.StatusServiceUnavailable, "the server has ended")
	status, answer, _ = ask(cut, "GET", "/health")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, map[string]any{"healthy": false, "reason": "the server has ended"}, answer)
}
