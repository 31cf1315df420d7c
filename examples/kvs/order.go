package main

import (
	"iter"
	"slices"
	"strings"
)

// order is a sorted set of keys. It is no part of the state, but is made of its keys: so a snapshot has none of it. The zero value
// is empty.
//
// The keys are cut into runs, so that a key comes or goes in a microsecond, and not in the time that it takes to move a million.
type order struct {
	runs [][]string // none is empty; each is sorted, and all together; 1 ≤ len(run) ≤ longestRun
	len  int
}

const longestRun = 256

// ordered makes an order of keys, which it sorts.
func ordered(keys []string) (o order) {
	slices.Sort(keys)
	o.len = len(keys)
	for run := range slices.Chunk(keys, longestRun/2) {
		o.runs = append(o.runs, slices.Clone(run)) // runs grow, each for itself
	}
	return o
}

// find returns the run in which a key is, or would be, and its place there.
func (o *order) find(key string) (run, at int, found bool) {
	run, found = slices.BinarySearchFunc(o.runs, key, func(run []string, key string) int { return strings.Compare(run[0], key) })
	if found {
		return run, 0, true
	}
	if run = max(run-1, 0); run == len(o.runs) {
		return run, 0, false
	}
	at, found = slices.BinarySearch(o.runs[run], key)
	return run, at, found
}

// add adds a key that is not there.
func (o *order) add(key string) {
	o.len++
	i, at, _ := o.find(key)
	if len(o.runs) == 0 {
		o.runs = [][]string{{key}}
		return
	}
	run := slices.Insert(o.runs[i], at, key)
	o.runs[i] = run
	if len(run) > longestRun {
		half := len(run) / 2
		o.runs = slices.Insert(o.runs, i+1, slices.Clone(run[half:]))
		clear(run[half:]) // what is behind a run's end would be held
		o.runs[i] = run[:half]
	}
}

// remove removes a key that is there. A run that has become short is joined to the next one, so that no memory is held for a few keys.
func (o *order) remove(key string) {
	o.len--
	i, at, _ := o.find(key)
	run := slices.Delete(o.runs[i], at, at+1)
	o.runs[i] = run
	if len(run) == 0 {
		o.runs = slices.Delete(o.runs, i, i+1)
	} else if i+1 < len(o.runs) && len(run)+len(o.runs[i+1]) <= longestRun/2 {
		o.runs[i] = append(run, o.runs[i+1]...)
		o.runs = slices.Delete(o.runs, i+1, i+2)
	}
}

// from yields the keys from a key on, in order.
func (o *order) from(key string) iter.Seq[string] {
	return func(yield func(string) bool) {
		i, at, _ := o.find(key)
		for ; i < len(o.runs); i, at = i+1, 0 {
			for _, key := range o.runs[i][at:] {
				if !yield(key) {
					return
				}
			}
		}
	}
}
