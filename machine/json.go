package machine

import (
	"bytes"
	"fmt"
	"reflect"
	"time"

	json1 "github.com/goccy/go-json"
	"github.com/goccy/go-json/jsontext"
	"github.com/goccy/go-json/v2"

	"github.com/raftpico/go/machine/internal/statejson"
)

// JSON makes a Machine of a state S with a method Apply that takes its input as a Go value: machine.JSON(&counter{}).
//
// Inputs are decoded strictly, by the rules of encoding/json/v2: unknown members, members in another case, duplicate
// members, invalid UTF-8, half of a surrogate pair, numbers that don't fit and text behind the value are errors; a member
// left out, or null, is the zero value. Numbers keep their digits in a json.Number or json.RawMessage; in an any they
// become float64. The decoded input is the state's own and shares no memory with the server, but for the Value of a Union.
//
// Snapshots are the state's own JSON, map keys sorted, raw values as they are. A restored state must behave like the
// one it was taken from, so all that counts must be in exported fields (or in MarshalJSON and UnmarshalJSON). Restore
// decodes into a fresh S and, if that succeeds, assigns it to *m as a whole. A member unknown to S is an error: it
// was written by a newer build, and to drop it would make this server's state differ in silence. Missing members are
// zero. So a new build may add fields; it must be Versioned, and leave a new one out of its snapshots (omitzero) until
// the cluster has the version that uses it. A map S is never nil.
//
// The optional methods of M become those of the result. Two take an In: Validate(In) error and Needs(In) int; those of
// Versioned, Hasher, Snapshotter, Timer, SessionEnder and Abandoner are as they are. From now on m is the server's: nobody
// else may use it. A nil m makes a nil Machine, which no server takes.
func JSON[S, In any, M interface {
	*S
	Apply(*Context, In) (any, error)
}](m M) Machine {
	if m == nil {
		return nil
	}
	makeMap(m)
	a := &adapter[S, In]{state: m, apply: m.Apply}
	if v, ok := any(m).(interface{ Validate(In) error }); ok {
		a.validate = v.Validate
	}
	if n, ok := any(m).(interface{ Needs(In) int }); ok {
		a.needs = n.Needs
	}
	if v, ok := any(m).(Versioned); ok {
		a.version = v.Version
	}
	if t, ok := any(m).(Timer); ok {
		a.timer = t
	}
	if e, ok := any(m).(SessionEnder); ok {
		a.ender = e
	}
	if b, ok := any(m).(Abandoner); ok {
		a.abandoner = b
	}
	s, captures := any(m).(Snapshotter)
	h, hashes := any(m).(Hasher)
	switch {
	case captures && hashes:
		return struct {
			*adapter[S, In]
			Snapshotter
			Hasher
		}{a, s, h}
	case captures:
		return struct {
			*adapter[S, In]
			Snapshotter
		}{a, s}
	case hashes:
		return struct {
			*adapter[S, In]
			Hasher
		}{a, h}
	}
	return a
}

// adapter has the optional methods that there may be without saying anything: it refuses nothing, is of version 0, and
// wants no timer.
type adapter[S, In any] struct {
	state    *S
	apply    func(*Context, In) (any, error)
	validate func(In) error // nil: the state has none, and so on
	needs    func(In) int
	version  func() int
	timer    Timer
	ender    SessionEnder

	abandoner Abandoner
	tag       string // of the last Union: most often the next one's is the same
}

func (a *adapter[S, In]) Apply(ctx *Context, input json1.RawMessage) (any, error) {
	in, err := a.decode(input)
	if err != nil {
		return nil, err
	}
	return a.apply(ctx, in)
}

func (a *adapter[S, In]) Snapshot() (json1.RawMessage, error) {
	b, err := json.Marshal(a.state, statejson.Faithful)
	if err != nil {
		return nil, fmt.Errorf("machine: snapshot: %w", err)
	}
	return b, nil
}

func (a *adapter[S, In]) Restore(snapshot json1.RawMessage) error {
	fresh := new(S) // not *state: a decoder leaves keys in a map that the snapshot does not have
	if err := json.Unmarshal(snapshot, fresh, statejson.Strict, jsontext.AllowDuplicateNames(true)); err != nil {
		return fmt.Errorf("machine: restore: %w", err)
	}
	makeMap(fresh)
	*a.state = *fresh
	return nil
}

// Validate implements Validator.
func (a *adapter[S, In]) Validate(input json1.RawMessage) error {
	if err := paired(input); err != nil {
		return err
	}
	if a.validate == nil {
		return nil
	}
	in, err := a.decode(input)
	if err != nil {
		return err
	}
	return a.validate(in)
}

// paired is an error if a string of valid JSON has half of a surrogate pair. That is no text, so a state that holds it as a raw
// value could be put in no snapshot. NB: Apply decodes it in a Union all the same: logs of older builds may have it, and what
// they have acknowledged stays.
func paired(input json1.RawMessage) error {
	if !bytes.Contains(input, []byte(`\u`)) || jsontext.Value(input).IsValid(jsontext.AllowDuplicateNames(true)) {
		return nil
	}
	_, err := jsontext.NewDecoder(bytes.NewReader(input), jsontext.AllowDuplicateNames(true)).ReadValue()
	return inJSON(err)
}

// Needs implements Needer. What can't be decoded Apply refuses in all versions.
func (a *adapter[S, In]) Needs(input json1.RawMessage) int {
	if a.needs == nil {
		return 0
	}
	in, err := a.decode(input)
	if err != nil {
		return 0
	}
	return a.needs(in)
}

// Version implements Versioned.
func (a *adapter[S, In]) Version() int {
	if a.version == nil {
		return 0
	}
	return a.version()
}

// NextTimer implements Timer.
func (a *adapter[S, In]) NextTimer() time.Time {
	if a.timer == nil {
		return time.Time{}
	}
	return a.timer.NextTimer()
}

// OnTimer implements Timer.
func (a *adapter[S, In]) OnTimer(ctx *Context) {
	if a.timer != nil {
		a.timer.OnTimer(ctx)
	}
}

// OnSessionEnd implements SessionEnder.
func (a *adapter[S, In]) OnSessionEnd(ctx *Context, id uint64) {
	if a.ender != nil {
		a.ender.OnSessionEnd(ctx, id)
	}
}

// OnAbandon implements Abandoner.
func (a *adapter[S, In]) OnAbandon(ctx *Context, t Ticket) {
	if a.abandoner != nil {
		a.abandoner.OnAbandon(ctx, t)
	}
}

func (a *adapter[S, In]) asAbandoner() Abandoner { return a.abandoner }

func (a *adapter[S, In]) decode(input json1.RawMessage) (in In, err error) {
	if u, ok := any(&in).(*Union); ok { // the server has checked the input, and need not see it decoded twice
		err = u.alias(input, a.tag)
		a.tag = u.Tag
		return in, err
	}
	err = json.UnmarshalOf(input, &in, statejson.Strict)
	return in, inJSON(err)
}

// makeMap makes the map that state points to, if it points to a nil one: new(S) is then ready to be written to.
func makeMap(state any) {
	if v := reflect.ValueOf(state).Elem(); v.Kind() == reflect.Map && v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
}
