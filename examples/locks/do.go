package main

import "github.com/raftpico/go/machine"

// One request: refused as a whole, or done as a whole.

// do does what a client wants at once, or puts it in line.
func (m *service) do(ctx *machine.Context, r *request) (any, error) {
	out, err := m.prepare(r)
	if err != nil {
		return nil, err
	}
	if r.LockID == "" || r.LockID == r.UnlockID {
		if r.LockID != "" {
			m.extend(ctx, in(r.Tenant, r.LockID), r)
			out.Lock = r.Unlock
		}
		m.commit(ctx, r, &out)
		return out, nil
	}
	lock := in(r.Tenant, r.LockID)
	switch _, taken := m.Held.Get(lock); {
	case taken && r.LockWait == 0:
		return nil, errNotLocked
	case taken:
		return nil, m.enqueue(ctx, lock, r)
	}
	m.give(ctx, lock, r, ctx.Session, ctx.Defer(), &out) // deferred, since OnAbandon hears of such answers only
	return nil, nil
}

// prepare computes what a request would answer now, and changes nothing. An error tells why it can't be done. That it is done
// already comes first: one that unlocks, and is sent again, does not hold its lock any more.
func (m *service) prepare(r *request) (out response, err error) {
	if err := m.duplicate(r); err != nil {
		return out, err
	}
	if r.UnlockID != "" {
		if h, ok := m.Held.Get(in(r.Tenant, r.UnlockID)); !ok || h.Handle != r.Unlock {
			return out, errNotHolder
		}
	}
	if out.Atomic, err = m.count(r); err != nil {
		return out, err
	}
	if out.KV, err = m.get(r); err != nil {
		return out, err
	}
	if more := m.growth(r); more > 0 && m.size+more > m.limits.size {
		return out, errFull
	}
	return out, nil
}

// commit does what prepare has found possible, but for the lock, which the request has got.
func (m *service) commit(ctx *machine.Context, r *request, out *response) {
	for _, id := range r.IdempotencyIDs {
		m.remember(ctx, in(r.Tenant, id))
	}
	for i, done := range out.Atomic {
		if !done.Failed {
			m.setCounter(in(r.Tenant, r.Atomic[i].Key), done.New)
		}
	}
	for i := range r.KVSet {
		m.setValue(r.Tenant, &r.KVSet[i])
		ctx.Wake(in(r.Tenant, r.KVSet[i].Key))
	}
	if r.UnlockID != "" && r.UnlockID != r.LockID {
		m.free(in(r.Tenant, r.UnlockID))
	}
}
