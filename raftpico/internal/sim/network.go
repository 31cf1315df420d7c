package sim

import (
	"errors"
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// network is what lies between the servers: TCP connections, so a message arrives once, in order, or never. Messages
// of two connections overtake each other, also an old one's those of its successor. Yet what Raft says to itself may also
// come a second time, later than what was said after it, as if over some other network: the Raft paper takes that for granted.
// A proposal may not: that a link never sends it twice is what makes 106 a promise. A connection that is cut off
// breaks at once, or stalls until the network is whole again and then, at its next retransmission, delivers what waited,
// also where its dialler has gone on with another connection meanwhile, or was started anew; its dialler learns of a
// break only after a while, and until then sends into the void.
type network struct {
	w     *world
	delay time.Duration // of a message, on average
	spike float64       // the share of messages that take a hundred times as long, at most 2 s
	full  float64       // the share of messages that a link has no room for
	twice float64       // the share of Raft's messages that come twice
	sync  time.Duration // of an fsync, on average
	cuts  [maxServers][maxServers]bool
	conns []*conn // not broken, oldest first
	stuck []*conn // stalled, in that order
}

const maxServers = 9 // with those of another cluster

// As in package peer.
const (
	helloTimeout = 3 * time.Second
	pongTimeout  = 5 * time.Second
)

func (n *network) begin(w *world) {
	*n = network{w: w, delay: time.Duration(100+w.rng.IntN(3000)) * time.Microsecond, sync: time.Duration(w.rng.IntN(1000)) * time.Microsecond}
	if w.chance(0.2) {
		n.delay *= 20
	}
	if w.chance(0.2) {
		n.sync *= 50
	}
	n.spike, n.full, n.twice = w.rng.Float64()*0.01, w.rng.Float64()*0.01, w.rng.Float64()*0.01
}

// stop ends the faults of the network.
func (n *network) stop() {
	n.delay, n.spike, n.full, n.twice, n.sync = min(n.delay, 3*time.Millisecond), 0, 0, 0, min(n.sync, time.Millisecond)
	n.heal()
}

func (n *network) cut(from, to *server) bool { return n.cuts[from.slot][to.slot] }

func (n *network) latency() time.Duration {
	d := n.w.about(n.delay)
	if n.w.chance(n.spike) {
		d *= 100
	}
	return min(d, 2*time.Second)
}

func (n *network) byAddr(addr string) *server {
	return n.w.find(func(s *server) bool { return s.addr == addr })
}

// sever cuts the ways from some servers to others.
func (n *network) sever(from, to []*server) {
	for _, a := range from {
		for _, b := range to {
			if a != b {
				n.cuts[a.slot][b.slot] = true
			}
		}
	}
	for _, c := range slices.Clone(n.conns) {
		if n.cut(c.from, c.to) && n.w.chance(0.5) {
			c.breakOff()
		}
	}
}

// mend makes one way whole: what waited there arrives.
func (n *network) mend(from, to *server) {
	n.cuts[from.slot][to.slot] = false
	n.stuck = slices.DeleteFunc(n.stuck, func(c *conn) bool {
		mended := c.from == from && c.to == to
		if mended {
			c.stalled = false
			c.pump()
		}
		return mended
	})
}

// heal makes the network whole.
func (n *network) heal() {
	n.cuts = [maxServers][maxServers]bool{}
	stuck := n.stuck
	n.stuck = nil
	for _, c := range stuck {
		if n.w.chance(0.5) {
			c.breakOff()
		}
		n.w.after(n.w.about(200*time.Millisecond), func() {
			c.stalled = false
			c.pump()
		})
	}
}

func (n *network) serverDown(s *server) {
	for _, c := range slices.Clone(n.conns) {
		if c.from == s || c.to == s {
			c.breakOff()
		}
	}
}

// link is the wish of a server to have a connection to another (package peer).
type link struct {
	from    *server
	run     int // of from
	peer    node.Peer
	conn    *conn // nil: down
	attempt int   // dials so far; what belongs to an earlier one is void
	tries   int   // dials so far
	backoff time.Duration
	ended   bool
	sending *transfer // under way, or nil
	last    *transfer // the one under way, or after it, until entries are sent or it proves to be lost
}

func (l *link) end() {
	l.ended = true
	if l.conn != nil {
		l.conn.breakOff()
	}
}

// errAway is the answer of an address where no server runs.
var errAway = errors.New("connection refused")

// dial makes an attempt: dial, handshake, and either a connection or another attempt later.
func (l *link) dial() {
	w, s := l.from.w, l.from
	n := &w.net
	l.attempt++
	l.tries++
	attempt := l.attempt
	over := func(c *conn, verdict node.Verdict, err error) {
		s.post(func() {
			if l.ended || l.attempt != attempt || l.conn != nil {
				return
			}
			l.finish(c, verdict, err)
		})
	}
	identity, _ := s.node.Identity()
	at := l.address()
	h := hello{identity: identity, from: node.Peer{ID: identity.NodeID, Addr: s.addr, Instance: s.instance}, to: l.peer, listed: at == l.peer.Addr}
	w.after(n.latency(), func() {
		to := n.byAddr(at)
		switch {
		case l.ended || s.run != l.run || to != nil && n.cut(s, to):
		case to == nil || to.node == nil || to == s:
			w.after(n.latency(), func() { s.postTo(l.run, func() { over(nil, 0, errAway) }) })
		default:
			c := &conn{w: w, link: l, from: s, to: to, toRun: to.run, id: identity.NodeID, cluster: identity.ClusterID}
			to.post(func() {
				verdict, err := to.accept(h)
				w.after(n.latency(), func() {
					if !n.cut(to, s) {
						s.postTo(l.run, func() { over(c, verdict, err) })
					}
				})
			})
		}
	})
	w.after(helloTimeout, func() { s.postTo(l.run, func() { over(nil, 0, errors.New("timeout")) }) })
}

// postTo posts to a certain run of a server.
func (s *server) postTo(run int, item func()) {
	if s.run == run {
		s.post(item)
	}
}

func (l *link) finish(c *conn, verdict node.Verdict, err error) {
	s := l.from
	switch {
	case err == nil && verdict == node.Welcome:
		l.attempt++ // the timeout is void
		l.conn, l.backoff = c, 0
		s.w.net.conns = append(s.w.net.conns, c)
		if c.to.run != c.toRun {
			c.breakOff() // it ended meanwhile
		}
		s.w.tracef("%s has a link to %s", s, c.to)
		s.heard.levels[l.peer.ID] = heardLevel{c.to.level, s.w.now}
		s.node.PeerUp(l.peer.ID, c.to.build, c.to.level)
		return
	case err == nil && verdict == node.Removed:
		s.w.tracef("%s is told that it was removed", s)
		s.node.ToldRemoved()
	}
	s.w.tracef("%s has no link to %s: %v %v", s, l.peer.Addr, verdict, err)
	l.again()
}

// again dials later.
func (l *link) again() {
	l.attempt++
	l.backoff = min(max(2*l.backoff, 20*time.Millisecond), 500*time.Millisecond)
	s := l.from
	s.w.after(l.backoff, func() {
		if s.run == l.run && !l.ended {
			l.dial()
		}
	})
}

// conn is a connection. Messages go from from to to.
type conn struct {
	w        *world
	link     *link
	from, to *server
	toRun    int
	id       uint64    // the dialler's
	cluster  string    // the dialler's
	queue    []message // under way; the first one's arrival is planned, unless stalled
	stalled  bool      // the first one was due, and could not get through
	broken   bool
}

type message struct {
	line []byte
	due  time.Duration
}

// send reports false if there is no room.
func (c *conn) send(m *wire.Message) bool {
	if c.w.chance(c.w.net.full) {
		return false
	}
	line, err := wire.AppendMessage(make([]byte, 0, 160), m)
	if err != nil {
		c.w.fail("%s can't encode a message to %s: %v", c.from, c.to, err)
	}
	if m.Snapshot != nil { // over a connection of its own
		return c.sendSnapshot(m, line)
	}
	if m.Raft != nil && m.Raft.GetType() == raftpb.MsgApp {
		c.link.last = nil
	}
	if c.broken {
		return true
	}
	c.queue = append(c.queue, message{line, c.w.now + c.w.net.latency()})
	if len(c.queue) == 1 {
		c.pump()
	}
	if m.Raft != nil && c.w.chance(c.w.net.twice) {
		c.again(line)
	}
	return true
}

// again lets a message arrive a second time, unless the network is cut just then.
func (c *conn) again(line []byte) {
	c.w.after(c.w.net.latency()+c.w.net.latency(), func() {
		if c.to.run == c.toRun && !c.w.net.cut(c.from, c.to) {
			c.w.result.Faults["message twice"]++
			c.to.post(func() { c.arrive(line) })
		}
	})
}

// pump plans the arrival of the first message under way.
func (c *conn) pump() {
	if len(c.queue) == 0 || c.stalled {
		return
	}
	c.w.at(c.queue[0].due, func() {
		switch {
		case c.to.run != c.toRun || len(c.queue) == 0:
			c.queue = nil
		case c.w.net.cut(c.from, c.to):
			c.stalled = true
			c.w.net.stuck = append(c.w.net.stuck, c)
			c.w.after(pongTimeout, func() {
				if c.stalled {
					c.breakOff()
				}
			})
		default:
			line := c.queue[0].line
			c.queue = c.queue[1:]
			c.to.post(func() { c.arrive(line) })
			c.pump()
		}
	})
}

// arrive takes a message in, on the other side's loop.
func (c *conn) arrive(line []byte) {
	s := c.to
	c.w.result.Messages++
	c.w.fold(line)
	if c.w.cfg.Trace != nil {
		c.w.tracef("%s > %s  %.300s", c.from, s, line)
	}
	m, err := wire.DecodeMessage(line)
	if err != nil {
		c.w.fail("%s can't decode a message of %s: %v\n%s", s, c.from, err, line)
	}
	if c.cluster != s.disk.identity.ClusterID {
		c.w.fail("%s hears %s, which is of another cluster: %s", s, c.from, line)
	}
	s.still = s.still && changesNothing(m, s.applied)
	if l := s.links[c.id]; l != nil && l.last != nil && m.Raft.GetType() == raftpb.MsgAppResp && !m.Raft.GetReject() {
		l.last.acknowledged = l.last.acknowledged || m.Raft.GetIndex() >= l.last.index && m.Raft.GetTerm() == l.last.term
	}
	if r := m.Raft; r.GetType() == raftpb.MsgApp {
		last := wire.EntryID{Term: r.GetLogTerm(), Index: r.GetIndex() + uint64(len(r.GetEntries()))}
		if k := len(r.GetEntries()); k > 0 {
			last.Term = r.GetEntries()[k-1].GetTerm()
		}
		s.appends = append(s.appends, heardAppend{r.GetTerm(), last})
	}
	if err := s.node.Message(c.id, m); err != nil {
		c.w.tracef("%s closes the connection of %s: %v", s, c.from, err)
		c.breakOff()
	}
}

// changesNothing tells whether a message can neither make a leader nor let anything be applied, unless something is saved by
// a server that has voted for itself.
func changesNothing(m *wire.Message, applied uint64) bool {
	if m.Raft == nil {
		return true // a proposal is saved first
	}
	switch m.Raft.GetType() {
	case raftpb.MsgHeartbeat, raftpb.MsgApp:
		return m.Raft.GetCommit() <= applied
	case raftpb.MsgAppResp:
		return m.Raft.GetIndex() <= applied
	case raftpb.MsgHeartbeatResp, raftpb.MsgReadIndex, raftpb.MsgReadIndexResp:
		return true
	}
	return false
}

// breakOff breaks the connection: of what is under way a beginning still arrives.
func (c *conn) breakOff() {
	if c.broken {
		return
	}
	c.broken = true
	c.w.tracef("%s loses its link to %s", c.from, c.to)
	c.queue = c.queue[:c.w.rng.IntN(len(c.queue)+1)]
	n := &c.w.net
	n.conns = slices.DeleteFunc(n.conns, func(other *conn) bool { return other == c })
	l := c.link
	noticed := c.w.about(20 * time.Millisecond)
	if c.w.chance(0.1) {
		noticed = c.w.about(time.Second)
	}
	c.w.after(noticed, func() {
		c.from.postTo(l.run, func() {
			if l.conn == c && !l.ended {
				l.conn = nil
				c.from.node.PeerDown(l.peer.ID)
				if t := l.sending; t != nil { // it goes with the link
					t.tell((*node.Node).SnapshotLost)
				}
				l.again()
			}
		})
	})
}
