package ids

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/oklog/ulid/v2"

	"github.com/raftpico/go/machine"
)

// maxNames is how many sequences there may be. With the longest names, a snapshot of them has some 15 MB.
const maxNames = 100_000

// state is what has been given out. A sequence can't be deleted: it would begin again at 1.
type state struct {
	Next map[string]uint64 // the next id of each sequence; one that is not there is at 1
	Last ulid.ULID         // the last ULID given out, zero if none was
}

// New returns a machine that has given out nothing.
func New() machine.Machine { return machine.JSON(&state{Next: map[string]uint64{}}) }

// Apply carries out one operation.
func (m *state) Apply(ctx *machine.Context, in machine.Union) (any, error) {
	switch in.Tag {
	case TagNextID:
		var name string
		var n uint64
		if err := in.Tuple(&name, &n); err != nil {
			return nil, err
		}
		return m.nextID(ctx, name, n)
	case TagCurID:
		var name string
		if err := in.Decode(&name); err != nil {
			return nil, err
		}
		return m.next(name), checkName(name)
	case TagULIDs:
		var n uint64
		if err := in.Decode(&n); err != nil {
			return nil, err
		}
		return m.ulids(ctx, n)
	}
	return nil, fmt.Errorf("unknown operation %.32q", in.Tag)
}

// nextID takes the next n ids of a sequence.
func (m *state) nextID(ctx *machine.Context, name string, n uint64) (any, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := checkBlock(ctx, TagNextID, n); err != nil {
		return nil, err
	}
	from := m.next(name)
	if left := math.MaxUint64 - from; n > left {
		return nil, usedUp(left)
	}
	if m.Next[name] == 0 && len(m.Next) >= maxNames {
		return nil, &machine.Error{Code: CodeTooManyNames, Message: "Too many sequences", Data: maxNames}
	}
	m.Next[name] = from + n
	return Range{From: from, To: from + n}, nil
}

func (m *state) next(name string) uint64 { return max(m.Next[name], 1) }

// ulids takes the next n ULIDs. They have the present time if it is later than that of the last one, and go on behind the
// last one if it is not: in the same millisecond, or when the clock is behind.
func (m *state) ulids(ctx *machine.Context, n uint64) (any, error) {
	if err := checkBlock(ctx, TagULIDs, n); err != nil {
		return nil, err
	}
	now := uint64(max(ctx.Time.UnixMilli(), 0))
	if now > ulid.MaxTime() {
		return nil, fmt.Errorf("the clock is at %v, and ULIDs end in the year 10889", ctx.Time)
	}
	var first ulid.ULID
	ok := true
	if now > m.Last.Time() {
		first = random(ctx, now)
	} else {
		first, ok = Add(m.Last, 1)
	}
	last, fits := Add(first, n-1)
	if !ok || !fits {
		return nil, usedUp(nil)
	}
	m.Last = last
	return Block{First: first, Last: last}, nil
}

// random is the first ULID of a millisecond. The highest of its 80 random bits is zero, so that at least 2⁷⁹ follow before
// the next millisecond begins.
func random(ctx *machine.Context, ms uint64) (id ulid.ULID) {
	r := ctx.Rand()
	binary.BigEndian.PutUint64(id[:8], ms<<16|r.Uint64()>>49)
	binary.BigEndian.PutUint64(id[8:], r.Uint64())
	return id
}

// usedUp is the error of who asks for more ids than there are. Left is how many there are, nil if nobody counts them.
func usedUp(left any) error {
	return &machine.Error{Code: CodeUsedUp, Message: "Too few ids are left", Data: left}
}

func checkName(name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("a name has 1 to %d bytes, not %d", MaxName, len(name))
	}
	return nil
}

// checkBlock refuses queries, which would change one replica behind the others' backs, and sizes out of bounds.
func checkBlock(ctx *machine.Context, tag string, n uint64) error {
	if ctx.Kind != machine.Command {
		return fmt.Errorf("%s must be a Command, not a %s", tag, ctx.Kind)
	}
	if n < 1 || n > MaxBlock {
		return fmt.Errorf("a block has 1 to %d ids, not %d", MaxBlock, n)
	}
	return nil
}
