package client_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/client"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/memnet"
)

// fakes are servers that keep the rules of sessions for a counter, in one place and without Raft. A test decides by trouble
// what goes wrong.
type fakes struct {
	t   *testing.T
	net memnet.Network

	mu       sync.Mutex
	addrs    []string
	members  []string // as GetServerState tells them
	leader   string
	trouble  func(a ask) trouble // nil: none
	asked    []ask
	value    int
	index    uint64
	sessions map[uint64]*fakeSession
	ended    []uint64 // by CloseSession
	keeps    int
	deferred []*jsonrpc.Call
	limit    int    // of timeout_ms; 0: five minutes
	cutOff   string // the address of one that knows no leader
	old      bool
}

// ask is a request that a fake got.
type ask struct {
	addr, method, kind string
	session            *sessionParam
	timeout            int
	input              json.RawMessage
	kept, ack          uint64 // of KeepSession
	n                  int    // the requests of this method before
}

type sessionParam struct{ ID, Seq, Ack uint64 }

// trouble is what a fake does instead of its work, or after it. Without any, it works.
type trouble struct {
	err    *jsonrpc.Error // it answers that
	works  bool           // but does its work before
	cut    bool           // it closes the connection instead of an answer
	silent bool           // it answers nothing
}

type fakeSession struct {
	ack      uint64
	outcomes map[uint64]string
	bytes    int
}

func startFakes(t *testing.T, n int) *fakes {
	f := &fakes{t: t, sessions: map[uint64]*fakeSession{}, index: 10}
	for i := range n {
		addr := fmt.Sprintf("server-%d:4000", i+1)
		f.addrs = append(f.addrs, addr)
		f.start(addr)
	}
	f.members, f.leader = f.addrs, f.addrs[0]
	return f
}

func (f *fakes) start(addr string) *jsonrpc.Server {
	l, err := f.net.Listen(addr)
	require.NoError(f.t, err)
	s := &jsonrpc.Server{Handler: func(calls []jsonrpc.Call) {
		for i := range calls {
			f.serve(addr, &calls[i])
		}
		calls[0].Conn().Flush()
	}}
	go func() { _ = s.Serve(l) }()
	f.t.Cleanup(func() { _ = s.Close() })
	return s
}

// dial is a client of these servers; it ends with the test.
func (f *fakes) dial(o client.Options, addrs ...string) *client.Client {
	if o.Dial == nil {
		o.Dial = f.net.Dialer("client:1")
	}
	c := client.NewWith(o, addrs...)
	f.t.Cleanup(func() { _ = c.Close() })
	return c
}

// set changes what the servers share.
func (f *fakes) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// requests are those that came, of a method.
func (f *fakes) requests(method string) (list []ask) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.asked {
		if a.method == method {
			list = append(list, a)
		}
	}
	return list
}

func (f *fakes) serve(addr string, call *jsonrpc.Call) {
	a := ask{addr: addr, method: call.Method}
	var p struct {
		Kind    string          `json:"kind"`
		Input   json.RawMessage `json:"input"`
		Timeout int             `json:"timeout_ms"`
		Session json.RawMessage `json:"session"`
		Ack     uint64          `json:"ack"`
	}
	if call.Params != nil {
		_ = json.Unmarshal(call.Params, &p)
	}
	a.kind, a.input, a.timeout = p.Kind, p.Input, p.Timeout
	if a.method == "KeepSession" {
		_ = json.Unmarshal(p.Session, &a.kept)
		a.ack = p.Ack
	}
	if len(p.Session) > 0 && p.Session[0] == '{' {
		a.session = new(sessionParam)
		_ = json.Unmarshal(p.Session, a.session)
	}
	f.mu.Lock()
	for _, before := range f.asked {
		if before.method == a.method {
			a.n++
		}
	}
	f.asked = append(f.asked, a)
	decide := f.trouble
	f.mu.Unlock()
	var t trouble
	if decide != nil {
		t = decide(a)
	}
	troubled := t != trouble{}
	if !troubled || t.works {
		result, err := f.work(a, p.Session, call)
		switch {
		case troubled:
		case err != nil:
			call.Fail(err)
			return
		case result != "":
			call.Result([]byte(result))
			return
		default:
			return // deferred
		}
	}
	switch {
	case t.cut:
		call.Conn().Close()
	case t.silent:
	case t.err != nil:
		call.Fail(t.err)
	default:
		call.Result([]byte("0"))
	}
}

// work is what a server does. An empty result means that the answer comes later.
func (f *fakes) work(a ask, session json.RawMessage, call *jsonrpc.Call) (string, *jsonrpc.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch a.method {
	case "raftpico.Ping":
		return "null", nil
	case "GetServerState":
		s := api.State{Addr: a.addr, Leader: f.leader}
		if a.addr == f.cutOff {
			s.Leader = ""
		}
		for _, m := range f.members {
			s.Members = append(s.Members, api.MemberState{Addr: m, Role: "Voter"})
		}
		b, err := json.Marshal(s)
		require.NoError(f.t, err)
		return string(b), nil
	case "OpenSession", "KeepSession", "CloseSession":
		return f.onSession(a.method, session)
	case "Apply":
		return f.apply(a, call)
	case "CreateCluster", "AddServer", "RemoveServer":
		return `{"members":["` + a.addr + `"]}`, nil
	case "TakeSnapshot":
		return `{"snapshot_index":7}`, nil
	case "CheckState":
		return `{"index":7,"hash":"h"}`, nil
	}
	return "", jsonrpc.ErrMethodNotFound
}

func (f *fakes) onSession(method string, param json.RawMessage) (string, *jsonrpc.Error) {
	if f.old {
		return "", jsonrpc.ErrMethodNotFound
	}
	f.index++
	id := f.index
	if method == "OpenSession" {
		f.sessions[id] = &fakeSession{outcomes: map[uint64]string{}}
	} else {
		require.NoError(f.t, json.Unmarshal(param, &id))
		if f.sessions[id] == nil {
			return "", api.ErrSessionEnded
		}
	}
	switch method {
	case "KeepSession":
		f.keeps++
	case "CloseSession":
		delete(f.sessions, id)
		f.ended = append(f.ended, id)
	}
	return fmt.Sprintf(`{"session":%d}`, id), nil
}

// apply counts: an input of N adds N; "wait" is deferred; "fail" is refused by the machine; a size is answered by that much.
func (f *fakes) apply(a ask, call *jsonrpc.Call) (string, *jsonrpc.Error) {
	limit := f.limit
	if limit == 0 {
		limit = 300_000
	}
	if a.timeout > limit {
		return "", api.ErrInvalidParams.Because("timeout_ms")
	}
	if a.kind != "Command" {
		if a.session != nil {
			return "", api.ErrInvalidParams.Because("session")
		}
		return fmt.Sprint(f.value), nil
	}
	var s *fakeSession
	if a.session != nil {
		if s = f.sessions[a.session.ID]; s == nil {
			return "", api.ErrSessionEnded
		}
		if a.session.Ack >= a.session.Seq {
			return "", api.ErrInvalidParams.Because("ack")
		}
		for s.ack < a.session.Ack {
			s.ack++
			s.bytes -= len(s.outcomes[s.ack])
			delete(s.outcomes, s.ack)
		}
		if out, ok := s.outcomes[a.session.Seq]; ok {
			return out, nil
		}
		if a.session.Seq <= s.ack {
			return "", api.ErrSessionEnded
		}
		if len(s.outcomes) >= 1024 || s.bytes >= 1<<20 {
			return "", api.ErrBusy
		}
	}
	if string(a.input) == `"wait"` {
		f.deferred = append(f.deferred, call)
		return "", nil
	}
	var add int
	var big struct{ Size int }
	if json.Unmarshal(a.input, &add) != nil && json.Unmarshal(a.input, &big) != nil {
		return "", api.ErrInvalidInput
	}
	f.value += add
	out := fmt.Sprint(f.value)
	if big.Size > 0 {
		b, _ := json.Marshal(make([]byte, big.Size/4*3))
		out = string(b)
	}
	if s != nil {
		s.outcomes[a.session.Seq] = out
		s.bytes += len(out)
	}
	return out, nil
}

// within is a context for calls that are to succeed.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}
