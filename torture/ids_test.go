//go:build unix

package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	retrying "github.com/raftpico/go/client"
	"github.com/raftpico/go/machine"
)

// TestIDs runs clusters of ids through faults.
func TestIDs(t *testing.T) { tortureAll(t, &idsService) }

var idsService = service{
	program: "ids", command: map[string]any{"NextID": []any{"frozen", 1}}, query: map[string]any{"CurID": "frozen"},
	deadline: usualDeadline, begin: beginIDs,
}

const (
	usualDeadline = 10 * time.Second // of servers with the limits that they have by themselves

	idsRough = 6 // clients to whom unknown outcomes stay unknown,
	idsSure  = 4 // and who use package client

	longestBlock = 50
	clockError   = time.Second // by which a ULID's time may be beside that of its request: a server may have been busy
)

// idsTrial is clients that take blocks of ids, and programs that use package idclient.
type idsTrial struct {
	*run
	turns   turns
	ctx     context.Context // ends when the run is broken off
	giveUp  context.CancelFunc
	clients []*retrying.Client
	wg      sync.WaitGroup

	mu        sync.Mutex
	sequences map[string]*sequence
	ulids     []given
	lives     int // of programs
	pauses    int
}

func beginIDs(r *run, loading context.Context, rate int) trial {
	i := &idsTrial{run: r, turns: make(turns, 16), sequences: map[string]*sequence{}}
	i.ctx, i.giveUp = context.WithCancel(r.ctx)
	i.wg.Go(func() { i.turns.give(loading, rate) })
	for id := range idsRough {
		i.wg.Go(func() { i.take(loading, r.rough(id)) })
	}
	for id := range idsSure {
		c := retrying.New(r.addrs()...)
		i.clients = append(i.clients, c)
		i.wg.Go(func() { i.takeSurely(loading, c, r.rough(100+id)) })
	}
	i.beginPrograms(loading)
	return i
}

// sequence is the one of a name. The caller holds mu.
func (i *idsTrial) sequence(name string) *sequence {
	if i.sequences[name] == nil {
		i.sequences[name] = &sequence{name: name}
	}
	return i.sequences[name]
}

// request draws something to ask for: a block of a sequence, a block of ULIDs, or the next id. All clients share two sequences; each
// has one more, in which nothing may be missing if it is certain of all.
func (c *rough) request(own string) (name string, n uint64, kind machine.Kind, input any) {
	names := [...]string{"shared 1", "shared 2", own}
	name, n = names[c.rng.IntN(len(names))], 1+c.rng.Uint64N(longestBlock)
	switch c.rng.IntN(5) {
	case 0:
		return name, 0, machine.Query, map[string]any{"CurID": name}
	case 1:
		return "", n, machine.Command, map[string]any{"Ulids": n}
	}
	return name, n, machine.Command, map[string]any{"NextID": []any{name, n}}
}

// take asks for ids until the load ends. What is lost is lost.
func (i *idsTrial) take(loading context.Context, c *rough) {
	defer c.close()
	own := fmt.Sprintf("rough %d", c.rng.Uint64())
	for i.turns.take(loading) && c.connect(loading) {
		name, n, kind, input := c.request(own)
		var out json.RawMessage
		is := c.apply(kind, input, 0, &out)
		if is.err != nil {
			i.tally.fault(fmt.Errorf("%v was answered %w", input, is.err))
		} else {
			i.note(name, n, out, is)
		}
	}
}

// takeSurely asks by package client: everything must be answered.
func (i *idsTrial) takeSurely(loading context.Context, c *retrying.Client, drawing *rough) {
	own := fmt.Sprintf("sure %d", drawing.rng.Uint64())
	for i.turns.take(loading) {
		name, n, kind, input := drawing.request(own)
		ctx, cancel := context.WithTimeout(i.ctx, longest)
		is := result{call: i.tally.now()}
		out, err := retrying.Call[json.RawMessage](ctx, c, kind, input)
		is.ret = i.tally.now()
		cancel()
		if err != nil {
			if i.ctx.Err() == nil {
				i.tally.fault(fmt.Errorf("%v through package client: %w", input, err))
			}
			return
		}
		i.note(name, n, out, is)
	}
}

// note records what became of a request for n ids of a name, "" for ULIDs; for 0 ids it was a look.
func (i *idsTrial) note(name string, n uint64, out json.RawMessage, is result) {
	what := "block"
	switch {
	case n == 0:
		what = "look"
	case name == "":
		what = "ULIDs"
	}
	i.tally.count(what + " " + is.outcome.String())
	i.mu.Lock()
	defer i.mu.Unlock()
	if is.outcome != answered {
		if is.outcome == unknown && n > 0 && name != "" {
			s := i.sequence(name)
			s.lost = append(s.lost, lost{n, is.call})
		}
		return
	}
	if n > 0 {
		i.tally.wrote(is.ret)
	}
	if err := i.noteAnswer(name, n, out, is); err != nil {
		i.tally.fault(fmt.Errorf("%s of %q, %d: %.200s: %w", what, name, n, out, err))
	}
}

func (i *idsTrial) noteAnswer(name string, n uint64, out json.RawMessage, is result) error {
	switch {
	case n == 0:
		var next uint64
		if err := json.Unmarshal(out, &next); err != nil {
			return err
		}
		s := i.sequence(name)
		s.looks = append(s.looks, look{next, is.call, is.ret})
	case name == "":
		var block struct{ First, Last ulid.ULID }
		if err := json.Unmarshal(out, &block); err != nil {
			return err
		}
		first, last := ulidNumber(block.First), ulidNumber(block.Last)
		if last.low-first.low != n-1 {
			return fmt.Errorf("these are not %d", n)
		}
		i.ulids = append(i.ulids, given{first, last, is.call, is.ret})
		return i.timely(block.First, is)
	default:
		var block struct{ From, To uint64 }
		if err := json.Unmarshal(out, &block); err != nil {
			return err
		}
		if block.To-block.From != n || block.From == 0 {
			return fmt.Errorf("these are not %d", n)
		}
		s := i.sequence(name)
		s.given = append(s.given, given{num(block.From), num(block.To - 1), is.call, is.ret})
	}
	return nil
}

// timely checks that a ULID has the time of its request: all servers have the same clock, and it does not jump.
func (i *idsTrial) timely(id ulid.ULID, is result) error {
	at := ulid.Time(id.Time()).Sub(i.tally.began)
	if at < time.Duration(is.call)-clockError || at > time.Duration(is.ret)+clockError {
		return fmt.Errorf("its time is %v, and it was asked for between %v and %v", at, time.Duration(is.call), time.Duration(is.ret))
	}
	return nil
}

func (i *idsTrial) finish() { i.wg.Wait() }

func (i *idsTrial) breakOff() {
	i.giveUp()
	i.wg.Wait()
	for _, c := range i.clients {
		_ = c.Close()
	}
}

// check asks once more for each sequence, when all servers have been killed: nothing is given again, and nothing left out.
func (i *idsTrial) check() {
	i.t.Helper()
	i.mu.Lock()
	names := slices.Sorted(maps.Keys(i.sequences))
	i.mu.Unlock()
	c := i.clients[0]
	for _, name := range append(names, "") {
		for _, n := range []uint64{0, 1, 0} {
			input, kind := map[string]any{"CurID": name}, machine.Query
			switch {
			case n > 0 && name == "":
				input, kind = map[string]any{"Ulids": n}, machine.Command
			case n > 0:
				input, kind = map[string]any{"NextID": []any{name, n}}, machine.Command
			case name == "":
				continue
			}
			ctx, cancel := context.WithTimeout(i.ctx, longest)
			is := result{call: i.tally.now()}
			out, err := retrying.Call[json.RawMessage](ctx, c, kind, input)
			is.ret = i.tally.now()
			cancel()
			require.NoError(i.t, err, "%v", input)
			i.note(name, n, out, is)
		}
	}
	for _, c := range i.clients {
		require.NoError(i.t, c.Close())
	}
}

func (i *idsTrial) inspect() {}

func (i *idsTrial) verdict() (faults []error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(i.sequences)) {
		if err := i.sequences[name].judge(); err != nil {
			faults = append(faults, fmt.Errorf("sequence %q: %w", name, err))
		}
	}
	if err := inOrder(i.ulids); err != nil {
		faults = append(faults, fmt.Errorf("ULIDs: %w", err))
	}
	return faults
}

func (i *idsTrial) report() string {
	blocks, lost := 0, 0
	for _, s := range i.sequences {
		blocks += len(s.given)
		lost += len(s.lost)
	}
	return fmt.Sprintf("\n  %d sequences, %d blocks of them, %d in doubt; %d blocks of ULIDs; programs with package idclient lived %d times and stood still %d times",
		len(i.sequences), blocks, lost, len(i.ulids), i.lives, i.pauses)
}
