package table

import (
	"slices"
	"sort"
)

// index is a set of strings in order: a list of parts, each of which is a short list.
type index struct {
	parts []part // none is empty; in order, with nothing in common
}

// part is strings in order. First is keys[0], kept here since the search for a part reads many of them.
type part struct {
	first string
	keys  []string
}

// partSize is how many keys a part has at most. An insert moves half of them, and a split as many parts as there are behind it: with
// 256, both are some KB up to a million keys.
const partSize = 256

// find returns the number of the part that has a key, if any has.
func (x *index) find(key string) int {
	behind := sort.Search(len(x.parts), func(i int) bool { return x.parts[i].first > key })
	return max(0, behind-1)
}

// insert adds a key that is not there.
func (x *index) insert(key string) {
	if len(x.parts) == 0 {
		x.parts = []part{{key, []string{key}}}
		return
	}
	i := x.find(key)
	p := &x.parts[i]
	at, _ := slices.BinarySearch(p.keys, key)
	p.keys = slices.Insert(p.keys, at, key)
	p.first = p.keys[0]
	if len(p.keys) <= partSize {
		return
	}
	half := slices.Clone(p.keys[partSize/2:])
	clear(p.keys[partSize/2:])
	p.keys = p.keys[:partSize/2]
	x.parts = slices.Insert(x.parts, i+1, part{half[0], half})
}

// remove takes out a key that is there.
func (x *index) remove(key string) {
	i := x.find(key)
	p := &x.parts[i]
	at, _ := slices.BinarySearch(p.keys, key)
	p.keys = slices.Delete(p.keys, at, at+1)
	if len(p.keys) == 0 {
		x.parts = slices.Delete(x.parts, i, i+1)
		return
	}
	p.first = p.keys[0]
	if !x.join(i) && i > 0 {
		x.join(i - 1)
	}
}

// join makes one part of two neighbours that are half a part together, so that what deletes have left is not many small ones.
func (x *index) join(i int) bool {
	if i+1 >= len(x.parts) || len(x.parts[i].keys)+len(x.parts[i+1].keys) > partSize/2 {
		return false
	}
	x.parts[i].keys = append(x.parts[i].keys, x.parts[i+1].keys...)
	x.parts = slices.Delete(x.parts, i+1, i+2)
	return true
}

// from yields the keys that are not less than a key, in order.
func (x *index) from(key string, yield func(string) bool) {
	for i := x.find(key); i < len(x.parts); i++ {
		keys := x.parts[i].keys
		at, _ := slices.BinarySearch(keys, key)
		for _, key := range keys[at:] {
			if !yield(key) {
				return
			}
		}
	}
}

// indexOf makes an index of keys, which it sorts.
func indexOf(keys []string) index {
	slices.Sort(keys)
	var x index
	for half := range slices.Chunk(keys, partSize/2) {
		x.parts = append(x.parts, part{half[0], slices.Clone(half)}) // they grow, each for itself
	}
	return x
}
