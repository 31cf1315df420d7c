package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
)

// state has tables wherever they may be.
type state struct {
	First   Table[string] `json:"first"`
	Number  int
	Absent  Table[int] `json:",omitzero"`
	Here    Table[int] `json:",omitzero"`
	Tenants map[string]*tenant
	Shards  []tenant
	Pair    [2]tenant
	Pointer *Table[map[string]int]
	Nil     *Table[int]
	Order   Sorted[int]
	Lasts   time.Duration
	derived Table[int] // not in a snapshot
}

type tenant struct {
	Keys Table[[]int]
	Last uint64 `json:",omitzero"`
}

func (s *state) Apply(ctx *machine.Context, key string) (any, error) {
	if ctx.Kind != machine.Command {
		return s.Number, nil
	}
	s.Number++
	s.First.Set(key, "é")
	s.Here.Set(key, s.Number)
	s.Order.Set(key, s.Number)
	if s.Tenants == nil {
		s.Tenants, s.Shards, s.Pointer = map[string]*tenant{}, make([]tenant, 2), new(Table[map[string]int])
	}
	if s.Tenants[key] == nil {
		s.Tenants[key] = new(tenant)
	}
	for _, in := range []*tenant{s.Tenants[key], &s.Shards[s.Number%2], &s.Pair[1]} {
		in.Last++
		list, _ := in.Keys.Get(key)
		in.Keys.Set(key, append(list, s.Number))
	}
	s.Pointer.Set(key, map[string]int{key: s.Number})
	s.derived.Set(key, s.Number)
	s.Lasts += time.Second
	return nil, nil
}

// snapshotter is a state with the two methods.
type snapshotter struct{ state }

func (s *snapshotter) Capture() (write func(io.Writer) error, err error) { return Capture(&s.state) }

func (s *snapshotter) Load(r io.Reader) (install func(), err error) {
	fresh, err := Read[state](r)
	return func() { s.state = *fresh }, err
}

// What a capture writes later is, byte for byte, what machine.JSON would have written at its moment.
func TestCaptureIsTheSnapshotOfItsMoment(t *testing.T) {
	with, without := machine.JSON(&snapshotter{}), machine.JSON(&state{})
	for i := range 2000 {
		for _, m := range []machine.Machine{with, without} {
			_, err := m.Apply(machine.NewContext(machine.Command, uint64(i), time.Time{}), fmt.Appendf(nil, `"%d"`, i%300))
			require.NoError(t, err)
		}
		if i%400 > 1 {
			continue
		}
		write, err := with.(machine.Snapshotter).Capture()
		require.NoError(t, err)
		want, err := without.Snapshot()
		require.NoError(t, err)
		for range 300 {
			_, err := with.Apply(machine.NewContext(machine.Command, uint64(i), time.Time{}), []byte(`"x"`))
			require.NoError(t, err)
		}
		var got bytes.Buffer
		require.NoError(t, write(&got))
		require.Equal(t, string(want), got.String())
		install, err := with.(machine.Snapshotter).Load(iotest.HalfReader(&got))
		require.NoError(t, err)
		install()
		again, err := with.Snapshot()
		require.NoError(t, err)
		require.Equal(t, string(want), string(again))
	}
}

// A capture is written on another goroutine while the state changes: the race detector watches.
func TestCaptureIsWrittenBesideChanges(t *testing.T) {
	s := new(snapshotter)
	written := make(chan error, 8)
	for i := range 2000 {
		_, err := s.Apply(&machine.Context{Kind: machine.Command}, fmt.Sprint(i%400))
		require.NoError(t, err)
		if i%250 == 0 {
			write, err := s.Capture()
			require.NoError(t, err)
			go func() { written <- write(io.Discard) }()
		}
	}
	for range 8 {
		require.NoError(t, <-written)
	}
}

func TestReadRefusesBadStates(t *testing.T) {
	for _, bad := range []string{``, `{`, `[]`, `{"first":{}`, `{"first":{}}{}`, `{"first":[]}`, `{"first":{"a":1}}`, `{"unknown":1}`, `{"derived":{}}`, `{"Here":{"a":1.5}}`} {
		_, err := Read[state](strings.NewReader(bad))
		require.Error(t, err, bad)
		install, err := new(snapshotter).Load(strings.NewReader(bad))
		require.Error(t, err, bad)
		require.NotNil(t, install)
	}
	_, err := Read[state](iotest.ErrReader(io.ErrNoProgress))
	require.ErrorIs(t, err, io.ErrNoProgress)
}

// Where a table would not be captured as it is, Capture says so.
func TestMisplacedTables(t *testing.T) {
	type recursive struct {
		Keys Table[*recursive]
		Next *recursive
	}
	type embedded struct {
		Table[int]
		Number int
	}
	type embeddedSorted struct {
		Sorted[int]
		Number int
	}
	for want, capture := range map[string]func() (func(io.Writer) error, error){
		"in the value of a map or of a table": func() (func(io.Writer) error, error) { return Capture(new(map[string]tenant)) },
		"is in the value of a map":            func() (func(io.Writer) error, error) { return Capture(new(struct{ Of Table[*tenant] })) },
		"recursive·1] is in the value":        func() (func(io.Writer) error, error) { return Capture(new(recursive)) },
		"embedded has a table embedded":       func() (func(io.Writer) error, error) { return Capture(new(embedded)) },
		"give the field a name":               func() (func(io.Writer) error, error) { return Capture(new([]*embedded)) },
		"embeddedSorted has a table":          func() (func(io.Writer) error, error) { return Capture(new(embeddedSorted)) },
		"Sorted[int] is in the value":         func() (func(io.Writer) error, error) { return Capture(new(Table[Sorted[int]])) },
	} {
		_, err := capture()
		require.ErrorContains(t, err, want, want)
	}
	_, err := Capture(new(struct {
		Of   map[string]*[]tenant
		Skip map[string]tenant `json:"-"`
	}))
	require.NoError(t, err)
}

func TestCaptureFails(t *testing.T) {
	_, err := Capture(&struct{ F func() }{})
	require.Error(t, err)
	var s snapshotter
	_, err = s.Apply(&machine.Context{Kind: machine.Command}, "\xff")
	require.NoError(t, err)
	write, err := s.Capture()
	if err == nil {
		err = write(io.Discard)
	}
	require.Error(t, err)
	broken := errors.New("broken")
	var table struct{ T Table[int] }
	write, err = Capture(&table)
	require.NoError(t, err)
	require.ErrorIs(t, write(badWriter{broken}), broken)
}

// TestCapturesAreApart captures small states at once, and some that can't be encoded behind their tables.
func TestCapturesAreApart(t *testing.T) {
	type one struct{ Keys Table[int] }
	type two struct {
		Keys, More Table[string]
		Last       any
	}
	capture := func(g, i int) error {
		var a one
		var b two
		a.Keys.Set("a", g)
		b.Keys.Set("b", fmt.Sprint(i))
		b.Last = make(chan int)
		if _, err := Capture(&b); err == nil {
			return errors.New("a channel was encoded")
		}
		b.Last = nil
		writeA, errA := Capture(&a)
		writeB, errB := Capture(&b)
		if err := errors.Join(errA, errB); err != nil {
			return err
		}
		var got strings.Builder
		want := fmt.Sprintf(`{"Keys":{"b":"%d"},"More":{},"Last":null}{"Keys":{"a":%d}}`, i, g)
		if err := errors.Join(writeB(&got), writeA(&got)); err != nil || got.String() != want {
			return fmt.Errorf("got %s, %w, want %s", &got, err, want)
		}
		return nil
	}
	failed := make(chan error, 400)
	for g := range 8 {
		go func() {
			for i := range 50 {
				failed <- capture(g, i)
			}
		}()
	}
	for range 400 {
		require.NoError(t, <-failed)
	}
}

// BenchmarkCaptureSmall is what a machine with a small state pays, such as at each step of machinetest.
func BenchmarkCaptureSmall(b *testing.B) {
	var s tenant
	s.Keys.Set("a", []int{1})
	b.ReportAllocs()
	for b.Loop() {
		write, err := Capture(&s)
		require.NoError(b, err)
		require.NoError(b, write(io.Discard))
	}
}
