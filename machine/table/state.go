package table

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"reflect"
	"sync"

	"github.com/goccy/go-json/jsontext"
	"github.com/goccy/go-json/v2"

	"github.com/raftpico/go/machine/internal/statejson"
)

// Capture implements Capture of machine.Snapshotter for a state that has tables anywhere in it, beside other fields:
//
//	func (m *locks) Capture() (write func(io.Writer) error, err error) { return table.Capture(m) }
//
// Tables are cloned; everything else is encoded at once, and so should be small. Write puts out the JSON that machine.JSON would
// make of the state: fields by their tags, map keys sorted.
//
// Tables may be fields of structs, and of what pointers, slices, and maps of pointers lead to. They must not be embedded, nor be
// in the value of a map or of another table: that is an error.
func Capture[S any](state *S) (write func(io.Writer) error, err error) {
	if err := misplaced(place{of: reflect.TypeFor[S]()}, map[place]bool{}); err != nil {
		return nil, err
	}
	c := captors.Get().(*captor)
	c.mark = rand.Text() // nobody else can write that
	text, err := json.Marshal(state, statejson.Faithful, c.option)
	mark, parts := c.mark, c.parts
	c.parts = nil
	captors.Put(c)
	if err != nil {
		return nil, fmt.Errorf("table: capture: %w", err)
	}
	between := bytes.Split(text, []byte(`"`+mark+`"`))
	return func(w io.Writer) error {
		for i, part := range parts {
			if _, err := w.Write(between[i]); err != nil {
				return err
			}
			if err := part(w); err != nil {
				return err
			}
		}
		_, err := w.Write(between[len(parts)])
		return err
	}, nil
}

// captor encodes a state with a mark in the place of each table, and captures the tables.
type captor struct {
	mark   string
	parts  []func(io.Writer) error
	option json.Options
}

// captors are used again: package json compiles a state's type anew for each new set of marshalers, which takes far longer than
// to encode a small state.
var captors = sync.Pool{New: func() any {
	c := &captor{}
	c.option = json.WithMarshalers(json.MarshalToFunc(func(e *jsontext.Encoder, t table) error {
		c.parts = append(c.parts, t.capture())
		return e.WriteToken(jsontext.String(c.mark))
	}))
	return c
}}

// Read reads a state that the write of a Capture has put out, to the end of r: a table at a time, key by key. It is as strict as
// machine.JSON is: unknown members are an error, missing ones are zero. With it a machine implements Load of machine.Snapshotter:
//
//	func (m *locks) Load(r io.Reader) (install func(), err error) {
//		fresh, err := table.Read[locks](r)
//		return func() { *m = *fresh }, err
//	}
//
// What a machine keeps that is not in its snapshots, such as an index, Load makes anew in fresh.
func Read[S any](r io.Reader) (*S, error) {
	state := new(S)
	if err := json.UnmarshalRead(r, state, statejson.Strict, jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, fmt.Errorf("table: read: %w", err)
	}
	return state, nil
}

// table is any *Table.
type table interface {
	capture() (write func(io.Writer) error)
	types() (self, values reflect.Type)
}

func (t *Table[V]) capture() func(io.Writer) error {
	captured := t.Clone()
	return func(w io.Writer) error { return captured.Encode(w, nil) }
}

func (*Table[V]) types() (self, values reflect.Type) {
	return reflect.TypeFor[Table[V]](), reflect.TypeFor[V]()
}

// place is where in a state a type is.
type place struct {
	of     reflect.Type
	copied bool // the encoder sees a copy
	frozen bool // in a value of a table
}

// misplaced is an error if there is a table where Capture would clone a copy of it, or see nothing else of a struct.
func misplaced(p place, seen map[place]bool) error {
	if seen[p] {
		return nil
	}
	seen[p] = true
	if t, ok := reflect.New(p.of).Interface().(table); ok && p.of.Kind() == reflect.Struct {
		self, values := t.types()
		switch {
		case p.of != self:
			return fmt.Errorf("table: %v has a table embedded: give the field a name", p.of)
		case p.copied || p.frozen:
			return fmt.Errorf("table: %v is in the value of a map or of a table: use pointers, or one table with longer keys", p.of)
		}
		return misplaced(place{of: values, frozen: true}, seen)
	}
	switch p.of.Kind() {
	case reflect.Pointer, reflect.Slice:
		return misplaced(place{of: p.of.Elem(), frozen: p.frozen}, seen)
	case reflect.Array:
		return misplaced(place{p.of.Elem(), p.copied, p.frozen}, seen)
	case reflect.Map:
		return misplaced(place{p.of.Elem(), true, p.frozen}, seen)
	case reflect.Struct:
		for f := range p.of.Fields() {
			if f.Tag.Get("json") == "-" || !f.IsExported() && !f.Anonymous {
				continue
			}
			if err := misplaced(place{f.Type, p.copied, p.frozen}, seen); err != nil {
				return err
			}
		}
	}
	return nil
}
