package main

import (
	"errors"
	"fmt"

	"github.com/raftpico/go/machine"
)

// Values and counters.

// get reads values.
func (m *service) get(r *request) (all []keyValue, err error) {
	if len(r.KVGet) == 0 {
		return nil, nil
	}
	all = make([]keyValue, len(r.KVGet))
	size := 0
	for i, key := range r.KVGet {
		all[i] = m.keyValue(r.Tenant, key)
		if size += len(all[i].Value); size > maxAnswer {
			return nil, fmt.Errorf("KVGet: the values have more than %d bytes together", maxAnswer)
		}
	}
	return all, nil
}

func (m *service) keyValue(tenant, key string) keyValue {
	v, _ := m.Values.Get(in(tenant, key))
	return keyValue{Key: key, Value: v.Value, Version: v.Version}
}

// watch answers when a value has another version than the client has seen.
func (m *service) watch(ctx *machine.Context, w *watchRequest) (any, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	if ctx.Kind == machine.Command {
		return nil, errors.New("a Watch must be a Query or a LocalQuery, not a Command")
	}
	now := m.keyValue(w.Tenant, w.ID)
	if now.Version == w.Version {
		ctx.Wait(in(w.Tenant, w.ID))
	}
	return now, nil
}

// count computes what becomes of counters. Several operations on one go on from each other.
func (m *service) count(r *request) ([]counterResult, error) {
	if len(r.Atomic) == 0 {
		return nil, nil
	}
	all := make([]counterResult, len(r.Atomic))
	var now map[string]int64 // what earlier operations have changed
	if len(r.Atomic) > 1 {
		now = make(map[string]int64, len(r.Atomic))
	}
	for i := range r.Atomic {
		op := &r.Atomic[i]
		old, ok := now[op.Key]
		if !ok {
			old, _ = m.Counters.Get(in(r.Tenant, op.Key))
		}
		if op.IfEq != nil && *op.IfEq != old {
			all[i] = counterResult{Key: op.Key, Old: old, Failed: true}
			continue
		}
		value, set, err := op.operation()
		if err != nil {
			return nil, err
		}
		if !set {
			sum := old + value
			if (sum > old) != (value > 0) && value != 0 {
				return nil, fmt.Errorf("in Atomic[%d]: %d + %d is more than 64 bits hold", i, old, value)
			}
			value = sum
		}
		all[i] = counterResult{Key: op.Key, Old: old, New: value}
		if now != nil {
			now[op.Key] = value
		}
	}
	return all, nil
}

// setCounter keeps no counter that is 0, so that clients can make room.
func (m *service) setCounter(key string, n int64) {
	var had bool
	if n == 0 {
		_, had = m.Counters.Delete(key)
	} else {
		_, had = m.Counters.Set(key, n)
		m.size += cost(key, counterSize)
	}
	if had {
		m.size -= cost(key, counterSize)
	}
}

// setValue sets or deletes a value. Each time takes a version of its own.
func (m *service) setValue(tenant string, op *setOp) {
	last, ok := m.Versions.Get(tenant)
	if !ok {
		m.size += cost(tenant, versionSize)
	}
	m.Versions.Set(tenant, last+1)
	key := in(tenant, op.Key)
	var old value
	var had bool
	if op.Delete {
		old, had = m.Values.Delete(key)
	} else {
		old, had = m.Values.Set(key, value{last + 1, op.Value})
		m.size += cost(key, len(op.Value))
	}
	if had {
		m.size -= cost(key, len(old.Value))
	}
}
