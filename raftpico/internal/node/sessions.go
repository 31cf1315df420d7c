package node

import (
	"bytes"
	"cmp"
	"container/heap"
	"container/list"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
)

// sessions let clients send a command again without its being carried out twice (Raft thesis §6.3). A session keeps the
// outcomes of its commands, by the numbers that the client gave them, until the client says that it has them. They are
// replicated, and all about them follows from applied commands and applied time.
//
// Each server's sessions are equal at the same index, with their order: it decides whose outcomes are forgotten first.
type sessions struct {
	by      map[uint64]*session
	all     *list.List                  // of *session: what was used last, or had an answer, is last
	full    *list.List                  // those that have done outcomes, in the same order
	waiting *list.List                  // those that have deferred ones, in the same order
	ends    byEnd                       // a heap
	open    map[machine.Ticket]*outcome // deferred ones
	bytes   int                         // of all outcomes
	bounds  Bounds
}

// session is that of one client.
type session struct {
	id       uint64
	ttl      int64 // milliseconds
	last     int64 // the applied time of its last use, Unix milliseconds
	acked    uint64
	outcomes []*outcome // above acked, ascending by seq
	done     int        // how many of them are not deferred
	bytes    int        // of outcomes

	in, has, waits *list.Element // in sessions.all, full and waiting, or nil
	place          int           // in sessions.ends
}

// outcome is what became of a command.
type outcome struct {
	of     *session
	seq    uint64
	ticket machine.Ticket // of the command
	done   bool           // or else its answer is deferred
	result json.RawMessage
	err    *jsonrpc.Error
}

// Bounds are those of what sessions keep. What they decide is replicated: so all servers of a cluster must have the same,
// for ever.
type Bounds struct {
	Sessions     int
	Outcomes     int // of a session
	SessionBytes int // of a session's outcomes, or one outcome more
	OutcomeBytes int // of all outcomes
	Open         int // deferred ones
	Sweep        int // sessions that end in one Timer entry
}

// The bounds of the product.
const (
	maxSessions     = 65536
	maxOutcomes     = 1024
	maxSessionBytes = 1 << 20
	maxOutcomeBytes = 16 << 20
	maxOpen         = maxOutcomeBytes / OutcomeSize / 2
	maxSweep        = 1024
)

const (
	OutcomeSize = 64  // bytes that an outcome takes besides what is in it
	MaxReason   = 512 // of the data of an error of the framework's own, or it is not kept
)

// Time that a session lasts without use.
const (
	MinTTL     = time.Second
	MaxTTL     = 7 * 24 * time.Hour
	DefaultTTL = time.Hour
)

func newSessions() *sessions {
	return &sessions{by: map[uint64]*session{}, all: list.New(), full: list.New(), waiting: list.New(), open: map[machine.Ticket]*outcome{},
		bounds: Bounds{maxSessions, maxOutcomes, maxSessionBytes, maxOutcomeBytes, maxOpen, maxSweep}}
}

// bind gives them other bounds than the product's, if there are any.
func (s *sessions) bind(b Bounds) {
	if b != (Bounds{}) {
		s.bounds = b
	}
}

func (s *sessions) count() int { return len(s.by) }

// add adds a session as the one used last.
func (s *sessions) add(it *session) {
	s.by[it.id] = it
	it.in = s.all.PushBack(it)
	heap.Push(&s.ends, it)
}

// touch notes a use.
func (s *sessions) touch(it *session, now int64) {
	it.last = now
	heap.Fix(&s.ends, it.place)
	s.moved(it)
}

// moved makes a session the one that something happened to last.
func (s *sessions) moved(it *session) {
	s.all.MoveToBack(it.in)
	if it.has != nil {
		s.full.MoveToBack(it.has)
	}
	if it.waits != nil {
		s.waiting.MoveToBack(it.waits)
	}
}

// drop ends a session. What it has deferred is nobody's any more; who waits for it here still gets the answer.
func (s *sessions) drop(it *session) {
	s.forget(it, ^uint64(0))
	s.all.Remove(it.in)
	heap.Remove(&s.ends, it.place)
	delete(s.by, it.id)
}

// forget drops the outcomes up to a seq.
func (s *sessions) forget(it *session, upTo uint64) {
	count := 0
	for ; count < len(it.outcomes) && it.outcomes[count].seq <= upTo; count++ {
		o := it.outcomes[count]
		if o.done {
			it.done--
		} else {
			delete(s.open, o.ticket)
		}
		it.bytes -= o.size()
		s.bytes -= o.size()
	}
	clear(it.outcomes[:count])
	if it.outcomes = it.outcomes[count:]; len(it.outcomes) == 0 {
		it.outcomes = nil
	}
	it.acked = max(it.acked, upTo)
	s.settleLists(it)
}

// settleLists has a session in those lists where it belongs.
func (s *sessions) settleLists(it *session) {
	for _, l := range []struct {
		list  *list.List
		place **list.Element
		in    bool
	}{{s.full, &it.has, it.done > 0}, {s.waiting, &it.waits, it.done < len(it.outcomes)}} {
		switch {
		case l.in && *l.place == nil:
			*l.place = l.list.PushBack(it)
		case !l.in && *l.place != nil:
			l.list.Remove(*l.place)
			*l.place = nil
		}
	}
}

// size is the same on each server.
func (o *outcome) size() int {
	switch {
	case o.err == nil:
		return OutcomeSize + len(o.result)
	case worded(o.err):
		return OutcomeSize + len(o.err.Message) + MaxReason
	}
	return OutcomeSize + len(o.err.Message) + len(o.err.Data)
}

// worded tells whether an error's reason may be in other words on another server: an older build refuses a command as
// unknown, a newer one as too new for the cluster. That it is refused is the same.
func worded(err *jsonrpc.Error) bool { return err.Code < 1000 }

// find returns the outcome of a seq, or nil.
func (it *session) find(seq uint64) *outcome {
	i, found := it.index(seq)
	if !found {
		return nil
	}
	return it.outcomes[i]
}

// open are the tickets of its deferred outcomes up to a seq, ascending by seq.
func (it *session) open(upTo uint64) (tickets []machine.Ticket) {
	if it.done == len(it.outcomes) {
		return nil
	}
	for _, o := range it.outcomes {
		if o.seq > upTo {
			break
		}
		if !o.done {
			tickets = append(tickets, o.ticket)
		}
	}
	return tickets
}

// index is where the outcome of a seq is, or belongs.
func (it *session) index(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(it.outcomes, seq, func(o *outcome, seq uint64) int { return cmp.Compare(o.seq, seq) })
}

// keep adds an outcome. It is nobody else's yet.
func (s *sessions) keep(o *outcome) {
	it := o.of
	i, _ := it.index(o.seq)
	it.outcomes = append(it.outcomes, nil)
	copy(it.outcomes[i+1:], it.outcomes[i:])
	it.outcomes[i] = o
	it.bytes += o.size()
	s.bytes += o.size()
	if o.done {
		it.done++
	} else {
		s.open[o.ticket] = o
	}
	s.settleLists(it)
}

// deferred returns the outcome that a ticket stands for, if it is a session's and not known yet.
func (s *sessions) deferred(t machine.Ticket) *outcome { return s.open[t] }

// settle makes a deferred outcome known.
func (s *sessions) settle(o *outcome, result json.RawMessage, err *jsonrpc.Error) {
	delete(s.open, o.ticket)
	before := o.size()
	o.set(result, err)
	o.of.bytes += o.size() - before
	s.bytes += o.size() - before
	o.of.done++
	s.settleLists(o.of)
	s.moved(o.of)
	s.makeRoom()
}

// set stores what became of a command, in memory of its own: a result may be a slice of something large.
func (o *outcome) set(result json.RawMessage, err *jsonrpc.Error) {
	o.done = true
	if err == nil {
		o.result = append(make(json.RawMessage, 0, len(result)), result...)
		return
	}
	o.err = &jsonrpc.Error{Code: err.Code, Message: strings.ToValidUTF8(err.Message, "\ufffd")} // as snapshots have it
	if !worded(err) || len(err.Data) <= MaxReason {
		o.err.Data = bytes.Clone(err.Data)
	}
}

// makeRoom forgets the outcomes of those who have not been there for longest, if there are too many bytes, or too many are
// deferred. What they send again is refused then, and never carried out twice.
func (s *sessions) makeRoom() {
	for s.bytes > s.bounds.OutcomeBytes && s.full.Len() > 0 {
		s.forgetAll(s.full.Front().Value.(*session), true)
	}
	for len(s.open) > s.bounds.Open {
		s.forgetAll(s.waiting.Front().Value.(*session), false)
	}
}

// forgetAll forgets the outcomes of a session up to the last one that is done, or deferred.
func (s *sessions) forgetAll(it *session, done bool) {
	last := uint64(0)
	for _, o := range it.outcomes {
		if o.done == done {
			last = o.seq
		}
	}
	s.forget(it, last)
}

// ended returns the ids of sessions that have ended by a time, the first to end first.
func (s *sessions) ended(now int64, limit int) (ids []uint64) {
	// They stay where they are until they are dropped, so the heap's first few are found by taking them out and back.
	var taken []*session
	for len(s.ends) > 0 && s.ends[0].end() <= now && len(taken) < limit {
		taken = append(taken, heap.Pop(&s.ends).(*session))
	}
	for _, it := range taken {
		ids = append(ids, it.id)
		heap.Push(&s.ends, it)
	}
	return ids
}

// firstEnd is the moment when the next session ends unless it is used, in Unix milliseconds.
func (s *sessions) firstEnd() (at int64, some bool) {
	if len(s.ends) == 0 {
		return 0, false
	}
	return s.ends[0].end(), true
}

// end is the first moment at which it has ended, if it is not used.
func (it *session) end() int64 { return it.last + it.ttl + 1 }

// byEnd is a heap of sessions. Those that end together end in the order of their ids.
type byEnd []*session

func (h byEnd) Len() int { return len(h) }
func (h byEnd) Less(i, j int) bool {
	return h[i].end() < h[j].end() || h[i].end() == h[j].end() && h[i].id < h[j].id
}
func (h byEnd) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *byEnd) Push(x any) {
	it := x.(*session)
	it.place = len(*h)
	*h = append(*h, it)
}

func (h *byEnd) Pop() any {
	all := *h
	it := all[len(all)-1]
	all[len(all)-1] = nil
	*h = all[:len(all)-1]
	return it
}
