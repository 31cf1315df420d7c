//go:build unix

package torture

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/anishathalye/porcupine"
)

// Each tenant has a few locks, counters and values, so that its history is short and its clients meet.
var (
	lockNames    = [...]string{"lock a", "lock b"}
	counterNames = [...]string{"count m", "count n"}
	valueNames   = [...]string{"value x", "value y"}
)

// tenantState is what a tenant has.
type tenantState struct {
	locks    [len(lockNames)]uint64 // handles; 0: free, somebody: who holds it, if anybody, does not know its handle
	counters [len(counterNames)]int64
	values   [len(valueNames)]int64
}

const somebody = math.MaxUint64

// deed is a request to a tenant, and its reply. Blind: it was certainly carried out, once, but its answer is lost.
type deed struct {
	client int
	ask    *ask
	reply
	blind bool
}

func (d deed) String() string {
	return fmt.Sprintf("client %d: %v: %v, blind %v", d.client, d.ask, d.reply, d.blind)
}

// certain tells whether the reply is what the server answered when it carried the request out.
func (d deed) certain() bool { return d.outcome == answered && !d.blind }

// tenantModel says which states a request may leave behind. Locks are held for longer than a run takes, so none expires. One whose
// handle was never told may be given back at any time, since nobody waits for the answer.
var tenantModel = porcupine.NondeterministicModel{
	Init: func() []any { return []any{tenantState{}} },
	Step: func(state, input, output any) []any {
		return steps(state.(tenantState), input.(deed), output.(deed))
	},
	Equal:             func(a, b any) bool { return a == b },
	DescribeOperation: func(_, output any) string { return output.(deed).String() },
	DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
}

func steps(s tenantState, in, out deed) (next []any) {
	a := in.ask
	if a.UnlockID != "" {
		if s.locks[slices.Index(lockNames[:], a.UnlockID)] != a.Unlock {
			return refuses(s, out, notHolder)
		}
	}
	if a.LockID != "" && a.LockID != a.UnlockID {
		switch lock := slices.Index(lockNames[:], a.LockID); s.locks[lock] {
		case 0:
		case somebody: // it may be free
			next = refuses(s, out, notLocked)
		default:
			return refuses(s, out, notLocked)
		}
	}
	if out.why != "" {
		return next
	}
	after, right := s.carryOut(a, out)
	if right || !out.certain() {
		next = append(next, after)
	}
	return next
}

// refuses is the state after a request that must have been answered by a reason.
func refuses(s tenantState, out deed, why string) []any {
	if out.certain() && out.why != why || out.blind {
		return nil
	}
	return []any{s}
}

// carryOut does what is asked, and tells whether the answer is right.
func (s tenantState) carryOut(a *ask, out deed) (after tenantState, right bool) {
	right = len(out.Atomic) == len(a.Atomic) && len(out.KV) == len(a.KVGet)
	for i, c := range a.Atomic {
		at := &s.counters[slices.Index(counterNames[:], c.Key)]
		is := changed{Key: c.Key, Old: *at}
		switch {
		case c.IfEq != nil && *c.IfEq != *at:
			is.Failed = true
		case c.Set != nil:
			*at = *c.Set
		default:
			*at += *c.Add
		}
		if !is.Failed {
			is.New = *at
		}
		right = right && out.Atomic[i] == is
	}
	for i, key := range a.KVGet {
		right = right && out.KV[i].Key == key && out.KV[i].Value == s.values[slices.Index(valueNames[:], key)]
	}
	for _, set := range a.KVSet {
		s.values[slices.Index(valueNames[:], set.Key)] = set.Value // 0 if it is deleted
	}
	if a.UnlockID != "" && a.UnlockID != a.LockID {
		s.locks[slices.Index(lockNames[:], a.UnlockID)] = 0
	}
	if a.LockID != "" {
		lock := &s.locks[slices.Index(lockNames[:], a.LockID)]
		if a.LockID == a.UnlockID {
			right = right && out.Lock == a.Unlock
		} else if *lock = out.Lock; out.Lock == 0 {
			*lock = somebody
			right = false
		}
	} else {
		right = right && out.Lock == 0
	}
	return s, right
}

// judgeTenant says what is wrong with what was done to a tenant.
func judgeTenant(name string, deeds []deed, keep string) error {
	if err := judgeVersions(deeds); err != nil {
		return err
	}
	var ops []porcupine.Operation
	for _, d := range deeds {
		switch {
		case d.outcome == refused, d.outcome == unknown && d.ask.gets():
			continue
		case d.outcome == unknown:
			d.ret = math.MaxInt64
		}
		ops = append(ops, porcupine.Operation{ClientId: d.client, Input: d, Call: d.call, Output: d, Return: d.ret})
	}
	result, info := porcupine.CheckOperationsVerbose(tenantModel.ToModel(), ops, judgePeriod)
	switch result {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("Porcupine has not finished within %v, of %d requests", judgePeriod, len(ops))
	}
	path := filepath.Join(keep, "history-"+name+".html")
	if err := porcupine.VisualizePath(tenantModel.ToModel(), info, path); err != nil {
		path = err.Error()
	}
	return fmt.Errorf("not linearizable: %d requests, see %s", len(ops), path)
}

// judgeVersions checks that each value, which nobody else writes, has one version; that versions grow in the order of writes; and that what
// is missing has version 0.
func judgeVersions(deeds []deed) error {
	wrote := map[int64]deed{}
	for _, d := range deeds {
		for _, s := range d.ask.KVSet {
			if s.Value != 0 && d.outcome != refused && d.why == "" {
				wrote[s.Value] = d
			}
		}
	}
	versions := map[int64]uint64{}
	var all []given
	for _, d := range deeds {
		for _, kv := range d.KV {
			version, seen := versions[kv.Value]
			w, known := wrote[kv.Value]
			switch {
			case kv.Value == 0 && kv.Version != 0, kv.Value != 0 && kv.Version == 0:
				return fmt.Errorf("the value is %d at version %d: %v", kv.Value, kv.Version, d)
			case kv.Value == 0:
			case !known:
				return fmt.Errorf("a value that nobody can have written: %v", d)
			case seen && version != kv.Version:
				return fmt.Errorf("the value %d had version %d: %v", kv.Value, version, d)
			case !seen:
				versions[kv.Value] = kv.Version
				if w.ret = min(w.ret, d.ret); w.outcome == unknown {
					w.ret = d.ret
				}
				all = append(all, given{num(kv.Version), num(kv.Version), w.call, w.ret})
			}
		}
	}
	if err := inOrder(all); err != nil {
		return fmt.Errorf("versions: %w", err)
	}
	return nil
}
