//go:build unix

package torture

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Locks of which clients stand in line, that expire, are extended, and are lost with clients who go away without a word.
var queueNames = [...]string{"queue a", "queue b", "queue c", "queue d", "queue e"}

const (
	queueTenant = "queues"
	longestWait = 5 // seconds, in line
	longestDur  = 3 // seconds, for which a lock is asked for

	// early is by how much a lock may end before its time, as clients measure it: servers count from the time at which they began to look
	// at what has come, and may have been interrupted then.
	early = 250 * time.Millisecond
)

// hold is a lock that a client was given, and what he has done with it. Times are nanoseconds since the tally began.
type hold struct {
	lock      string
	handle    uint64
	call, ret int64 // of the request by which he got it
	dur       time.Duration
	uses      []use
}

// use is an extension, or else the end, of a hold.
type use struct {
	extend    bool
	dur       time.Duration // of an extension
	outcome   outcome
	lost      bool // it was answered that the lock has another holder, or none
	call, ret int64
}

func (h hold) String() string {
	return fmt.Sprintf("%q %d, asked for at %v, given at %v, for %v, %+v", h.lock, h.handle, time.Duration(h.call), time.Duration(h.ret), h.dur, h.uses)
}

// end is the earliest moment at which a hold may have ended, as far as its first n uses tell: a lock is given after it is asked for, and
// lasts for its time, if its holder does not give it back. Held is when it was certainly still held.
func (h hold) end(n int) (end, held int64) {
	end, held = h.call+int64(h.dur), h.call
	for _, u := range h.uses[:n] {
		if u.lost || u.outcome == refused {
			continue
		}
		if u.outcome == answered {
			held = u.call
		}
		switch after := u.call + int64(u.dur); {
		case u.extend && u.outcome == answered:
			end = after
		case u.extend: // it may have become longer, or shorter
			end = min(end, after)
		default:
			end = min(end, u.call)
		}
	}
	return end, held
}

// queue is what clients know of locks. Guarded by mu.
type queue struct {
	mu     sync.Mutex
	holds  []hold
	counts map[string]int
}

func (q *queue) count(what string) {
	if q.counts == nil {
		q.counts = map[string]int{}
	}
	q.counts[what]++
}

func (q *queue) note(h hold) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.count("given")
	for _, u := range h.uses {
		switch {
		case u.lost:
			q.count("found lost")
		case u.extend:
			q.count("extended " + u.outcome.String())
		default:
			q.count("given back " + u.outcome.String())
		}
	}
	q.holds = append(q.holds, h)
}

func (q *queue) tell(what string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.count(what)
}

// judge says what is wrong: handles that do not grow, and locks with two holders at a time, or that were lost early.
func (q *queue) judge() (faults []error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var handles []given
	last := map[string]hold{} // by lock: of the holds so far, the one that certainly lasts longest
	until := map[string]int64{}
	slices.SortFunc(q.holds, func(a, b hold) int { return num(a.handle).compare(num(b.handle)) })
	for _, h := range q.holds {
		handles = append(handles, given{num(h.handle), num(h.handle), h.call, h.ret})
		if before, ok := last[h.lock]; ok && h.ret < until[h.lock] {
			faults = append(faults, fmt.Errorf("two holders: %v; %v", before, h))
		}
		end, held := h.end(len(h.uses))
		if end = max(end-int64(early), held); end > until[h.lock] {
			last[h.lock], until[h.lock] = h, end
		}
		for i, u := range h.uses {
			if end, _ := h.end(i); u.lost && u.outcome == answered && u.ret < end-int64(early) {
				faults = append(faults, fmt.Errorf("lost at %v already: %v", time.Duration(u.ret), h))
			}
		}
	}
	if err := inOrder(handles); err != nil {
		faults = append(faults, fmt.Errorf("handles: %w", err))
	}
	return faults
}

func (q *queue) report() string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(q.counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", what, q.counts[what]))
	}
	return "\n  locks in line: " + strings.Join(parts, ", ")
}

// stand is a client that stands in line again and again. With its lock it writes its own number to a key beside it: as long as it holds
// the lock, nobody else's can be there.
func (l *locksTrial) stand(loading context.Context, d door, rng *rand.Rand, _ int) {
	for l.turns.take(loading) {
		lock := queueNames[rng.IntN(len(queueNames))]
		me := l.anotherValue()
		a := &ask{Tenant: queueTenant, LockID: lock, LockDur: 1 + rng.IntN(longestDur), LockWait: rng.IntN(longestWait + 1),
			KVSet: []set{{Key: lock, Value: me}}}
		ctx, leave := loading, context.CancelFunc(func() {})
		if rng.IntN(6) == 0 { // it goes away, mostly before it is answered
			ctx, leave = context.WithTimeout(loading, time.Duration(rng.Int64N(int64(2*time.Second))))
		}
		is := d.do(ctx, a)
		leave()
		switch {
		case is.outcome != answered:
			l.queue.tell("not given: " + is.outcome.String())
			continue
		case is.why != "":
			l.queue.tell("not given: " + is.why)
			continue
		}
		l.wrote(is.ret)
		h := hold{lock: lock, handle: is.Lock, call: is.call, ret: is.ret, dur: time.Duration(a.LockDur) * time.Second}
		l.hold(d, rng, &h, me)
		l.queue.note(h)
	}
}

// hold uses a lock, and mostly gives it back.
func (l *locksTrial) hold(d door, rng *rand.Rand, h *hold, me int64) {
	for rng.IntN(3) == 0 {
		doze(l.ctx, time.Duration(rng.Int64N(int64(500*time.Millisecond))))
		if !l.use(d, h, me, 1+rng.IntN(longestDur)) {
			return
		}
	}
	switch rng.IntN(12) {
	case 0: // it forgets it
		return
	case 1: // it comes too late
		doze(l.ctx, h.dur+time.Duration(rng.Int64N(int64(time.Second))))
	default:
		doze(l.ctx, time.Duration(rng.Int64N(int64(20*time.Millisecond))))
	}
	l.use(d, h, me, 0)
}

// use extends a lock, or gives it back if dur is 0. False: who can't know that he still holds it does no more.
func (l *locksTrial) use(d door, h *hold, me int64, dur int) bool {
	a := &ask{Tenant: queueTenant, UnlockID: h.lock, Unlock: h.handle, KVGet: []string{h.lock}}
	if dur > 0 {
		a.LockID, a.LockDur = h.lock, dur
	}
	is := d.do(l.ctx, a)
	h.uses = append(h.uses, use{dur > 0, time.Duration(dur) * time.Second, is.outcome, is.why != "", is.call, is.ret})
	if is.outcome != answered || is.why != "" {
		return false
	}
	switch {
	case len(is.KV) != 1 || is.KV[0].Value != me:
		l.tally.fault(fmt.Errorf("%d holds %v, and finds %+v there", me, *h, is.KV))
	case dur > 0 && is.Lock != h.handle:
		l.tally.fault(fmt.Errorf("%v was extended, and the handle is %d", *h, is.Lock))
	}
	return true
}

// TestQueue holds the judge of locks to histories that it must refuse.
func TestQueue(t *testing.T) {
	const second = int64(time.Second)
	given := func(handle uint64, call, ret int64, uses ...use) hold {
		return hold{"a", handle, call * second, ret * second, 10 * time.Second, uses}
	}
	free := func(call, ret int64) use { return use{call: call * second, ret: ret * second} }
	longer := func(dur time.Duration, call, ret int64) use {
		return use{extend: true, dur: dur * time.Second, call: call * second, ret: ret * second}
	}
	lose := func(u use) use { u.lost = true; return u }
	doubt := func(u use) use { u.outcome = unknown; return u }
	refuse := func(u use) use { u.outcome = refused; return u }
	for name, test := range map[string]struct {
		holds []hold
		wrong string
	}{
		"given back, given on":             {[]hold{given(1, 0, 1, free(2, 3)), given(2, 0, 3)}, ""},
		"given on when the time is over":   {[]hold{given(1, 0, 1), given(2, 0, 10)}, ""},
		"given on before":                  {[]hold{given(1, 0, 1), given(2, 0, 9)}, "two holders"},
		"another lock":                     {[]hold{given(1, 0, 1), {"b", 2, 0, second, time.Second, nil}}, ""},
		"given on before it is given back": {[]hold{given(1, 0, 1, free(5, 6)), given(2, 0, 4)}, "two holders"},
		"given back late, with success":    {[]hold{given(1, 0, 1, free(12, 13)), given(2, 0, 11)}, "two holders"},
		"maybe given back":                 {[]hold{given(1, 0, 1, doubt(free(2, 3))), given(2, 0, 3)}, ""},
		"certainly not given back":         {[]hold{given(1, 0, 1, refuse(free(2, 3))), given(2, 0, 4)}, "two holders"},
		"extended":                         {[]hold{given(1, 0, 1, longer(10, 5, 6)), given(2, 0, 14)}, "two holders"},
		"extended, and over":               {[]hold{given(1, 0, 1, longer(10, 5, 6)), given(2, 0, 15)}, ""},
		"made shorter":                     {[]hold{given(1, 0, 1, longer(1, 5, 6)), given(2, 0, 6)}, ""},
		"maybe extended":                   {[]hold{given(1, 0, 1, doubt(longer(10, 5, 6))), given(2, 0, 11)}, ""},
		"maybe made shorter":               {[]hold{given(1, 0, 1, doubt(longer(1, 5, 6))), given(2, 0, 7)}, ""},
		"found lost when its time is over": {[]hold{given(1, 0, 1, lose(free(9, 11)))}, ""},
		"found lost early":                 {[]hold{given(1, 0, 1, lose(free(7, 8)))}, "lost at"},
		"an extension finds it lost early": {[]hold{given(1, 0, 1, longer(10, 5, 6), lose(longer(10, 12, 13)))}, "lost at"},
		"the third one is early":           {[]hold{given(1, 0, 1, longer(30, 2, 3)), given(2, 40, 41, free(42, 43)), given(3, 42, 43)}, ""},
		"before the one before the last":   {[]hold{given(1, 0, 1, longer(30, 2, 3)), given(2, 0, 31), given(3, 0, 33)}, "two holders"},
		"handles fall":                     {[]hold{given(2, 0, 1, free(2, 3)), given(1, 4, 5)}, "backwards"},
		"a handle twice":                   {[]hold{given(1, 0, 1, free(2, 3)), given(1, 4, 5)}, "given twice"},
	} {
		t.Run(name, func(t *testing.T) {
			faults := (&queue{holds: test.holds}).judge()
			if test.wrong == "" {
				require.Empty(t, faults)
				return
			}
			require.NotEmpty(t, faults)
			require.ErrorContains(t, errors.Join(faults...), test.wrong)
		})
	}
}
