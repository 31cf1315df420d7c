package client

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
)

// How often the client looks after its servers, while it is used.
const (
	refreshPeriod = 10 * time.Second // all is well
	repairPeriod  = time.Second      // a server is not connected, or nobody is known to lead
	dialTimeout   = 5 * time.Second
	askTimeout    = 2 * time.Second
	firstRedial   = 20 * time.Millisecond
	lastRedial    = time.Second
)

// ping is a method that each server answers at once.
const ping = "raftpico.Ping"

// servers are those that the client knows: those it was given, and the members that they told of. Callers read view alone.
type servers struct {
	client *Client
	began  time.Time
	view   atomic.Pointer[view]
	due    atomic.Int64 // when to look after them again, since began

	mu      sync.Mutex         // guards what follows
	given   []*server          // by the user; they stay
	members []*server          // as last told; none: nobody has told yet
	known   map[string]*server // all of them, by address
	leader  *server            // nil: not known
	changed chan struct{}      // closed by the next change of the view
}

// view is whom one may ask now. It does not change.
type view struct {
	live   []*server // the members with a connection, or, if there is none, those given
	leader *server   // nil: not known, or without a connection
}

func (s *servers) init(c *Client, addrs []string) {
	s.client, s.began, s.known, s.changed = c, time.Now(), map[string]*server{}, make(chan struct{})
	for _, addr := range addrs {
		if s.known[addr] == nil {
			s.given = append(s.given, s.at(addr))
		}
	}
	s.view.Store(new(view))
}

// now is the time as shunned and due count it.
func (s *servers) now() int64 { return int64(time.Since(s.began)) }

// at is the server at an address. The caller holds mu.
func (s *servers) at(addr string) *server {
	if s.known[addr] == nil {
		s.known[addr] = &server{addr: addr}
	}
	return s.known[addr]
}

// choose picks whom to ask: the leader for what it would have to do anyway, else each in turn. Nil: nobody is connected.
func (s *servers) choose(leader bool) *server {
	now := s.now()
	if now >= s.due.Load() {
		s.tend(now)
	}
	v := s.view.Load()
	if leader && v.leader != nil && v.leader.shunned.Load() <= now {
		return v.leader
	}
	n := len(v.live)
	if n == 0 {
		return nil
	}
	first := s.client.turn.Add(1)
	for i := range n {
		if one := v.live[(first+uint64(i))%uint64(n)]; one.shunned.Load() <= now {
			return one
		}
	}
	return v.live[first%uint64(n)]
}

// shun lets others be asked for a while.
func (s *servers) shun(one *server, d time.Duration) { one.shunned.Store(s.now() + int64(d)) }

// tend looks after the servers in a goroutine: it dials those that are not connected, and asks one for the members.
func (s *servers) tend(now int64) {
	due := s.due.Load()
	if now < due || !s.due.CompareAndSwap(due, now+int64(repairPeriod)) {
		return // somebody else does
	}
	s.client.start(func() {
		s.connect(nil)
		s.ask()
		s.connect(nil)
	})
}

// ask learns the members and the leader, from whoever knows the newest one. Servers that know no leader are not asked for a
// while: they may be cut off from the others.
func (s *servers) ask() {
	var best *api.State
	for _, one := range s.view.Load().live {
		conn, _ := one.conn()
		if conn == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(s.client.ctx, askTimeout)
		raw, err := conn.CallRaw(ctx, "GetServerState", json.RawMessage(`{"machines":false}`))
		cancel()
		state := new(api.State)
		if err != nil || json.Unmarshal(raw, state) != nil || state.Removed || len(state.Members) == 0 {
			continue
		}
		if state.Leader == "" {
			s.shun(one, banishing)
		}
		if best == nil || state.Leader != "" && (best.Leader == "" || state.Term > best.Term) {
			best = state
		}
	}
	if best != nil {
		s.learn(best)
	}
}

// learn takes over what a server has told.
func (s *servers) learn(state *api.State) {
	var useless []*server
	s.mu.Lock()
	defer func() {
		s.mu.Unlock()
		for _, one := range useless { // NB: not under mu, since to close a connection may take a while
			one.close()
		}
	}()
	s.members = s.members[:0]
	all := state.Leader != ""
	for _, m := range state.Members {
		if m.Role != "Voter" && m.Role != "Learner" && m.Role != "Demoting" {
			continue // it is on its way in or out
		}
		one := s.at(m.Addr)
		s.members = append(s.members, one)
		all = all && one.connected()
	}
	if state.Leader != "" {
		s.leader = s.at(state.Leader)
	}
	for addr, one := range s.known {
		if !slices.Contains(s.members, one) && !slices.Contains(s.given, one) && one != s.leader && one.idle() && !one.dialing {
			delete(s.known, addr)
			useless = append(useless, one)
		}
	}
	s.look()
	if all {
		s.due.Store(s.now() + int64(refreshPeriod))
	}
}

// led is called when a server says who leads.
func (s *servers) led(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leader != nil && s.leader.addr == addr {
		return
	}
	s.leader = s.at(addr)
	s.look()
	if !s.leader.connected() {
		s.dial(s.leader)
	}
}

// connect dials all that have no connection and may be dialled again, and only, if it is not nil, in any case. It returns
// what is closed at the next change, and when to try again at the latest.
func (s *servers) connect(only *server) (changed <-chan struct{}, again time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if only != nil {
		s.known[only.addr] = only
	}
	again = lastRedial
	for _, one := range s.known {
		if !one.connected() && !one.dialing {
			if wait := time.Until(one.redial); wait > 0 {
				again = min(again, wait)
				continue
			}
			s.dial(one)
		}
	}
	return s.changed, again
}

// dial connects a server in a goroutine. The caller holds mu.
func (s *servers) dial(one *server) {
	if one.dialing {
		return
	}
	one.dialing = true
	s.client.start(func() {
		ctx, cancel := context.WithTimeout(s.client.ctx, dialTimeout)
		defer cancel()
		nc, err := s.client.opts.Dial(ctx, "tcp", one.addr)
		if err == nil {
			nc, err = jsonrpc.Secure(ctx, s.client.opts.TLS, nc, one.addr)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		one.dialing, one.err = false, err
		if err != nil {
			wait := min(firstRedial<<min(one.failed, 10), lastRedial)
			one.redial = time.Now().Add(jitter(wait))
			one.failed++
		} else {
			conn := jsonrpc.NewClient(nc)
			conn.Watch(ping, s.client.opts.Silence)
			one.failed, one.redial = 0, time.Now().Add(jitter(firstRedial))
			one.change(func(list []*jsonrpc.Client) []*jsonrpc.Client { return append(list, conn) })
			one.shunned.Store(0)
			if len(s.members) == 0 {
				s.due.Store(0) // ask it who the members are
			}
		}
		s.look()
	})
}

// more opens another connection to a server.
func (s *servers) more(one *server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(one.all()) < maxConns && time.Now().After(one.redial) {
		s.dial(one)
	}
}

// lost is called by whoever finds that a connection is broken.
func (s *servers) lost(one *server, conn *jsonrpc.Client) {
	s.mu.Lock()
	noticed := !slices.Contains(one.all(), conn)
	if !noticed {
		one.change(func(list []*jsonrpc.Client) []*jsonrpc.Client {
			return slices.DeleteFunc(list, func(c *jsonrpc.Client) bool { return c == conn })
		})
		if s.leader == one {
			s.leader = nil
		}
		s.look()
		s.due.Store(0)
	}
	s.mu.Unlock()
	if !noticed {
		_ = conn.Close()
	}
}

// look makes a new view, and wakes those who wait for one. The caller holds mu.
func (s *servers) look() {
	v := new(view)
	for _, list := range [][]*server{s.members, s.given} {
		for _, one := range list {
			if one.connected() {
				v.live = append(v.live, one)
			}
		}
		if len(v.live) > 0 {
			break
		}
	}
	if s.leader != nil && s.leader.connected() {
		v.leader = s.leader
	}
	s.view.Store(v)
	close(s.changed)
	s.changed = make(chan struct{})
}

// homeless tells whether all servers that can be asked have said that they belong to no cluster, and nobody has ever told of one.
func (s *servers) homeless(strangers []*server) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.known {
		if unheard := one.connected() || one.err == nil; unheard && !slices.Contains(strangers, one) {
			return false
		}
	}
	return len(s.members) == 0
}

// why tells what the last dials ended with, or nil.
func (s *servers) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.given {
		if one.err != nil {
			return one.err
		}
	}
	return nil
}

// named is the server at an address, which becomes known if it is not.
func (s *servers) named(addr string) *server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(addr)
}

// close ends all connections. Nothing is dialled any more.
func (s *servers) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.known {
		one.close()
	}
	s.view.Store(new(view))
}

// jitter is between half of d and d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
