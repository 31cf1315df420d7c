package sim

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// ledger is what must become of sessions, by the committed entries alone: it goes through them once, when a server is the
// first to have applied one. It keeps no outcomes, only which there are. What it says of an entry the machine must have
// been told: which commands of sessions it carried out, and which sessions have ended. And what was said to clients must be
// what it says of their attempts:
//
//	a result, or an error of the machine's   the attempt is applied, and its seq was carried out, now or before: with that
//	                                         outcome (answers.go)
//	111                                      the attempt is applied, and its session had ended, or its seq was acknowledged
//	102, 106, 108, 110                       the attempt is not applied, ever
//	107                                      anything
type ledger struct {
	batches  map[wire.EntryID]*wire.Batch // logged anywhere, and not gone through
	time     int64                        // applied time
	sessions map[uint64]*account
	opened   map[uint64]bool
	told     map[uint64]bool   // sessions whose opening was acknowledged
	attempts map[int]verdict   // by tag
	never    map[int]int       // attempts that certainly are not applied, and the code that said so
	made     map[uint64][]call // what the machine was told, by index, until that was gone through
	claims   []claim           // to be looked at when the turn's entries are gone through
	quiet    bool              // nobody asks for anything
}

type account struct {
	id        uint64
	ttl, last int64
	acked     uint64
	kept      map[uint64]bool // the seqs whose outcomes are there
}

// call is a command of a session, or the end of one, that the machine was told of.
type call struct {
	offset  int
	session uint64
	id      int // of the command
	ends    bool
}

// verdict is what became of an attempt.
type verdict struct {
	spot
	ended bool // 111
}

// claim is what a client was told.
type claim struct {
	r      *request
	result json.RawMessage
}

func newLedger() ledger {
	return ledger{batches: map[wire.EntryID]*wire.Batch{}, sessions: map[uint64]*account{}, opened: map[uint64]bool{}, told: map[uint64]bool{},
		attempts: map[int]verdict{}, never: map[int]int{}, made: map[uint64][]call{}}
}

// calls is called by the machine. What others have been told before is compared by hashes.
func (l *ledger) calls(s *server, ctx *machine.Context, c call) {
	if made := l.made[ctx.Index]; !slices.Contains(made, c) && ctx.Index > uint64(len(s.cluster().committed)) {
		l.made[ctx.Index] = append(made, c)
	}
}

// end is the first moment at which a session has ended.
func (a *account) end() int64 { return a.last + a.ttl + 1 }

// apply goes through an entry.
func (l *ledger) apply(s *server, id wire.EntryID) {
	b := l.batches[id]
	delete(l.batches, id)
	if b == nil {
		return
	}
	l.time = max(l.time, b.Time)
	var must []call
	for i := range b.Commands {
		c := &b.Commands[i]
		switch {
		case c.System != nil:
			must = append(must, l.system(s, id.Index, c.System)...)
		case c.Session != nil:
			must = append(must, l.attempt(s, spot{id.Index, i}, c)...)
		}
	}
	made := l.made[id.Index]
	delete(l.made, id.Index)
	if !slices.Equal(made, must) {
		s.w.fail("%s has carried out %v at %v, rather than %v: %+v", s, made, id, must, b)
	}
	if l.quiet {
		l.needed(s, id, b, must)
	}
}

// use finds a session, or the end of it.
func (l *ledger) use(at spot, session uint64) (a *account, must []call) {
	if a = l.sessions[session]; a != nil && a.end() <= l.time {
		a, must = nil, l.drop(at.offset, session)
	}
	if a != nil {
		a.last = l.time
	}
	return a, must
}

func (l *ledger) drop(offset int, session uint64) []call {
	delete(l.sessions, session)
	return []call{{offset: offset, session: session, ends: true}}
}

func (l *ledger) system(s *server, index uint64, c *wire.System) (must []call) {
	switch {
	case c.Timer != nil:
		l.time = max(l.time, c.Timer.At)
		var ended []*account
		for _, a := range l.sessions {
			if a.end() <= l.time {
				ended = append(ended, a)
			}
		}
		slices.SortFunc(ended, func(a, b *account) int {
			return cmp.Or(cmp.Compare(a.end(), b.end()), cmp.Compare(a.id, b.id))
		})
		for i, a := range ended {
			must = append(must, l.drop(i, a.id)...)
		}
		s.w.result.Seen["swept"] += len(ended)
	case c.OpenSession != nil:
		l.sessions[index] = &account{id: index, ttl: c.OpenSession.TTL, last: l.time, kept: map[uint64]bool{}}
		l.opened[index] = true
	case c.KeepSession != nil:
		_, must = l.use(spot{index, 0}, c.KeepSession.ID)
	case c.CloseSession != nil:
		var a *account
		if a, must = l.use(spot{index, 0}, c.CloseSession.ID); a != nil {
			must = append(must, l.drop(0, a.id)...)
			s.w.result.Seen["closed"]++
		}
	}
	return must
}

// attempt tells what becomes of a command of a session.
func (l *ledger) attempt(s *server, at spot, c *wire.Command) []call {
	id, tag := idAndTag(c.Apply)
	if code := l.never[tag]; code != 0 {
		s.w.fail("%s applies attempt %d of request %d at %v, which was answered %d", s, tag, id, at, code)
	}
	if known, ok := l.attempts[tag]; ok {
		s.w.fail("%s applies attempt %d of request %d at %v, it was applied at %v", s, tag, id, at, known)
	}
	a, must := l.use(at, c.Session.ID)
	if a == nil {
		l.attempts[tag] = verdict{at, true}
		s.w.result.Seen["late"]++
		return must
	}
	for seq := range a.kept {
		if seq <= c.Session.Ack {
			delete(a.kept, seq)
		}
	}
	a.acked = max(a.acked, c.Session.Ack)
	seq := c.Session.Seq
	l.attempts[tag] = verdict{at, !a.kept[seq] && seq <= a.acked}
	switch {
	case a.kept[seq]:
		s.w.result.Seen["repeated"]++
	case seq <= a.acked:
		s.w.result.Seen["forgotten"]++
	default:
		a.kept[seq] = true
		must = append(must, call{offset: at.offset, session: a.id, id: id})
	}
	return must
}

// needed checks an entry that was logged while nobody asked for anything.
func (l *ledger) needed(s *server, id wire.EntryID, b *wire.Batch, must []call) {
	c := b.Commands[0].System
	switch {
	case c != nil && (c.CheckState != nil || c.SetVersion != nil):
	case c != nil && c.Timer != nil && (len(must) > 0 || s.cluster().timing.ran[id.Index]):
		s.w.result.Seen["timer while quiet"]++
	default:
		s.w.fail("%s applies %v, which nobody asked for, and which was not needed: %+v", s, id, b)
	}
}

// claim notes what was said of an attempt, or of a session.
func (l *ledger) claim(r *request, result json.RawMessage) {
	l.claims = append(l.claims, claim{r, result})
}

// settle looks at the claims whose entries have been applied somewhere.
func (l *ledger) settle(w *world, last bool) {
	l.claims = slices.DeleteFunc(l.claims, func(c claim) bool { return l.holds(w, c, last) })
}

// holds checks a claim; it is false as long as nothing is known of it.
func (l *ledger) holds(w *world, c claim, last bool) bool {
	r, ended := c.r, c.r.err != nil && c.r.err.Code == jsonrpcEnded
	switch r.request.Op {
	case node.Apply:
		v, applied := l.attempts[r.tag]
		if !applied && last || applied && v.ended != ended {
			w.fail("%s was answered %v, and is applied: %v, %+v", r, r.err, applied, v)
		}
		return applied
	case node.OpenSession:
		id := sessionIn(w, r, c.result)
		if !l.opened[id] {
			return !last || w.failAs("%s was answered %s, and there is no such session", r, c.result)
		}
		if l.told[id] {
			w.fail("%s was answered %s, as somebody else was", r, c.result)
		}
		l.told[id] = true
	default:
		alive := l.sessions[r.request.Session.ID] != nil
		if (ended || r.request.Op == node.CloseSession) && alive {
			return !last || w.failAs("%s was answered %s %v, and the session goes on", r, c.result, r.err)
		}
	}
	return true
}

func (w *world) failAs(format string, args ...any) bool {
	w.fail(format, args...)
	return false
}

// idAndTag are the request's id and the attempt's tag in an input.
func idAndTag(input json.RawMessage) (id, tag int) {
	words := strings.Split(strings.Trim(string(input), `"`), " ")
	id, _ = strconv.Atoi(words[0])
	tag, _ = strconv.Atoi(strings.TrimPrefix(words[len(words)-1], "#"))
	return id, tag
}
