package table

import (
	"iter"
	"slices"
)

// Table is a map from strings, which must be UTF-8, to values. The zero value is empty and ready for use.
//
// A value must not change after it was set: a clone may have it, and be read on another goroutine. To change one, set a new
// one. Of a slice in a value, append and reslice freely; do not write to elements that are there.
//
// A table must not be copied once it is in use, since both would write to the same memory; Clone copies it. Moving one as a
// part of a fresh state, as in *m = *fresh, is fine. It is no safer for concurrent use than a map.
//
// With a value of 32 bytes, a key takes some 90 bytes beside its text. What deleted keys took is used for new ones.
type Table[V any] struct {
	// The buckets are found by extendible hashing (Fagin et al., 1979): a bucket that has grown is split in two by the
	// next bit of its keys' hashes. So a change copies a part of a table that a clone has too, not all of it.
	directory []*bucket[V] // by the first depth bits of a key's hash; a bucket of less depth is there several times, in a row
	depth     int          // len(directory) is 1<<depth, or 0 for an empty table
	clones    uint64       // that were made, also of the table that this one is a clone of
	size      int
}

// maxDepth: keys made to have like hashes do not split for ever.
const maxDepth = 20

// hash is FNV-1a, multiplied (Fibonacci hashing) since its first bits are what counts here. It is a part of the format of
// snapshots: equal tables make equal bytes in all builds.
func hash(key string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	return h * 0x9e3779b97f4a7c15
}

// Len is the number of keys.
func (t *Table[V]) Len() int { return t.size }

// IsZero tells whether there are none: for omitzero.
func (t *Table[V]) IsZero() bool { return t.size == 0 }

// Get returns the value of a key; ok is false, and the value zero, if there is none.
func (t *Table[V]) Get(key string) (value V, ok bool) {
	if len(t.directory) == 0 {
		return value, false
	}
	h := hash(key)
	b := t.directory[t.slot(h, t.depth)]
	if i := b.find(h, key); i >= 0 {
		return b.members[i].value, true
	}
	return value, false
}

// Set gives a key a value, and returns the one that it had.
func (t *Table[V]) Set(key string, value V) (old V, had bool) {
	h := hash(key)
	b := t.changeable(h)
	if i := b.find(h, key); i >= 0 {
		old, b.members[i].value = b.members[i].value, value
		return old, true
	}
	b.add(h, member[V]{headOf(key), key, value})
	t.size++
	if len(b.members) >= bucketSize && b.depth < maxDepth {
		t.split(h, b)
	}
	return old, false
}

// Delete removes a key, and returns the value that it had.
func (t *Table[V]) Delete(key string) (old V, had bool) {
	if old, had = t.Get(key); had {
		h := hash(key)
		b := t.changeable(h)
		b.remove(b.find(h, key), hash)
		t.size--
	}
	return old, had
}

// Clone returns a table with the same keys and values, in the time that it takes to copy a pointer for every 50 keys or so:
// 0.1 ms for a million. The next change of each part of either table copies that part, of some hundred keys. The two may be
// used by different goroutines.
func (t *Table[V]) Clone() *Table[V] {
	t.clones++
	return &Table[V]{slices.Clone(t.directory), t.depth, t.clones, t.size}
}

// All yields all keys and values. Their order depends on the keys alone, and not on how they came; it is that of their
// hashes. The table must not change meanwhile; to change it, range over a clone.
func (t *Table[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		var all []hashed[V]
		for b := range t.buckets {
			all = b.appendSorted(all[:0])
			for i := range all {
				if !yield(all[i].key, all[i].value) {
					return
				}
			}
		}
	}
}

// slot is where in the directory a bucket of some depth begins that has the keys with a hash.
func (t *Table[V]) slot(hash uint64, depth int) uint64 {
	return hash >> (64 - depth) << (t.depth - depth)
}

// place makes b the bucket of the keys with a hash.
func (t *Table[V]) place(hash uint64, b *bucket[V]) {
	first := t.slot(hash, b.depth)
	for i := range uint64(1) << (t.depth - b.depth) {
		t.directory[first+i] = b
	}
}

// changeable returns the bucket of the keys with a hash, which no clone has.
func (t *Table[V]) changeable(hash uint64) *bucket[V] {
	if len(t.directory) == 0 {
		t.directory = []*bucket[V]{{clones: t.clones}}
	}
	b := t.directory[t.slot(hash, t.depth)]
	if b.clones != t.clones {
		b = b.clone(t.clones)
		t.place(hash, b)
	}
	return b
}

// split cuts the bucket of the keys with a hash in two.
func (t *Table[V]) split(h uint64, b *bucket[V]) {
	if b.depth == t.depth {
		wider := make([]*bucket[V], 0, 2*len(t.directory))
		for _, b := range t.directory {
			wider = append(wider, b, b)
		}
		t.directory, t.depth = wider, t.depth+1
	}
	bit := uint64(1) << (63 - b.depth)
	var halves [2]*bucket[V]
	for i := range halves {
		halves[i] = &bucket[V]{members: make([]member[V], 0, bucketSize), depth: b.depth + 1, clones: t.clones}
	}
	for _, m := range b.members {
		own := hash(m.key)
		halves[min(1, own&bit)].add(own, m)
	}
	t.place(h&^bit, halves[0])
	t.place(h|bit, halves[1])
}

// buckets yields each bucket once, in the order of their keys' hashes.
func (t *Table[V]) buckets(yield func(*bucket[V]) bool) {
	for i := 0; i < len(t.directory); {
		b := t.directory[i]
		if !yield(b) {
			return
		}
		i += 1 << (t.depth - b.depth)
	}
}
