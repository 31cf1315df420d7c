package main

import "github.com/raftpico/go/machine"

// Idempotency ids: what was done once is not done again.

const (
	idKept  = 86_400_000 // ms: how long an id is remembered, at least
	idRound = 60_000     // ms: ids are forgotten together, once a minute, so that not each of them needs a timer
)

// idempotency is an id that was there.
type idempotency struct {
	Number uint64 // 1, 2, 3, … in the order in which ids came
	Until  int64  // ms: then it is forgotten
}

// duplicate tells that one of a request's ids was there before.
func (m *service) duplicate(r *request) error {
	for _, id := range r.IdempotencyIDs {
		if _, ok := m.IDs.Get(in(r.Tenant, id)); ok {
			return &machine.Error{Code: errDuplicate.Code, Message: errDuplicate.Message, Data: map[string]string{"id": id}}
		}
	}
	return nil
}

// remember keeps an id.
func (m *service) remember(ctx *machine.Context, id string) {
	m.LastID++
	until := (now(ctx)+idKept)/idRound*idRound + idRound
	m.IDs.Set(id, idempotency{m.LastID, until})
	m.size += cost(id, idSize)
	m.ids = append(m.ids, id)
	if len(m.ids) > m.limits.ids {
		m.forgetFirst()
	}
}

// forget drops ids whose time is over.
func (m *service) forget(ctx *machine.Context) {
	for range maxDue {
		if first := m.firstID(); first == 0 || first > now(ctx) {
			return
		}
		m.forgetFirst()
	}
}

// firstID is when the oldest id is forgotten. 0: there is none.
func (m *service) firstID() int64 {
	if len(m.ids) == 0 {
		return 0
	}
	first, _ := m.IDs.Get(m.ids[0])
	return first.Until
}

func (m *service) forgetFirst() {
	id := m.ids[0]
	m.ids[0] = ""
	m.ids = m.ids[1:]
	m.IDs.Delete(id)
	m.size -= cost(id, idSize)
}
