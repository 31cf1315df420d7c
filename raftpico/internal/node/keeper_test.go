package node_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// epoch is the wall clock's time when a world begins.
var epoch = time.UnixMilli(1_700_000_000_000)

func init() { maps.Copy(commands, keeperCommands) }

// keeperCommands are for transcripts with keepers.
var keeperCommands = map[string]func(*world, *datadriven.TestData){
	// keepers: servers that come from now on have keepers as their machines
	"keepers": func(w *world, d *datadriven.TestData) { w.keepers = true },
	// limits WORD=VALUE…: of servers that come from now on. pending: requests under way; trailing: bytes of log that are kept
	// before a snapshot
	"limits": func(w *world, d *datadriven.TestData) {
		for _, arg := range d.CmdArgs {
			value := w.number(arg.Vals[0])
			switch arg.Key {
			case "pending":
				w.limit = append(w.limit, func(c *node.Config) { c.MaxPending = value })
			case "trailing":
				w.limit = append(w.limit, func(c *node.Config) { c.Trailing = uint64(value) })
			default:
				w.t.Fatalf("there is no limit %q", arg.Key)
			}
		}
	},
	// gone SERVER CALLER…: their connections to it have ended
	"gone": func(w *world, d *datadriven.TestData) {
		s := w.server(d.CmdArgs[0].Key)
		s.node.Forget(func(c node.Caller) bool { return d.HasArg(fmt.Sprint(c)) })
		s.flush()
	},
	// cancel SERVER CALLER…: they wait no longer
	"cancel": func(w *world, d *datadriven.TestData) {
		s := w.server(d.CmdArgs[0].Key)
		for _, arg := range d.CmdArgs[1:] {
			s.node.Request(caller(w.number(arg.Key)), &node.Request{Op: node.Cancel})
		}
		s.flush()
	},
	// skew TIME SERVER: how far its clock is ahead
	"skew": func(w *world, d *datadriven.TestData) { w.server(d.CmdArgs[1].Key).skew = span(d.CmdArgs[0].Key) },
	// late SERVER on|off: its machine takes long
	"late": func(w *world, d *datadriven.TestData) { w.server(d.CmdArgs[0].Key).late = d.CmdArgs[1].Key == "on" },
	// turn SERVER [COUNT]: so many turns, in no time
	"turn": func(w *world, d *datadriven.TestData) {
		count := 1
		if len(d.CmdArgs) > 1 {
			count = w.number(d.CmdArgs[1].Key)
		}
		for range count {
			w.server(d.CmdArgs[0].Key).flush()
		}
	},
	// news: the last entry that each server has applied, the last one in its log where there are more, and what has
	// happened to its machine since the last news; of servers that are alike in this, once. news first: what happened
	// since the beginning
	"news": func(w *world, d *datadriven.TestData) {
		var lines []string
		names := map[string][]string{}
		for _, s := range w.servers {
			if s.node == nil {
				continue
			}
			st, all := s.node.State(), s.applied()
			if len(d.CmdArgs) > 0 {
				s.shown = 0
			}
			line := fmt.Sprintf("at %d", st.AppliedIndex)
			if st.LastIndex > st.AppliedIndex {
				line += fmt.Sprintf(" of %d", st.LastIndex)
			}
			line += "; " + strings.Join(all[min(s.shown, len(all)):], " ")
			s.shown = len(all)
			if names[line] == nil {
				lines = append(lines, line)
			}
			names[line] = append(names[line], s.name)
		}
		for _, line := range lines {
			fmt.Fprintf(&w.out, "%s: %s\n", strings.Join(names[line], " "), line)
		}
	},
	// waiting: how many requests are under way at each server, how many of them wait for its machine, and how many sessions
	// there are
	"waiting": func(w *world, d *datadriven.TestData) {
		for _, s := range w.servers {
			if s.node != nil {
				st := s.node.State()
				fmt.Fprintf(&w.out, "%s: %d pending, %d wait, %d sessions\n", s.name, s.node.Pending(), st.Waiting, st.Sessions)
			}
		}
	},
}

// setRequest sets what a request's further words say: deadline=TIME, ttl=TIME, session=ID, seq=N, ack=N. The seq grows from
// line to line.
func (w *world) setRequest(d *datadriven.TestData, line int, r *node.Request) {
	for _, arg := range d.CmdArgs[2:] {
		switch value := arg.Vals[0]; arg.Key {
		case "deadline":
			r.Deadline = span(value)
		case "ttl":
			r.TTL = span(value)
		case "session":
			r.Session.ID = uint64(number(value))
		case "seq":
			r.Session.Seq = uint64(number(value) + line)
		case "ack":
			r.Session.Ack = uint64(number(value))
		default:
			w.t.Fatalf("a request has no %q", arg.Key)
		}
	}
}

// keeper is the machine of the transcripts about timers, deferred answers, waiting queries and sessions. What happened
// is in its list, as a register's. These are its commands:
//
//	add WORD                a word more
//	put KEY VALUE           sets a value, and wakes those who wait for the key
//	drop KEY                it has no value any more
//	wake KEY…               wakes them, without a change
//	defer NAME              is answered later; its ticket gets a name
//	defer NAME error        the same, and fails
//	answer NAME TEXT        answers, as often as it comes
//	answer NAME error CODE  the same, with an error
//	self TEXT               defers, and answers itself
//	stranger TEXT           answers a ticket that is nobody's
//	timer TIME WORD         something to do so long after this command's time
//	at TIME WORD            something to do so long after the epoch
//	move TIME               what is to be done first, is to be done so long after the epoch
//	fail CODE|bad|none|chan fails in one of the ways of commands
//	long KIBIBYTES          has a long answer
//	deep LEVELS             has a deep one
//	object                  has one with members
//	raw, raw-error          has one that is no UTF-8
//	panic                   panics
//
// Queries: get KEY; wait KEY… waits until one of them has a value.
//
// A timer "answer NAME" answers a ticket, one "put KEY" sets a value, "panic" panics, and "again TIME" is done again and
// again. Each call of OnTimer does one thing. When a session ends, its last command's ticket is answered; if the key
// "end" has the value "panic", that panics.
type keeper struct {
	Applied []string                  `json:"applied"`
	Values  map[string]string         `json:"values,omitempty"`
	Tickets map[string]machine.Ticket `json:"tickets,omitempty"`
	Timers  []alarm                   `json:"timers,omitempty"` // in order
	Owned   map[uint64]string         `json:"owned,omitempty"`  // by session: its last ticket
}

// alarm is something to do at a time.
type alarm struct {
	At   int64  `json:"at"` // Unix milliseconds
	What string `json:"what"`
}

func (k *keeper) happened(ctx *machine.Context, words ...any) {
	what := strings.TrimSuffix(fmt.Sprintln(words...), "\n")
	if ctx.Session != 0 {
		what += fmt.Sprint("#", ctx.Session)
	}
	if k.Values == nil {
		k.Values = map[string]string{}
	}
	if k.Tickets == nil {
		k.Tickets = map[string]machine.Ticket{}
	}
	if k.Owned == nil {
		k.Owned = map[uint64]string{}
	}
	k.Applied = append(k.Applied, strings.ReplaceAll(what, " ", "_")+fmt.Sprint("@", ctx.Time.Sub(epoch)))
}

func (k *keeper) Apply(ctx *machine.Context, in string) (any, error) {
	words := strings.Fields(in)
	rest := words[1:]
	if ctx.Kind != machine.Command {
		return k.ask(ctx, words[0], rest)
	}
	k.happened(ctx, in)
	switch words[0] {
	case "put":
		k.set(ctx, rest[0], rest[1])
	case "drop":
		delete(k.Values, rest[0])
	case "wake":
		for _, key := range rest {
			ctx.Wake(key)
		}
	case "defer":
		k.Tickets[rest[0]] = ctx.Defer()
		k.Owned[ctx.Session] = rest[0]
		if len(rest) > 1 && rest[1] == "error" {
			return nil, &machine.Error{Code: 1234, Message: "deferred in vain"}
		}
	case "answer":
		if rest[1] == "error" {
			ctx.Answer(k.Tickets[rest[0]], nil, &machine.Error{Code: number(rest[2]), Message: "late", Data: rest})
		} else {
			ctx.Answer(k.Tickets[rest[0]], rest[1], nil)
		}
	case "self":
		ctx.Answer(ctx.Defer(), rest[0], nil)
	case "stranger":
		ctx.Answer(machine.Ticket{Index: ctx.Index + 1000}, rest[0], nil)
		ctx.Answer(machine.Ticket{}, rest[0], nil)
	case "timer":
		k.alarm(ctx.Time.Add(span(rest[0])), rest[1:])
	case "at":
		k.alarm(epoch.Add(span(rest[0])), rest[1:])
	case "move":
		what := k.Timers[0].What
		k.Timers = k.Timers[1:]
		k.alarm(epoch.Add(span(rest[0])), []string{what})
	case "fail":
		switch rest[0] {
		case "bad":
			return nil, fmt.Errorf("this is bad")
		case "none":
			return nil, machine.ErrNoOutput
		case "chan":
			return make(chan int), nil
		}
		return nil, &machine.Error{Code: number(rest[0]), Message: "own", Data: rest}
	case "long":
		return strings.Repeat("x", number(rest[0])<<10), nil
	case "deep":
		levels := number(rest[0])
		nested := strings.Repeat("[", levels) + strings.Repeat("]", levels)
		return map[string]json.RawMessage{"deep": json.RawMessage(nested)}, nil
	case "object":
		return json.RawMessage(`{"id":1,"user":"bob"}`), nil
	case "raw":
		return map[string]json.RawMessage{"raw": json.RawMessage("\"\xff\"")}, nil
	case "raw-error":
		return nil, &machine.Error{Code: 1000, Message: "mess\xffage", Data: json.RawMessage("\"\xff\"")}
	case "panic":
		panic("at a command")
	}
	return fmt.Sprintf("%s is number %d", in, len(k.Applied)), nil
}

func (k *keeper) ask(ctx *machine.Context, verb string, keys []string) (any, error) {
	for _, key := range keys {
		if v, ok := k.Values[key]; ok {
			return key + "=" + v, nil
		}
	}
	switch {
	case verb == "get":
		return nil, nil
	case ctx.TimedOut:
		return "timed out", nil
	}
	for _, key := range keys {
		ctx.Wait(key)
	}
	return "dropped", nil
}

func (k *keeper) set(ctx *machine.Context, key, value string) {
	k.Values[key] = value
	ctx.Wake(key)
}

func (k *keeper) alarm(at time.Time, what []string) {
	k.Timers = append(k.Timers, alarm{at.UnixMilli(), strings.Join(what, " ")})
	slices.SortStableFunc(k.Timers, func(a, b alarm) int { return int(a.At - b.At) })
}

func (k *keeper) NextTimer() time.Time {
	if len(k.Timers) == 0 {
		return time.Time{}
	}
	return time.UnixMilli(k.Timers[0].At)
}

func (k *keeper) OnTimer(ctx *machine.Context) {
	what := strings.Fields(k.Timers[0].What)
	if k.Timers = k.Timers[1:]; len(k.Timers) == 0 {
		k.Timers = nil
	}
	k.happened(ctx, "timer", strings.Join(what, " "))
	switch what[0] {
	case "answer":
		ctx.Answer(k.Tickets[what[1]], "by the timer", nil)
	case "put":
		k.set(ctx, what[1], "the timer's")
	case "panic":
		panic("at a timer")
	case "again":
		k.alarm(ctx.Time.Add(span(what[1])), what)
	}
}

func (k *keeper) OnSessionEnd(ctx *machine.Context, id uint64) {
	k.happened(ctx, "end", id)
	if k.Values["end"] == "panic" {
		panic("at the end of a session")
	}
	if name, ok := k.Owned[id]; ok {
		ctx.Answer(k.Tickets[name], "by the end of the session", nil)
		delete(k.Owned, id)
	}
	k.set(ctx, fmt.Sprint("session", id), "ended")
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func span(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return d
}
