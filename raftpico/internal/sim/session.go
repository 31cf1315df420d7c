package sim

import (
	"fmt"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// conversation is a client that works in a session, and in another when that has ended. It numbers its commands, has
// several under way, and sends them again: when it was answered 107, when a server was lost, or just so, to any member,
// and now and then long after it has the answer. Sometimes it sleeps for longer than its session lasts.
//
// Each attempt has a tag of its own in its input, which the machine passes over: so it is known what becomes of which
// attempt, see ledger.go.
type conversation struct {
	w       *world
	cluster *checks
	id      uint64 // 0: the session is not open
	ttl     time.Duration
	opening bool
	over    bool // it was told that the session has ended, or has closed it
	seq     uint64
	ack     uint64 // all up to this are answered, or given up
	all     []*numbered
	waits   int           // attempts under way
	former  *conversation // the session before
}

// numbered is a command: that with number seq is all[seq-1].
type numbered struct {
	seq      uint64
	id       int
	words    string
	deadline time.Duration
	answered bool
}

// act does the next thing, and plans the one after it.
func (v *conversation) act() {
	w, e := v.w, &v.w.extras
	if w.clients.stopped {
		return
	}
	pause := e.about(100 * time.Millisecond)
	if e.chance(0.01) {
		pause = v.ttl + e.about(v.ttl)
	}
	w.after(pause, v.act)
	members := v.cluster.members(w)
	if len(members) == 0 || w.leases.quiet {
		return
	}
	s := members[e.rng.IntN(len(members))]
	if s.node == nil || s.cluster() != v.cluster || v.waits >= 6 {
		return
	}
	switch {
	case v.over && e.chance(0.3):
		*v = conversation{w: w, cluster: v.cluster, waits: v.waits,
			former: &conversation{w: w, cluster: v.cluster, id: v.id, all: v.all, over: true}}
	case v.id == 0 && !v.opening:
		v.ttl, v.opening = []time.Duration{time.Second, 3 * time.Second, time.Hour}[e.rng.IntN(3)], true
		v.ask(s, node.Request{Op: node.OpenSession, TTL: v.ttl})
	case v.id == 0 || v.waits >= 4:
	default:
		v.step(s)
	}
}

// step does something in the session.
func (v *conversation) step(s *server) {
	e := &v.w.extras
	some := func(all []*numbered) *numbered { return all[e.rng.IntN(len(all))] }
	switch p := e.rng.Float64(); {
	case p < 0.03:
		v.ask(s, node.Request{Op: node.KeepSession, Session: wire.SessionSeq{ID: v.id, Ack: v.ack}})
	case p < 0.035:
		v.ask(s, node.Request{Op: node.CloseSession, Session: wire.SessionSeq{ID: v.id}})
	case p < 0.045 && v.seq > v.ack: // it gives up the oldest, so that the next command acknowledges that
		v.all[v.ack].answered = true
		v.receive()
	case p < 0.06 && v.former != nil && len(v.former.all) > 0:
		v.former.send(s, some(v.former.all))
	case p < 0.1 && v.seq > 0: // long after
		v.send(s, some(v.all))
	case p < 0.5 && v.seq > v.ack:
		v.send(s, some(v.all[v.ack:]))
	default:
		v.seq++
		v.w.clients.ids++
		n := &numbered{seq: v.seq, id: v.w.clients.ids, words: v.words(v.w.clients.ids)}
		if e.chance(0.3) {
			n.deadline = e.timeout()
		}
		v.all = append(v.all, n)
		v.send(s, n)
		if e.chance(0.2) {
			v.send(s, n)
		}
	}
}

// words draws a command.
func (v *conversation) words(id int) string {
	e := &v.w.extras
	if e.chance(0.4) {
		return e.words()
	}
	key := fmt.Sprintf("k%d", e.rng.IntN(v.w.clients.keys))
	switch p := e.rng.Float64(); {
	case p < 0.3:
		return fmt.Sprintf("put %s %d", key, id)
	case p < 0.7:
		return fmt.Sprintf("append %s %d", key, id)
	case p < 0.85:
		return fmt.Sprintf("cas %s %d %d", key, max(1, id-e.rng.IntN(5)), id)
	}
	return "get " + key
}

// send sends a command, perhaps again. It acknowledges what it has, or less.
func (v *conversation) send(s *server, n *numbered) {
	e, c := &v.w.extras, &v.w.clients
	ack := min(v.ack, n.seq-1)
	if e.chance(0.3) {
		ack = e.rng.Uint64N(ack + 1)
	}
	c.ids++
	v.waits++
	c.send(&request{id: n.id, tag: c.ids, talk: v, number: n, server: s, request: node.Request{
		Op: node.Apply, Kind: machine.Command, Input: json.RawMessage(fmt.Sprintf(`"%d %s #%d"`, n.id, n.words, c.ids)),
		Deadline: n.deadline, Session: wire.SessionSeq{ID: v.id, Seq: n.seq, Ack: ack}}})
}

// ask asks for something about the session itself.
func (v *conversation) ask(s *server, what node.Request) {
	v.w.clients.ids++
	v.waits++
	v.w.clients.send(&request{id: v.w.clients.ids, talk: v, server: s, request: what})
}

// lost is called when an attempt will never be answered.
func (v *conversation) lost(r *request) {
	v.waits--
	if r.request.Op == node.OpenSession {
		v.opening = false
	}
}

// answer takes an answer.
func (v *conversation) answer(r *request, result json.RawMessage, err *jsonrpc.Error) {
	v.waits--
	if r.request.Session.ID != v.id { // of the session before
		return
	}
	switch op := r.request.Op; {
	case err != nil && err.Code == errSessionEnded:
		v.over = v.over || r.number == nil || !r.number.answered
	case op == node.OpenSession:
		v.opening = false
		if err == nil {
			v.id = sessionIn(v.w, r, result)
		}
	case op == node.CloseSession:
		v.over = v.over || err == nil
	case op == node.Apply && (isOutcome(err) || err.Code == errInvalidInput):
		r.number.answered = true
		v.receive()
	}
}

// receive moves the ack behind all that is answered, or given up.
func (v *conversation) receive() {
	for v.ack < v.seq && v.all[v.ack].answered {
		v.ack++
	}
}

// Wire errors that mean something for sessions.
const (
	errInvalidInput = 103
	errBusy         = 110
	errSessionEnded = 111
)

// isOutcome tells whether the machine has answered.
func isOutcome(err *jsonrpc.Error) bool { return err == nil || err.Code >= 1000 }

func sessionIn(w *world, r *request, result json.RawMessage) uint64 {
	var told struct {
		Session uint64 `json:"session"`
	}
	if err := json.Unmarshal(result, &told); err != nil || told.Session == 0 {
		w.fail("%s was answered %s, which is no session: %v", r, result, err)
	}
	return told.Session
}
