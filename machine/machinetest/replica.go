package machinetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
)

// replica is one copy of the machine, called as a server calls its own, with all that can be told from one call.
type replica struct {
	m    machine.Machine
	ctx  machine.Context
	kept []kept

	running *atomic.Pointer[call] // the harness's
}

// kept are bytes that must not change any more.
type kept struct {
	bytes []byte
	was   string
	kind  kind
	what  string
}

// result is what comes of a call, in words that can be compared.
type result struct {
	answer   string // as the client would get it
	answers  map[machine.Ticket]string
	wakes    []string // sorted, each once
	waits    []string // the same
	gave     bool     // a ticket, by Defer
	deferred bool
	failed   bool // Apply returned an error
	timer    time.Time
	hash     uint64
}

func newReplica(h *harness) (*replica, *fault) {
	r := &replica{running: h.running}
	f := guard("New", func() { r.m = h.New() })
	if f == nil && r.m == nil {
		f = &fault{kind: noMachine, what: "New has returned nil."}
	}
	return r, f
}

// guard makes a fault of a panic.
func guard(what string, call func()) (f *fault) {
	defer func() {
		if p := recover(); p != nil {
			f = blame(panics, "%s panics: %v", what, p)
			f.stack = stack(debug.Stack())
		}
	}()
	call()
	return nil
}

// stack leaves out of a stack what is above the panic and below the machine.
func stack(all []byte) string {
	lines := strings.Split(strings.TrimSpace(string(all)), "\n")
	if i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "panic(") }); i >= 0 {
		lines = lines[min(i+2, len(lines)):]
	}
	if i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "machinetest.guard(") }); i >= 2 {
		lines = lines[:i-2]
	}
	return strings.Join(lines[:min(len(lines), 16)], "\n")
}

// do carries a call out.
func (r *replica) do(c *call) (res result, f *fault) {
	const room = 8 // behind an input, as in a log entry: append must not write there
	whole := append(bytes.Clone(c.input), make([]byte, room)...)
	input := whole[:len(c.input)]
	r.keep(whole, inputChanged, "the input "+short(c.input))
	r.ctx.Reuse()
	r.ctx.Kind, r.ctx.Cluster, r.ctx.Index, r.ctx.Offset = c.ctx.Kind, c.ctx.Cluster, c.ctx.Index, c.ctx.Offset
	r.ctx.Time, r.ctx.Version, r.ctx.Session = c.ctx.Time, c.ctx.Version, c.ctx.Session
	r.ctx.Upkeep, r.ctx.TimedOut = c.ctx.Upkeep, c.ctx.TimedOut
	r.running.Store(c)
	defer r.running.Store(nil)
	var output any
	var failure error
	f = guard(c.method(), func() {
		switch c.op {
		case upkeep:
			r.m.(machine.Timer).OnTimer(&r.ctx)
		case end:
			r.m.(machine.SessionEnder).OnSessionEnd(&r.ctx, c.session)
		case abandon:
			if m, ok := machine.AsAbandoner(r.m); ok {
				m.OnAbandon(&r.ctx, c.ticket)
			}
		default:
			output, failure = r.m.Apply(&r.ctx, input)
		}
	})
	if f != nil {
		return res, f
	}
	e := r.ctx.Effects()
	if e.Misuse != "" {
		return res, blame(misuse, "%s calls a method of its Context where that does nothing: %s.", c.method(), e.Misuse)
	}
	res.gave, res.deferred, res.failed = e.Deferred, e.Deferred && failure == nil, failure != nil
	res.wakes, res.waits = set(e.Wakes), set(e.Waits)
	switch {
	case res.deferred:
		res.answer = "(deferred)"
	case len(res.waits) > 0:
		res.answer = "(waits for " + quoted(res.waits) + ")"
	case c.op == command || c.op == query || c.op == local:
		if res.answer, f = r.encode(output, failure); f != nil {
			return res, f
		}
	}
	for _, a := range e.Answers {
		if _, twice := res.answers[a.Ticket]; twice {
			continue // the first one counts
		}
		text, f := r.encode(a.Output, a.Err)
		if f != nil {
			return res, f
		}
		if res.answers == nil {
			res.answers = map[machine.Ticket]string{}
		}
		res.answers[a.Ticket] = text
	}
	return r.look(res)
}

// look adds to a result what the machine says by itself.
func (r *replica) look(res result) (result, *fault) {
	var again time.Time
	if t, ok := r.m.(machine.Timer); ok {
		if f := guard("NextTimer", func() { res.timer, again = t.NextTimer(), t.NextTimer() }); f != nil {
			return res, f
		}
		if !res.timer.Equal(again) {
			return res, blame(timerWanders, "NextTimer, called twice, tells %s and %s.", moment(res.timer), moment(again))
		}
	}
	if h, ok := r.m.(machine.Hasher); ok {
		if f := guard("Hash", func() { res.hash = h.Hash() }); f != nil {
			return res, f
		}
	}
	return res, r.unchanged()
}

// maxKept bounds what long sequences remember.
const maxKept = 512

// keep remembers bytes that must not change.
func (r *replica) keep(b []byte, kind kind, what string) {
	if len(r.kept) >= maxKept {
		r.kept = slices.Delete(r.kept, 0, maxKept/2)
	}
	r.kept = append(r.kept, kept{b, string(b), kind, what})
}

// unchanged looks for bytes that have changed.
func (r *replica) unchanged() *fault {
	for _, k := range r.kept {
		if string(k.bytes) != k.was {
			now := short(bytes.TrimRight(k.bytes, "\x00"))
			if strings.TrimRight(k.was, "\x00") == string(k.bytes[:len(strings.TrimRight(k.was, "\x00"))]) {
				now = "as it was, but bytes behind it have changed, which belong to others"
			}
			return &fault{kind: k.kind, what: fmt.Sprintf("%s has changed meanwhile. It is now: %s", k.what, now)}
		}
	}
	return nil
}

// encode turns what a machine answers into what its client would get.
func (r *replica) encode(output any, failure error) (text string, f *fault) {
	bad := func(why any) *fault {
		return blame(badOutput, "the output, a %T, does not become JSON: %v", output, why)
	}
	defer func() { // a method of the output may panic
		if p := recover(); p != nil {
			f = bad(p)
		}
	}()
	if failure != nil {
		return encodeFailure(failure)
	}
	if raw, ok := output.(*json.RawMessage); ok && raw != nil && len(bytes.TrimSpace(*raw)) > 0 {
		output = *raw
	}
	if raw, ok := output.(json.RawMessage); ok {
		if len(bytes.TrimSpace(raw)) == 0 {
			return "null", nil
		}
		if err := jsonrpc.Valid(raw, stateDepth); err != nil {
			return "", bad(fmt.Sprintf("%v: %.200s", err, raw))
		}
		r.keep(raw, outputChanged, "the raw output "+short(raw))
		return string(jsonrpc.Compact(bytes.Clone(raw))), nil
	}
	b, err := json.MarshalWithOption(output, json.DisableHTMLEscape())
	if err != nil {
		return "", bad(err)
	}
	return string(b), nil
}

func encodeFailure(failure error) (string, *fault) {
	var own *machine.Error
	if !errors.As(failure, &own) || own.Code < 1000 {
		return "error: " + failure.Error(), nil
	}
	data, err := json.MarshalWithOption(own.Data, json.DisableHTMLEscape())
	if err != nil {
		return "", blame(badOutput, "the data of the error %v does not become JSON: %v", failure, err)
	}
	return fmt.Sprintf("error %d: %s, data %s", own.Code, own.Message, data), nil
}

// capture takes hold of the state. Write returns it as compact JSON, or fails in the middle, as w does.
func (r *replica) capture() (write func(stop bool) (string, *fault), f *fault) {
	encode := func(w io.Writer) error { return nil }
	var err error
	f = guard("Snapshot", func() {
		if s, ok := r.m.(machine.Snapshotter); ok {
			encode, err = s.Capture()
			return
		}
		var b json.RawMessage
		b, err = r.m.Snapshot()
		r.keep(b, snapshotChanged, "the snapshot "+short(bytes.TrimSpace(b)))
		encode = func(w io.Writer) error { _, err := w.Write(b); return err }
	})
	if f == nil && err != nil {
		f = &fault{kind: noSnapshot, what: "there is no snapshot: " + err.Error()}
	}
	return func(stop bool) (string, *fault) { return encodeState(encode, stop) }, f
}

func encodeState(encode func(io.Writer) error, stop bool) (string, *fault) {
	var out bytes.Buffer
	c := jsonrpc.NewCompactor(&out, stateDepth)
	var w io.Writer = c
	if stop {
		w = broken{}
	}
	var err error
	if f := guard("the write of a snapshot", func() { err = encode(w) }); f != nil {
		return "", f
	}
	switch {
	case stop && err == nil:
		return "", blame(errorLost, "the write of a snapshot has not handed back the error of its io.Writer.")
	case stop:
		return "", nil
	case err == nil:
		err = c.Close()
	}
	if err != nil {
		return "", blame(noSnapshot, "a snapshot can't be written: %v; so far: %s", err, short(out.Bytes()))
	}
	return out.String(), nil
}

// broken is the writer of a snapshot that nobody wants any more.
type broken struct{}

func (broken) Write([]byte) (int, error) {
	return 0, errors.New("machinetest: nobody wants it any more")
}

// snapshot returns the state. Two at once must be equal.
func (r *replica) snapshot() (string, *fault) {
	write, f := r.capture()
	if f != nil {
		return "", f
	}
	return write(false)
}

// steady tells whether the snapshots themselves are to blame for a difference. NB: a loop over a map of two keys may
// begin at the same one seven times out of eight.
func (r *replica) steady() *fault {
	one, f := r.snapshot()
	for range 200 {
		if f != nil {
			return f
		}
		var two string
		if two, f = r.snapshot(); f == nil && one != two {
			return blame(unsteady, "two snapshots of the same state differ:%s", versus("one", one, "two", two))
		}
	}
	return f
}

// load restores a state. Meanwhile runs between Load and its install.
func (r *replica) load(state string, meanwhile func() *fault, beside bool) (f *fault) {
	var err error
	from := append([]byte(state), "room"...)[:len(state)]
	r.keep(from, inputChanged, "the snapshot that was restored, "+short(from)+",")
	s, ok := r.m.(machine.Snapshotter)
	if !ok {
		if f = meanwhile(); f == nil {
			f = guard("Restore", func() { err = r.m.Restore(from) })
		}
		return refused(f, err, state)
	}
	var install func()
	done := make(chan *fault, 1)
	read := func() { done <- guard("Load", func() { install, err = s.Load(pieces{bytes.NewReader(from)}) }) }
	if beside {
		go read()
		f = meanwhile()
	} else {
		read()
		f = meanwhile()
	}
	if loaded := <-done; f == nil {
		f = loaded
	}
	if f == nil && err == nil {
		f = guard("install", install)
	}
	return refused(f, err, state)
}

func refused(f *fault, err error, state string) *fault {
	if f == nil && err != nil {
		f = blame(notRestored, "the machine refuses its own snapshot %s: %v", short([]byte(state)), err)
	}
	return f
}

// pieces gives a snapshot out as a file might, a little at a time.
type pieces struct{ r io.Reader }

func (p pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), 7)]) }

// set sorts keys, and leaves out those that are there twice: their order means nothing.
func set(keys []string) []string {
	keys = slices.Clone(keys)
	slices.Sort(keys)
	return slices.Compact(keys)
}
