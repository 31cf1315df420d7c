package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/machine/table"
)

// The replicated state, its size, and its snapshots.

// state is what all servers have alike, and what snapshots hold. Names are with their tenants: see in.
type state struct {
	Handle   uint64                   // of the lock that was given last: of all tenants, so that handles only grow
	LastID   uint64                   // the number of the idempotency id that came last
	Held     table.Table[held]        // by lock
	Waiting  table.Table[*waiter]     // by ticket, as text
	Values   table.Table[value]       // by key
	Versions table.Table[uint64]      // by tenant: the version that was given last
	Counters table.Table[int64]       // by key
	IDs      table.Table[idempotency] // by id
}

// value is a value, and its version.
type value struct {
	Version uint64
	Value   json.RawMessage
}

// in is a name of a tenant's.
func in(tenant, name string) string { return tenant + "\x00" + name }

// cost is what something costs: its name, what it holds, and what a table needs for it.
func cost(name string, holds int) int { return len(name) + holds + 100 }

// What things hold beside their names, in bytes.
const (
	heldSize    = 200
	counterSize = 8
	versionSize = 8
	idSize      = 16
)

func (w *waiter) cost() int {
	r := w.Request
	n := cost(w.Lock, 500) + len(r.UnlockID)
	for _, id := range r.IdempotencyIDs {
		n += len(id) + 24
	}
	for i := range r.Atomic {
		n += len(r.Atomic[i].Key) + 80
	}
	for i := range r.KVSet {
		n += len(r.KVSet[i].Key) + len(r.KVSet[i].Value) + 112
	}
	for _, key := range r.KVGet {
		n += len(key) + 24
	}
	return n
}

// growth is at least what a request makes the state grow by. What it deletes is no room for what it sets.
func (s *state) growth(r *request) (n int) {
	if r.LockID != "" && r.LockID != r.UnlockID {
		n += cost(in(r.Tenant, r.LockID), heldSize)
	}
	for _, id := range r.IdempotencyIDs {
		n += cost(in(r.Tenant, id), idSize)
	}
	for i := range r.Atomic {
		key := in(r.Tenant, r.Atomic[i].Key)
		if _, ok := s.Counters.Get(key); !ok {
			n += cost(key, counterSize)
		}
	}
	if _, ok := s.Versions.Get(r.Tenant); !ok && len(r.KVSet) > 0 {
		n += cost(r.Tenant, versionSize)
	}
	for i := range r.KVSet {
		key := in(r.Tenant, r.KVSet[i].Key)
		old, ok := s.Values.Get(key)
		switch {
		case r.KVSet[i].Delete:
		case !ok:
			n += cost(key, len(r.KVSet[i].Value))
		default:
			n += max(0, len(r.KVSet[i].Value)-len(old.Value))
		}
	}
	return n
}

// Capture implements machine.Snapshotter.
func (m *service) Capture() (write func(io.Writer) error, err error) {
	handle, last := m.Handle, m.LastID
	tables := []func(*bufio.Writer) error{
		captured("Held", &m.Held), captured("Waiting", &m.Waiting), captured("Values", &m.Values),
		captured("Versions", &m.Versions), captured("Counters", &m.Counters), captured("IDs", &m.IDs),
	}
	return func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 64<<10) // the tables use it, too
		_, _ = fmt.Fprintf(out, `{"Handle":%d,"LastID":%d`, handle, last)
		for _, write := range tables {
			if err := write(out); err != nil {
				return err
			}
		}
		_ = out.WriteByte('}')
		return out.Flush()
	}, nil
}

// captured takes hold of a table, and writes it as a member of an object later.
func captured[V any](name string, t *table.Table[V]) func(*bufio.Writer) error {
	now := t.Clone()
	return func(out *bufio.Writer) error {
		_, _ = fmt.Fprintf(out, `,%q:`, name)
		return now.Encode(out, nil)
	}
}

// Load implements machine.Snapshotter.
func (m *service) Load(r io.Reader) (install func(), err error) {
	s, err := table.Read[state](r)
	if err != nil {
		return nil, err
	}
	loaded := newEmptyService()
	loaded.state, loaded.limits = *s, m.limits
	if err := loaded.index(); err != nil {
		return nil, err
	}
	return func() { *m = *loaded }, nil
}

// index makes what follows from the state.
func (m *service) index() error {
	for lock, h := range m.Held.All() {
		m.indexHeld(lock, h)
	}
	var waiting []*waiter
	for _, w := range m.Waiting.All() {
		if w == nil || w.Request == nil {
			return fmt.Errorf("a waiter has no request")
		}
		waiting = append(waiting, w)
	}
	slices.SortFunc(waiting, func(a, b *waiter) int { return compareTickets(a.Ticket, b.Ticket) })
	for _, w := range waiting {
		m.indexWaiter(w)
	}
	for key, v := range m.Values.All() {
		m.size += cost(key, len(v.Value))
	}
	for tenant := range m.Versions.All() {
		m.size += cost(tenant, versionSize)
	}
	for key := range m.Counters.All() {
		m.size += cost(key, counterSize)
	}
	numbers := map[string]uint64{}
	for id, is := range m.IDs.All() {
		m.size += cost(id, idSize)
		m.ids = append(m.ids, id)
		numbers[id] = is.Number
	}
	slices.SortFunc(m.ids, func(a, b string) int { return cmp.Compare(numbers[a], numbers[b]) })
	return nil
}

// text is a ticket as a key.
func text(t machine.Ticket) string { return fmt.Sprint(t.Index, ".", t.Offset) }
