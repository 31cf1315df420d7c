package main

import (
	"cmp"
	"container/heap"
	"time"

	"github.com/raftpico/go/machine"
)

// What happens by time: requests leave their lines, locks are free again, idempotency ids are forgotten.

// maxDue bounds what one OnTimer does. It runs again at once when there is more.
const maxDue = 1000

// NextTimer implements machine.Timer.
func (m *service) NextTimer() time.Time {
	next := m.firstID()
	if len(m.due) > 0 && (next == 0 || m.due[0].at < next) {
		next = m.due[0].at
	}
	if next == 0 {
		return time.Time{}
	}
	return time.UnixMilli(next).UTC()
}

// OnTimer implements machine.Timer.
func (m *service) OnTimer(ctx *machine.Context) {
	for range maxDue {
		if len(m.due) == 0 || m.due[0].at > now(ctx) {
			break
		}
		if first := m.due[0]; first.waiter != nil {
			m.leave(ctx, first.waiter.Ticket)
		} else {
			m.free(first.lock)
			m.serveLines(ctx)
		}
	}
	m.forget(ctx)
}

// item is a moment at which a waiter leaves its line, or a lock is free.
type item struct {
	at     int64 // ms
	waiter *waiter
	lock   string // where there is no waiter
	handle uint64 // the lock's
	place  int    // in due
}

// due is a heap of items. Its order depends on the state alone, and not on how it has come about.
type due []*item

func (d *due) add(i *item)    { heap.Push(d, i) }
func (d *due) remove(i *item) { heap.Remove(d, i.place) }

// Less puts waiters before the locks that they wait for.
func (d due) Less(i, j int) bool {
	a, b := d[i], d[j]
	switch {
	case a.at != b.at:
		return a.at < b.at
	case a.waiter != nil && b.waiter != nil:
		return compareTickets(a.waiter.Ticket, b.waiter.Ticket) < 0
	}
	return a.handle < b.handle // a waiter has none
}

func (d due) Len() int { return len(d) }

func (d due) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}

// Push and Pop are for package heap.
func (d *due) Push(x any) {
	i := x.(*item)
	i.place = len(*d)
	*d = append(*d, i)
}

func (d *due) Pop() any {
	last := len(*d) - 1
	i := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return i
}

// compareTickets puts tickets in the order in which they were given.
func compareTickets(a, b machine.Ticket) int {
	return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.Offset, b.Offset))
}

func now(ctx *machine.Context) int64 { return ctx.Time.UnixMilli() }

// after is the moment some seconds from now, in ms.
func after(ctx *machine.Context, seconds int64) int64 { return now(ctx) + 1000*seconds }
