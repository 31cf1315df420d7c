//go:build unix

package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Tenants that clients send requests of all sorts to, for Porcupine.

// tenant is one of those in use. Guarded by its trial's mu until it is judged.
type tenant struct {
	name   string
	issued int // requests begun
	open   int // of these, not yet ended
	doubts int // of these, unknown
	deeds  []deed
	ids    []string // idempotency ids of requests that were certainly carried out
}

// fresh makes a tenant. The caller holds mu, or is alone.
func (l *locksTrial) fresh() *tenant {
	l.serial++
	return &tenant{name: fmt.Sprintf("tenant%d", l.serial)}
}

// useTenants makes requests of all sorts to the tenants in use.
func (l *locksTrial) useTenants(loading context.Context, d door, rng *rand.Rand, id int) {
	var held []*ask // locks that this client has, in whatever tenants
	for l.turns.take(loading) {
		slot := rng.IntN(tenants)
		l.mu.Lock()
		t := l.live[slot]
		t.issued++
		t.open++
		var used string
		if len(t.ids) > 0 {
			used = t.ids[rng.IntN(len(t.ids))]
		}
		if t.issued == perTenant {
			l.live[slot] = l.fresh()
		}
		l.mu.Unlock()
		held = slices.DeleteFunc(held, func(h *ask) bool { return h.Tenant != t.name && rng.IntN(8) == 0 }) // forgotten
		a := l.draw(rng, t.name, held)
		if len(a.IdempotencyIDs) > 0 && used != "" && rng.IntN(8) == 0 {
			l.sendAgain(loading, d, a, used)
			l.done(t, slot)
			continue
		}
		done := l.carryOut(d, a, id)
		if done.certain() && done.why == "" {
			switch {
			case a.LockID != "" && a.UnlockID == "":
				held = append(held, &ask{Tenant: t.name, UnlockID: a.LockID, Unlock: done.Lock})
			case a.UnlockID != "" && a.LockID == "":
				held = slices.DeleteFunc(held, func(h *ask) bool { return h.Unlock == a.Unlock })
			}
		}
		l.done(t, slot, done)
	}
}

// draw makes a request.
func (l *locksTrial) draw(rng *rand.Rand, tenant string, held []*ask) *ask {
	a := &ask{Tenant: tenant}
	mine := slices.IndexFunc(held, func(h *ask) bool { return h.Tenant == tenant })
	switch n := rng.IntN(10); {
	case n < 4 && mine >= 0: // unlock, or extend
		a.UnlockID, a.Unlock = held[mine].UnlockID, held[mine].Unlock
		if n == 0 {
			a.LockID, a.LockDur = a.UnlockID, longLock
		}
	case n < 4:
		a.LockID, a.LockDur = lockNames[rng.IntN(len(lockNames))], longLock
	case n == 4 && rng.IntN(4) == 0: // with a handle of nobody
		a.UnlockID, a.Unlock = lockNames[rng.IntN(len(lockNames))], 1<<40
	}
	parts := rng.IntN(3)
	if a.LockID == "" && a.UnlockID == "" {
		parts = 1 + rng.IntN(4)
	}
	for range parts {
		switch rng.IntN(5) {
		case 0, 1:
			a.Atomic = append(a.Atomic, drawChange(rng))
		case 2:
			a.KVSet = append(a.KVSet, set{Key: valueNames[rng.IntN(len(valueNames))], Value: l.anotherValue()})
		case 3:
			a.KVGet = append(a.KVGet, valueNames[rng.IntN(len(valueNames))])
		case 4:
			a.KVSet = append(a.KVSet, set{Key: valueNames[rng.IntN(len(valueNames))], Delete: true})
		}
	}
	if a.LockID == "" && a.UnlockID == "" && !a.gets() && rng.IntN(2) == 0 {
		a.IdempotencyIDs = []string{fmt.Sprint("id", l.anotherValue())}
	}
	return a
}

func drawChange(rng *rand.Rand) (c change) {
	c.Key = counterNames[rng.IntN(len(counterNames))]
	n, m := 1+rng.Int64N(9), rng.Int64N(20)
	switch rng.IntN(4) {
	case 0:
		c.Set, c.IfEq = &n, &m
	case 1:
		c.Add, c.IfEq = &n, &m
	default:
		c.Add = &n
	}
	return c
}

// longLock is longer than a run takes, in seconds.
const longLock = 24 * 3600

// carryOut sends a request, with an idempotency id until it is certain that it was carried out.
func (l *locksTrial) carryOut(d door, a *ask, id int) deed {
	done := deed{client: id, ask: a, reply: d.do(l.ctx, a)}
	for first, doubt := done.call, false; len(a.IdempotencyIDs) > 0; {
		doubt = doubt || done.outcome == unknown
		switch {
		case done.outcome == answered && done.why == duplicate:
			if !doubt {
				l.tally.fault(fmt.Errorf("an idempotency id that is new is taken: %v", done))
			}
			done.why, done.blind = "", true
			done.call = first
			return done
		case done.outcome == answered, l.ctx.Err() != nil:
			done.call = first
			return done
		}
		l.count("request sent again")
		doze(l.ctx, 20*time.Millisecond)
		done.reply = d.do(l.ctx, a)
	}
	return done
}

// sendAgain sends a request under an id of one that was carried out before. It must not be.
func (l *locksTrial) sendAgain(loading context.Context, d door, a *ask, used string) {
	a.IdempotencyIDs = append(a.IdempotencyIDs, used)
	if is := d.do(loading, a); is.outcome == answered && is.why != duplicate {
		l.tally.fault(fmt.Errorf("%v was carried out under an idempotency id that was there before: %v", a, is))
	}
	l.count("request under a used id")
}

// done records what was done to a tenant. One that has had its requests is judged.
func (l *locksTrial) done(t *tenant, slot int, deeds ...deed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range deeds {
		l.count("request " + d.outcome.String())
		t.deeds = append(t.deeds, d)
		switch {
		case d.outcome == unknown:
			t.doubts++
		case d.outcome == answered && d.why == "":
			t.ids = append(t.ids, d.ask.IdempotencyIDs...)
			if !d.ask.gets() {
				l.wrote(d.ret)
			}
		}
	}
	if t.doubts >= tooManyDoubts && l.live[slot] == t {
		t.issued = perTenant
		l.live[slot] = l.fresh()
	}
	if t.open--; t.open == 0 && l.live[slot] != t {
		l.full <- t
	}
}

func (l *locksTrial) judge(t *tenant) {
	began := time.Now()
	err := judgeTenant(t.name, t.deeds, l.dir)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.judged += len(t.deeds)
	l.slow = max(l.slow, time.Since(began))
	if err != nil {
		l.faults = append(l.faults, fmt.Errorf("%s: %w", t.name, err))
	}
}

// submitRest has the tenants judged that are in use, when nobody uses them any more.
func (l *locksTrial) submitRest() {
	for i, t := range l.live {
		if t != nil {
			l.live[i] = nil
			l.full <- t
		}
	}
}
