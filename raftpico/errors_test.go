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
	_, table := theErrorTable(t)
	require.Equal(t, table[code].message, answer.Error.Message)
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
	case "bytes of a type's own":
		return verbatim("\"\xff\""), nil
	case "own, of bytes":
		return nil, &machine.Error{Code: 1000, Message: "no", Data: verbatim("\"\xff\"")}
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

// faults lets servers that were started with it be cut off from each other.
type faults struct {
	mu       sync.Mutex
	isolated map[string]bool        // of every server's address: whether it is
	links    map[net.Conn][2]string // who dialled whom
}

func newFaults() *faults {
	return &faults{isolated: map[string]bool{}, links: map[net.Conn][2]string{}}
}

// among makes servers that were started with options be those that are cut off from each other.
func (f *faults) among(servers ...*raftpico.Server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range servers {
		f.isolated[s.Addr()] = false
	}
}

// options lets a server dial through it.
func (f *faults) options(t *testing.T, o *raftpico.Options) {
	listener, err := net.Listen("tcp", o.Addr)
	require.NoError(t, err)
	self := listener.Addr().String()
	o.Listener, o.Addr = listener, self
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
	f := newFaults()
	servers := startKVS(t, 3, func(o *raftpico.Options) {
		o.Limits = limits
		f.options(t, o)
	})
	f.among(servers...)
	joinAll(t, servers, timeouts)
	return servers, f
}

func idOf(t *testing.T, line string) json.RawMessage {
	t.Helper()
	var answer struct{ ID json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(line), &answer), "%.400s", line)
	return answer.ID
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
	t.Parallel()
	servers, f := faultyCluster(t, calm, raftpico.Limits{Deadline: 15 * time.Second})
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
		if strings.Contains(line, `"code":107,`) {
			continue // the next leader came too late
		}
		told := failed(t, line, 106).About.Leader
		if leaderOf(t, servers) != next {
			continue // there was another election
		}
		rejected = true
		require.Equal(t, next.Addr(), told)
		got := settled(t, next, apply("1", "Query", `{"Get":"k"}`))
		require.NotEqual(t, result("1", strconv.Itoa(attempt)), got, "106 is a promise")
	}
	require.True(t, rejected, "no command was overwritten in ten attempts")
	well(t, servers...)
}

func TestUncommittedBytesPastTheLimitAreBusy(t *testing.T) {
	t.Parallel()
	big := `"` + strings.Repeat("x", 3000) + `"`
	servers, f := faultyCluster(t, still, raftpico.Limits{MaxUncommitted: 7000})
	leader := leaderOf(t, servers)
	f.isolate(leader)
	c := dial(t, leader)
	const n = 5
	for i := range n {
		c.send(request(strconv.Itoa(i), "Apply", fmt.Sprintf(`{"kind":"Command","input":{"Put":["%d",%s]},"timeout_ms":2000}`, i, big)))
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
	got := dial(t, leader).ask(apply("1", "Query", `"List"`))
	require.Contains(t, []string{result("1", `["0","1","well"]`), result("1", `["0","well"]`), result("1", `["well"]`)}, got, "110 is certain, 107 is not")
}

// A client with too much under way is not read any more, before others are refused. Callers in process are.
func TestRequestsPastTheLimitWaitOrAreBusyInProcess(t *testing.T) {
	t.Parallel()
	servers, f := faultyCluster(t, still, raftpico.Limits{MaxPending: 8, Deadline: time.Minute})
	leader := leaderOf(t, servers)
	f.isolate(leader)
	greedy := dial(t, leader)
	const n = 20
	for i := range n {
		greedy.send(apply(strconv.Itoa(i), "Command", fmt.Sprintf(`{"Put":["%d",1]}`, i)))
	}
	waitFor(t, func() bool { // half of the seven that clients may have, or but for the one that asks
		n := string(state(t, leader, "")["requests_under_way"])
		return n == "4" || n == "5"
	})
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() {
			_, err := leader.Apply(t.Context(), machine.Command, json.RawMessage(`{"Put":["in process",1]}`))
			errs <- err
		}()
	}
	require.ErrorIs(t, <-errs, raftpico.ErrBusy)
	f.heal()
	for range cap(errs) - 1 {
		<-errs
	}
	for range n {
		require.NotContains(t, greedy.line(), `"code":110,`)
	}
	well(t, servers...)
}
