package machinetest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/raftpico/go/machine"
)

// kind is what is wrong, in words for whoever has written the machine. A shorter script must show the same.
type kind string

const (
	noMachine       kind = "New gives no machine"
	shared          kind = "two machines from New are not independent"
	panics          kind = "the machine panics"
	misuse          kind = "the machine calls its Context in the wrong place"
	badOutput       kind = "an output is not JSON"
	inputChanged    kind = "the machine changes what was handed to it"
	outputChanged   kind = "a raw output changes after it was returned"
	snapshotChanged kind = "a snapshot changes after it was returned"
	noSnapshot      kind = "the state has no snapshot"
	unsteady        kind = "the same state gives different snapshots"
	notRestored     kind = "a snapshot can't be restored"
	errorLost       kind = "an error is lost"
	lateCapture     kind = "a captured snapshot is not the state of its moment"
	readWrites      kind = "the state changes in a call that must not change it"
	copiesDiffer    kind = "two machines that got the same commands differ"
	restoredDiffers kind = "a restored machine is not what it was"
	timerWanders    kind = "NextTimer tells something else each time"
	timerStays      kind = "a timer stays due for ever"
	strangeTicket   kind = "an answer is for a ticket that was never given"
	answersGone     kind = "an answer is for a client that has gone"
	lostWake        kind = "a waiting query is not woken"
	judgesState     kind = "an input is judged by more than the input"
	wrongVersion    kind = "the machine's version is wrong"
	wrongHash       kind = "the hash does not go with the state"
)

// hints tell what most often causes a kind of fault.
var hints = map[kind]string{
	shared: "A global variable, a map or a pointer that New hands to every machine makes servers differ. Make all " +
		"anew.",
	panics: "A panic in a command ends the server, and the same command ends all others; after one in a query the " +
		"client gets an internal error. Check the input and the state first.",
	misuse: "Check ctx.Kind: the same input may come as a Command, a Query or a LocalQuery.",
	badOutput: "The client would get wire error 104. Not everything becomes JSON: channels, functions, NaN, a " +
		"json.RawMessage that holds something else.",
	inputChanged: "Inputs and snapshots belong to the server. Take a copy (bytes.Clone) of what is to be changed or " +
		"appended to.",
	outputChanged: "The bytes may be sent later. Return a copy (bytes.Clone), or never write to bytes that were " +
		"returned.",
	snapshotChanged: "The bytes may be written later. Make new ones each time.",
	noSnapshot: "Without snapshots the log grows without end, and servers can't be compared. A snapshot must be one " +
		"JSON value. machine.JSON makes it of the fields that are exported.",
	unsteady: "Servers compare their snapshots byte for byte. Most often it is the order of a map: encoding/json " +
		"sorts the keys, a loop over a map must sort them itself.",
	notRestored: "A server that can't restore a snapshot ends. What MarshalJSON writes UnmarshalJSON must read.",
	errorLost:   "The server would take half a snapshot for a whole one.",
	lateCapture: "Capture must take hold of the state, so that what Apply changes later is not seen by write: copy " +
		"what is changed.",
	readWrites: "Only Apply with ctx.Kind Command, OnTimer, OnSessionEnd and OnAbandon may change the state: all else " +
		"runs on one server and not on the others, whose states then differ.",
	copiesDiffer: "A command may depend on the state, its input and its Context alone. Most often it is time.Now " +
		"instead of ctx.Time, the order of a map, a random number that is not from ctx.Rand, a global " +
		"variable, or a pointer's address. (The first one was also asked for snapshots in between.)",
	restoredDiffers: "A snapshot must hold all that counts. Most often a field is not exported (JSON leaves it out), has a " +
		"tag that drops it, or is an interface or time that comes back as something else. Restore must leave " +
		"nothing of the old state.",
	timerWanders: "NextTimer must be computed from the state alone, without time.Now.",
	timerStays:   "The cluster would write log entries for ever. OnTimer must do what is due, and so move NextTimer on.",
	strangeTicket: "Nobody gets this answer. Keep the Ticket that Defer returns in the state, as it is, until it is " +
		"answered. (The zero Ticket, and one that has been answered, are no faults.)",
	answersGone: "Nobody gets this answer, and what was given with it is lost. OnAbandon must take the client out of every " +
		"line, and forget its Ticket.",
	lostWake: "It would wait until its deadline. Whatever changes what a query waits for must call Wake with the " +
		"same key. One that waits for a time is woken by OnTimer.",
	judgesState: "Validate and Needs run on the server that was asked, whose state may be older or newer than the one " +
		"that the command will meet. They may look at the input alone; Apply checks the rest.",
	wrongVersion: "Version must be a constant, and not negative.",
	wrongHash: "Servers compare hashes to find states that differ. Equal states must have equal hashes, also after " +
		"Restore, and other states others.",
}

// fault is something wrong, with the calls that led to it.
type fault struct {
	kind  kind
	what  string // what was seen at the last call
	stack string // of a panic
	trace []*call
	hint  string // before that of its kind
}

func blame(kind kind, format string, args ...any) *fault {
	return &fault{kind: kind, what: fmt.Sprintf(format, args...)}
}

// String tells all, in several lines.
func (f *fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "machinetest: %s\n\n", f.kind)
	for i, c := range f.trace {
		fmt.Fprintf(&b, "%4d. %s\n", i+1, c)
	}
	if len(f.trace) > 0 {
		fmt.Fprintln(&b)
	}
	first, rest := f.what[:1], f.what[1:]
	fmt.Fprintln(&b, strings.ToUpper(first)+rest)
	if f.stack != "" {
		fmt.Fprintf(&b, "\n%s\n", f.stack)
	}
	if hint := f.hint + hints[f.kind]; hint != "" {
		fmt.Fprintf(&b, "\n%s\n", wrapped(hint))
	}
	return b.String()
}

// call is what has been done in a step: enough to do it again on another copy.
type call struct {
	op      op
	ctx     machine.Context
	input   []byte
	session uint64         // that has ended
	ticket  machine.Ticket // that is abandoned
	dirt    [][]byte       // what the machine did that was restored
	stop    bool           // the writer of the snapshot fails
	again   string         // why a query runs once more
	refusal string         // by Validate or Needs

	res   result
	after string // the snapshot then
}

// method is the machine's method that is called.
func (c *call) method() string {
	switch c.op {
	case upkeep:
		return "OnTimer"
	case end:
		return "OnSessionEnd"
	case abandon:
		return "OnAbandon"
	}
	return fmt.Sprintf("Apply of the %s %s", c.ctx.Kind, short(c.input))
}

// writes tells whether all servers carry the call out.
func (c *call) writes() bool {
	return c.op == command || c.op == upkeep || c.op == abandon || c.op == end && c.ctx.Upkeep
}

// reads tells whether it is a query.
func (c *call) reads() bool { return c.op == query || c.op == local }

// String describes the call in a line.
func (c *call) String() string {
	var b strings.Builder
	switch c.op {
	case command, query, local:
		fmt.Fprintf(&b, "%s %s", c.ctx.Kind, short(c.input))
	case turnedAway:
		fmt.Fprintf(&b, "Command %s is refused before it is logged: %s", short(c.input), c.refusal)
		return b.String()
	case upkeep:
		fmt.Fprintf(&b, "OnTimer")
	case end:
		fmt.Fprintf(&b, "session %d ends", c.session)
	case abandon:
		fmt.Fprintf(&b, "OnAbandon of %d.%d", c.ticket.Index, c.ticket.Offset)
	case pass:
		return "time goes by"
	case open:
		return fmt.Sprintf("session %d is opened", c.session)
	case raise:
		return fmt.Sprintf("the cluster's version becomes %d", c.ctx.Version)
	case restore:
		if len(c.dirt) == 0 {
			return "a new machine is restored from a snapshot of the first one"
		}
		const text = "a used machine, which had applied %s, is restored from a snapshot of the first one"
		return fmt.Sprintf(text, list(c.dirt))
	case capture:
		return "the state is captured, to be written later"
	case write:
		return "the captured state is written"
	}
	if c.writes() {
		fmt.Fprintf(&b, " at %s, index %d.%d", c.ctx.Time.Format("15:04:05.000"), c.ctx.Index, c.ctx.Offset)
		if c.ctx.Session != 0 {
			fmt.Fprintf(&b, ", session %d", c.ctx.Session)
		}
	}
	if c.again != "" {
		fmt.Fprintf(&b, " once more: %s", c.again)
	}
	if c.res.answer != "" {
		fmt.Fprintf(&b, "  → %s", short([]byte(c.res.answer)))
	}
	for _, ticket := range sortedTickets(c.res.answers) {
		fmt.Fprintf(&b, "; answers %d.%d: %s", ticket.Index, ticket.Offset, short([]byte(c.res.answers[ticket])))
	}
	if len(c.res.wakes) > 0 {
		fmt.Fprintf(&b, "; wakes %s", quoted(c.res.wakes))
	}
	return b.String()
}

// short cuts a text for people.
func short(b []byte) string {
	const most = 300
	if len(b) <= most {
		return string(b)
	}
	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(string(b[:most]), ""), len(b))
}

// versus shows two texts from a little before they begin to differ.
func versus(oneIs, one, twoIs, two string) string {
	same := 0
	for same < min(len(one), len(two)) && one[same] == two[same] {
		same++
	}
	from := max(0, same-60)
	if len(one) < 200 && len(two) < 200 {
		from = 0
	}
	cut := func(s string) string {
		text := short([]byte(s[from:]))
		if from > 0 {
			text = "…" + strings.ToValidUTF8(text, "")
		}
		return text
	}
	width := max(len(oneIs), len(twoIs))
	return fmt.Sprintf("\n  %-*s  %s\n  %-*s  %s", width, oneIs, cut(one), width, twoIs, cut(two))
}

// wrapped breaks a text into lines that are read with ease.
func wrapped(text string) string {
	const width = 100
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
		case column+1+len(word) > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}

func quoted(keys []string) string {
	var b strings.Builder
	for i, k := range keys {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", short([]byte(k)))
	}
	return b.String()
}

func list(inputs [][]byte) string {
	texts := make([]string, len(inputs))
	for i, in := range inputs {
		texts[i] = short(in)
	}
	return strings.Join(texts, ", ")
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05.999999999")
}

func sortedTickets(answers map[machine.Ticket]string) []machine.Ticket {
	return slices.SortedFunc(maps.Keys(answers), func(a, b machine.Ticket) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.Offset, b.Offset))
	})
}
