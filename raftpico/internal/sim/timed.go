package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/raftpico/go/machine"
)

// What the machine does besides keeping values: it has locks, alarms and watches. More commands:
//
//	"ID hold LOCK MS"      → "VERSION granted" when the caller holds the lock, in the order of these commands
//	"ID release LOCK"      → "VERSION released", or "VERSION free": whoever holds it holds it no more
//	"ID arm MS"            → "VERSION armed": an alarm goes off, once, when that time has passed
//	"ID delay MS"          → "VERSION delayed": the first alarm goes off that much later than now
//	"ID fail KEY CODE"     → the error CODE
//
// and a query, of any kind:
//
//	"ID watch KEY CHANGED" → "VERSION CHANGED VALUE", when the key was last changed by another version than CHANGED
//
// A lock is released when MS have passed, or the holder's session has ended; those who wait for one in a session that
// ends, or that gives them up, get the error 1001. A client that waits no longer loses its place, or its lock (abandon.go). A command may have a last word "#TAG", which the machine passes over: see session.go.
//
// OnTimer trusts the core that something is due: whether that is so is checked.

// lock is a lock that somebody holds.
type lock struct {
	Holder claimant
	Until  int64      // Unix milliseconds
	Queue  []claimant `json:",omitempty"`
}

// claimant holds a lock, or waits for it.
type claimant struct {
	ID      int
	MS      int64
	Ticket  machine.Ticket // zero: it was answered at once
	Session uint64
}

type alarm struct {
	ID int
	At int64 // Unix milliseconds
}

const (
	errEnded = 1001 // for those who waited in a session that has ended
	deferred = "deferred"
	granted  = "granted"
)

// clone returns a copy that goes on as it is.
func (s *keyValueState) clone() keyValueState {
	c := *s
	c.Values, c.Changed = maps.Clone(s.Values), maps.Clone(s.Changed)
	c.Locks, c.Alarms = maps.Clone(s.Locks), slices.Clone(s.Alarms)
	for name, l := range c.Locks {
		l.Queue = slices.Clone(l.Queue)
		c.Locks[name] = l
	}
	return c
}

// timed carries out a command that is not about a value.
func (m *keyValue) timed(ctx *machine.Context, id int, words []string) (out string, err error) {
	number := func(i int) int64 {
		n, e := strconv.ParseInt(words[i], 10, 64)
		if e != nil {
			err = e
		}
		return n
	}
	switch words[1] {
	case "hold":
		c := claimant{ID: id, MS: number(3), Session: ctx.Session}
		l, held := m.state.Locks[words[2]]
		if held || id%2 == 0 {
			c.Ticket = ctx.Defer()
			m.s.cluster().abandons.deferred(c.Ticket, id, ctx.Session)
		}
		if m.state.Locks == nil {
			m.state.Locks = map[string]lock{}
		}
		l.Queue = append(slices.Clone(l.Queue), c)
		m.state.Locks[words[2]] = l
		if out = granted; c.Ticket != (machine.Ticket{}) {
			out = deferred
		}
		if !held {
			m.next(ctx, words[2])
		}
	case "release":
		if _, held := m.state.Locks[words[2]]; !held {
			return "free", nil
		}
		m.next(ctx, words[2])
		out = "released"
	case "arm":
		m.alarm(id, ctx.Time.UnixMilli()+number(2))
		out = "armed"
	case "delay":
		if len(m.state.Alarms) > 0 {
			first := m.state.Alarms[0]
			m.state.Alarms = slices.Clone(m.state.Alarms[1:])
			m.alarm(first.ID, ctx.Time.UnixMilli()+number(2))
		}
		out = "delayed"
	case "fail":
		code := int(number(3))
		return fmt.Sprintf("!%d", code), &machine.Error{Code: code, Message: "as you like it"}
	default:
		err = fmt.Errorf("unknown command %s", words[1])
	}
	return out, err
}

// alarm adds an alarm: they are ordered by their moments, and then by who came first.
func (m *keyValue) alarm(id int, at int64) {
	i := 0
	for i < len(m.state.Alarms) && m.state.Alarms[i].At <= at {
		i++
	}
	m.state.Alarms = slices.Insert(slices.Clone(m.state.Alarms), i, alarm{id, at})
	m.s.cluster().timing.armed(m.s, id, at)
}

// next gives a lock to the first who waits for it.
func (m *keyValue) next(ctx *machine.Context, name string) {
	l := m.state.Locks[name]
	if len(l.Queue) == 0 {
		delete(m.state.Locks, name)
		return
	}
	l.Holder, l.Queue = l.Queue[0], slices.Clone(l.Queue[1:])
	l.Until = ctx.Time.UnixMilli() + l.Holder.MS
	m.state.Locks[name] = l
	if l.Holder.Ticket != (machine.Ticket{}) {
		m.answer(ctx, l.Holder, granted, nil)
	}
}

// answer answers a ticket; some once more, which must be passed over.
func (m *keyValue) answer(ctx *machine.Context, c claimant, out string, err error) {
	output := fmt.Sprint(m.state.Version+1, " ", out)
	m.s.cluster().gives(m.s, spot{ctx.Index, ctx.Offset}, c.Ticket)
	m.s.cluster().granted(m.s, c.ID, spot{ctx.Index, ctx.Offset}, out, size(output, err))
	ctx.Answer(c.Ticket, output, err)
	if c.ID%3 == 0 {
		ctx.Answer(c.Ticket, "again", errors.New("again"))
	}
}

// size is what an outcome takes, as sessions count it, besides what each takes.
func size(output string, err error) int {
	var own *machine.Error
	if errors.As(err, &own) {
		return len(own.Message)
	}
	return len(output) + len(`""`)
}

// watch runs a query that waits.
func (m *keyValue) watch(ctx *machine.Context, id int, words []string) (any, error) {
	key := words[2]
	changed := strconv.FormatUint(m.state.Changed[key], 10)
	waits := changed == words[3]
	if waits {
		ctx.Wait(key)
		if id%2 == 1 {
			ctx.Wait("any")
		}
	}
	if waits = waits && !ctx.TimedOut; waits {
		m.parked[id] = true
	} else {
		delete(m.parked, id)
	}
	return fmt.Sprint(m.state.Version, " ", changed, " ", value(m.state.Values[key])), nil
}

// NextTimer implements machine.Timer.
func (m *keyValue) NextTimer() time.Time {
	at, _, some := m.state.due()
	if !some {
		return time.Time{}
	}
	return time.UnixMilli(at)
}

// due is what is due next: the first alarm, or else a lock.
func (s *keyValueState) due() (at int64, lock string, some bool) {
	if len(s.Alarms) > 0 {
		at, some = s.Alarms[0].At, true
	}
	for name, l := range s.Locks {
		if !some || l.Until < at || l.Until == at && lock != "" && name < lock {
			at, lock, some = l.Until, name, true
		}
	}
	return at, lock, some
}

// OnTimer implements machine.Timer: it does one thing each time.
func (m *keyValue) OnTimer(ctx *machine.Context) {
	at, lock, some := m.state.due()
	if !some || ctx.Time.UnixMilli() < at {
		m.s.w.fail("%s runs its timer at %d.%d, %d, and what is due next is due at %d",
			m.s, ctx.Index, ctx.Offset, ctx.Time.UnixMilli(), at)
	}
	what := "lock"
	if lock == "" {
		id := m.state.Alarms[0].ID
		m.state.Alarms = slices.Clone(m.state.Alarms[1:])
		m.s.cluster().timing.fires(m.s, id, at, ctx)
		what = fmt.Sprintf("alarm %d", id)
		ctx.Wake("any")
	} else {
		m.next(ctx, lock)
	}
	m.upkeep(ctx, "timer", what)
}

// OnSessionEnd implements machine.SessionEnder.
func (m *keyValue) OnSessionEnd(ctx *machine.Context, id uint64) {
	for _, name := range slices.Sorted(maps.Keys(m.state.Locks)) {
		l := m.state.Locks[name]
		var rest []claimant
		for _, c := range l.Queue {
			if c.Session == id {
				m.answer(ctx, c, fmt.Sprintf("!%d", errEnded), &machine.Error{Code: errEnded, Message: "its session has ended"})
			} else {
				rest = append(rest, c)
			}
		}
		l.Queue = rest
		if m.state.Locks[name] = l; l.Holder.Session == id {
			m.next(ctx, name)
		}
	}
	m.s.cluster().ledger.calls(m.s, ctx, call{offset: ctx.Offset, session: id, ends: true})
	m.upkeep(ctx, "end", strconv.FormatUint(id, 10))
}

// upkeep notes that the machine has done something that is no command.
func (m *keyValue) upkeep(ctx *machine.Context, kind, what string) {
	m.unasked(ctx, kind, what)
	m.s.cluster().upkeep(m.s, spot{ctx.Index, ctx.Offset}, m.state.Hash)
}

func (m *keyValue) unasked(ctx *machine.Context, kind, what string) {
	if !ctx.Upkeep || ctx.Kind != machine.Command || ctx.Session != 0 {
		m.s.w.fail("%s is told of its %s with %+v", m.s, kind, ctx)
	}
	m.s.w.result.Seen[kind]++
	m.s.w.tracef("%s at %d.%d, %d: %s %s", m.s, ctx.Index, ctx.Offset, ctx.Time.UnixMilli(), kind, what)
	m.advance(ctx, []byte(kind+what), "")
	m.s.cluster().timing.ran[ctx.Index] = true
}
