package sim

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// ledger is what must become of sessions, by the committed entries alone: it goes through them once, when a server is
// the first to have applied one. It keeps no outcomes, only which there are, and how large. What it says of an entry
// the machine must have been told: which commands of sessions it carried out, and which sessions have ended. And what
// was said to clients must be what it says of their attempts:
//
//	a result, or an error of the machine's   the attempt is applied, and its seq was carried out, now or before: with
//	                                         that outcome (answers.go)
//	111                                      the attempt is applied, and its session had ended, or its seq was
//	                                         acknowledged, or its outcome forgotten, since there were too many
//	110                                      the attempt is not applied, ever; or it is, and its session has too many
//	                                         outcomes
//	103                                      the attempt is not applied, ever; or it is, and the cluster's version did not
//	                                         know the command then
//	102, 106, 108                            the attempt is not applied, ever
//	107                                      anything
type ledger struct {
	batches  map[wire.EntryID]*wire.Batch // logged anywhere, and not gone through
	time     int64                        // applied time
	sessions map[uint64]*account
	opened   map[uint64]bool
	told     map[uint64]bool    // sessions whose opening was acknowledged
	attempts map[int]verdict    // by tag
	never    map[int]int        // attempts that certainly are not applied, and the code that said so
	made     map[uint64][]call  // what the machine was told, by index, until that was gone through
	answers  map[uint64][]reply // to tickets, by index, until that was gone through
	waiting  map[int]*outcome   // deferred commands of sessions, by the request's id
	uses     int
	bytes    int     // of all outcomes
	claims   []claim // to be looked at when the turn's entries are gone through
	quiet    bool    // nobody asks for anything
}

type account struct {
	id        uint64
	ttl, last int64
	acked     uint64
	kept      map[uint64]*outcome // by seq
	bytes     int
	used      int // when something happened to it last, among all sessions
}

// outcome is one that is kept.
type outcome struct {
	of   *account
	seq  uint64
	id   int // the request's
	size int
	done bool
	code int // 103, or 0
}

// reply is an answer to a ticket.
type reply struct {
	offset int
	id     int // the request's
	size   int
}

// call is a command of a session, carried out or given up, or the end of a session, that the machine was told of.
type call struct {
	offset  int
	session uint64
	id      int // of the command
	ends    bool
	gone    bool // the command was given up
}

// verdict is what became of an attempt.
type verdict struct {
	spot
	code int // 103, 110, 111, or 0: an outcome of the machine's
}

// claim is what a client was told.
type claim struct {
	r      *request
	result json.RawMessage
}

func newLedger() ledger {
	return ledger{batches: map[wire.EntryID]*wire.Batch{}, sessions: map[uint64]*account{}, opened: map[uint64]bool{},
		told: map[uint64]bool{}, attempts: map[int]verdict{}, never: map[int]int{}, made: map[uint64][]call{},
		answers: map[uint64][]reply{}, waiting: map[int]*outcome{}}
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
		default:
			l.replies(s, spot{id.Index, i})
		}
	}
	made := l.made[id.Index]
	delete(l.made, id.Index)
	delete(l.answers, id.Index)
	if !slices.Equal(made, must) {
		s.w.fail("%s has carried out %v at %v, rather than %v: %+v", s, made, id, must, b)
	}
	if l.quiet {
		l.needed(s, id, b, must)
	}
}

// use finds a session, or the end of it.
func (l *ledger) use(s *server, at spot, session uint64) (a *account, must []call) {
	if a = l.sessions[session]; a != nil && a.end() <= l.time {
		a, must = nil, l.drop(s, at, session)
	}
	if a != nil {
		a.last = l.time
		l.moved(a)
	}
	return a, must
}

func (l *ledger) moved(a *account) {
	l.uses++
	a.used = l.uses
}

// drop ends a session, in the place of a command or a timer.
func (l *ledger) drop(s *server, at spot, session uint64) []call {
	must := l.sessions[session].open(at, math.MaxUint64)
	l.forget(l.sessions[session], math.MaxUint64)
	delete(l.sessions, session)
	l.replies(s, at)
	return append(must, call{offset: at.offset, session: session, ends: true})
}

// forget drops outcomes up to a seq.
func (l *ledger) forget(a *account, upTo uint64) {
	for seq, o := range a.kept {
		if seq <= upTo {
			delete(a.kept, seq)
			delete(l.waiting, o.id)
			a.bytes -= o.size
			l.bytes -= o.size
		}
	}
	a.acked = max(a.acked, upTo)
}

// replies takes the answers to tickets that the machine gave in a place.
func (l *ledger) replies(s *server, at spot) {
	for _, r := range l.answers[at.index] {
		if o := l.waiting[r.id]; o != nil && r.offset == at.offset {
			delete(l.waiting, r.id)
			o.size, o.done = o.size+r.size, true
			o.of.bytes += r.size
			l.bytes += r.size
			l.moved(o.of)
			l.makeRoom(s)
		}
	}
}

// makeRoom lets those forget that nothing has happened to for longest.
func (l *ledger) makeRoom(s *server) {
	bounds := &s.w.extras.bounds
	for l.bytes > bounds.OutcomeBytes && l.forgetOldest(true) {
		s.w.result.Seen["room made"]++
	}
	for len(l.waiting) > bounds.Open && l.forgetOldest(false) {
		s.w.result.Seen["too many deferred"]++
	}
}

// forgetOldest lets the session that nothing has happened to for longest, among those that have outcomes that are done,
// or deferred, forget all up to the last of these. It is false if there is none.
func (l *ledger) forgetOldest(done bool) bool {
	var oldest *account
	last := uint64(0)
	for _, a := range l.sessions {
		most := uint64(0)
		for seq, o := range a.kept {
			if o.done == done {
				most = max(most, seq)
			}
		}
		if most > 0 && (oldest == nil || a.used < oldest.used) {
			oldest, last = a, most
		}
	}
	if oldest != nil {
		l.forget(oldest, last)
	}
	return oldest != nil
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
		ended = ended[:min(len(ended), s.w.extras.bounds.Sweep)]
		for i, a := range ended {
			must = append(must, l.drop(s, spot{index, i}, a.id)...)
		}
		l.replies(s, spot{index, len(ended)})
		s.w.result.Seen["swept"] += len(ended)
	case c.Abandon != nil:
		for i := range c.Abandon.Tickets {
			l.replies(s, spot{index, i})
		}
	case c.OpenSession != nil:
		if len(l.sessions) >= s.w.extras.bounds.Sessions {
			s.w.result.Seen["too many sessions"]++
			return nil
		}
		a := &account{id: index, ttl: c.OpenSession.TTL, last: l.time, kept: map[uint64]*outcome{}}
		l.sessions[index], l.opened[index] = a, true
		l.moved(a)
	case c.KeepSession != nil:
		var a *account
		if a, must = l.use(s, spot{index, 0}, c.KeepSession.ID); a != nil {
			must = append(must, a.open(spot{index, 0}, c.KeepSession.Ack)...)
			l.forget(a, c.KeepSession.Ack)
		}
	case c.CloseSession != nil:
		var a *account
		if a, must = l.use(s, spot{index, 0}, c.CloseSession.ID); a != nil {
			must = append(must, l.drop(s, spot{index, 0}, a.id)...)
			s.w.result.Seen["closed"]++
		}
	}
	return must
}

// attempt tells what becomes of a command of a session.
func (l *ledger) attempt(s *server, at spot, c *wire.Command) []call {
	id, tag := idAndTag(c.Apply)
	if known, ok := l.attempts[tag]; ok {
		s.w.fail("%s applies attempt %d of request %d at %v, it was applied at %v", s, tag, id, at, known)
	}
	code, must := l.execute(s, at, c, id)
	l.attempts[tag] = verdict{at, code}
	if told := l.never[tag]; told != 0 && told != code {
		s.w.fail("%s applies attempt %d of request %d at %v, which was answered %d", s, tag, id, at, told)
	}
	return must
}

// execute carries a command out, unless it was before; the code says why not.
func (l *ledger) execute(s *server, at spot, c *wire.Command, id int) (code int, must []call) {
	seen, bounds := s.w.result.Seen, &s.w.extras.bounds
	a, must := l.use(s, at, c.Session.ID)
	if a == nil {
		seen["late"]++
		return errSessionEnded, must
	}
	must = append(must, a.open(at, c.Session.Ack)...)
	l.forget(a, c.Session.Ack)
	switch seq := c.Session.Seq; {
	case a.kept[seq] != nil:
		seen["repeated"]++
		return a.kept[seq].code, must
	case seq <= a.acked:
		seen["forgotten"]++
		return errSessionEnded, must
	case len(a.kept) >= bounds.Outcomes || a.bytes >= bounds.SessionBytes:
		seen["too many outcomes"]++
		return errBusy, must
	default:
		told := call{offset: at.offset, session: a.id, id: id}
		known := s.cluster().done[id]
		o := &outcome{of: a, seq: seq, id: id, size: node.OutcomeSize + known.size, done: known.output != deferred}
		if s.w.upgrades.rng != nil && isCas(c.Apply) && !slices.Contains(l.made[at.index], told) {
			seen["unknown command"]++
			o.code, o.size = errInvalidInput, node.OutcomeSize+len(node.ErrInvalidInput.Message)+node.MaxReason
		} else {
			must = append(must, told)
		}
		if !o.done {
			o.size, l.waiting[id] = node.OutcomeSize, o
		}
		a.kept[seq] = o
		a.bytes += o.size
		l.bytes += o.size
		l.replies(s, at)
		l.makeRoom(s)
		code = o.code
	}
	return code, must
}

// needed checks an entry that was logged while nobody asked for anything.
func (l *ledger) needed(s *server, id wire.EntryID, b *wire.Batch, must []call) {
	c := b.Commands[0].System
	switch {
	case c != nil && (c.CheckState != nil || c.SetVersion != nil || c.RemoveServer != nil && c.RemoveServer.ID != 0):
	case c != nil && c.Timer != nil && (len(must) > 0 || s.cluster().timing.ran[id.Index]):
		s.w.result.Seen["timer while quiet"]++
	case c != nil && c.Abandon != nil && s.cluster().abandons.first(id.Index, c.Abandon): // its deadline has passed just now
	default:
		s.w.fail("%s applies %v, which nobody asked for, and which was not needed: %s", s, id, wire.AppendCommand(nil, &b.Commands[0]))
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
	r, code := c.r, 0
	ended := r.err != nil && r.err.Code == errSessionEnded
	if ended {
		code = errSessionEnded
	}
	switch r.request.Op {
	case node.Apply:
		v, applied := l.attempts[r.tag]
		if !applied && last || applied && v.code != code {
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
