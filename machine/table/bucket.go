package table

import (
	"cmp"
	"maps"
	"slices"
)

// bucket has the members whose keys' hashes begin with the same depth bits.
//
// They are a list, and are found by a small hash table of their numbers, which stays in the processor's cache where a table of
// the members themselves would not: most of what a machine's command takes is waiting for memory.
type bucket[V any] struct {
	members []member[V]
	depth   int
	clones  uint64 // of the table when this bucket was made: with fewer than now, a clone has it, and it must not change
	slots   [slots]slot
	many    map[string]int // the numbers of the members, instead of slots, where these are too few
}

// member is a key with its value. The key's first eight bytes stand here too: so a short key, which is all there, takes no look
// elsewhere. The hash does not: it is made again where a bucket is split or sorted, and for a Delete.
type member[V any] struct {
	head  uint64
	key   string
	value V
}

// headOf is a key's first eight bytes, or all of it and zeros.
func headOf(key string) (head uint64) {
	if len(key) >= 8 {
		return uint64(key[0]) | uint64(key[1])<<8 | uint64(key[2])<<16 | uint64(key[3])<<24 |
			uint64(key[4])<<32 | uint64(key[5])<<40 | uint64(key[6])<<48 | uint64(key[7])<<56
	}
	for i := range len(key) {
		head |= uint64(key[i]) << (8 * i)
	}
	return head
}

// is tells whether this is the member of a key.
func (m *member[V]) is(head uint64, key string) bool {
	return m.head == head && len(m.key) == len(key) && (len(key) <= 8 || m.key == key)
}

// slot is eight bits of a member's hash, to tell most keys apart, and its number plus 1; 0 is free. A member is in the first slot
// that was free from home on (linear probing).
type slot uint16

const (
	bucketSize = 112 // members; a bucket with that many is split
	slots      = 128
)

func home(hash uint64) int { return int(hash>>16) % slots }

func slotOf(hash uint64, number int) slot { return slot(hash>>24)<<8 | slot(number+1) }

func (s slot) number() int { return int(s&0xff) - 1 }

// find returns the number of a key's member, or -1.
func (b *bucket[V]) find(hash uint64, key string) int {
	if b.many != nil {
		if number, ok := b.many[key]; ok {
			return number
		}
		return -1
	}
	tag, head := slotOf(hash, -1), headOf(key)
	for i := home(hash); ; i = (i + 1) % slots {
		switch s := b.slots[i]; {
		case s == 0:
			return -1
		case s&^0xff == tag && b.members[s.number()].is(head, key):
			return s.number()
		}
	}
}

// add adds a member whose key, which has that hash, is not there.
func (b *bucket[V]) add(hash uint64, m member[V]) {
	number := len(b.members)
	if number == cap(b.members) {
		wider := max(4, 2*number)
		if number < bucketSize {
			wider = min(wider, bucketSize)
		}
		b.members = append(make([]member[V], 0, wider), b.members...)
	}
	b.members = append(b.members, m)
	switch {
	case b.many != nil:
		b.many[m.key] = number
	case number < bucketSize:
		i := home(hash)
		for b.slots[i] != 0 {
			i = (i + 1) % slots
		}
		b.slots[i] = slotOf(hash, number)
	default:
		b.many = make(map[string]int, 2*bucketSize)
		for i := range b.members {
			b.many[b.members[i].key] = i
		}
	}
}

// remove takes a member out, by the hash with which all were added. The last one gets its number.
func (b *bucket[V]) remove(number int, hash func(key string) uint64) {
	last := len(b.members) - 1
	gone, moved := &b.members[number], &b.members[last]
	if b.many != nil {
		b.many[moved.key] = number
		delete(b.many, gone.key)
	} else {
		b.free(b.slotAt(hash(gone.key), number), hash)
		if h := hash(moved.key); number < last {
			b.slots[b.slotAt(h, last)] = slotOf(h, number)
		}
	}
	*gone = *moved
	*moved = member[V]{}
	b.members = b.members[:last]
}

// slotAt returns where the slot of a member is.
func (b *bucket[V]) slotAt(hash uint64, number int) int {
	i := home(hash)
	for b.slots[i] != slotOf(hash, number) {
		i = (i + 1) % slots
	}
	return i
}

// free frees a slot. Those behind it that were put there for want of it move up (Knuth, TAOCP 3, algorithm 6.4R).
func (b *bucket[V]) free(i int, hash func(key string) uint64) {
	for j := (i + 1) % slots; b.slots[j] != 0; j = (j + 1) % slots {
		wanted := home(hash(b.members[b.slots[j].number()].key))
		if (j-wanted+slots)%slots >= (j-i+slots)%slots {
			b.slots[i] = b.slots[j]
			i = j
		}
	}
	b.slots[i] = 0
}

// clone copies a bucket, for changes.
func (b *bucket[V]) clone(clones uint64) *bucket[V] {
	c := *b
	c.members, c.many, c.clones = slices.Clone(b.members), maps.Clone(b.many), clones
	return &c
}

// hashed is a member with its key's hash.
type hashed[V any] struct {
	hash uint64
	member[V]
}

// appendSorted appends the members in the order of their hashes.
func (b *bucket[V]) appendSorted(all []hashed[V]) []hashed[V] {
	first := len(all)
	for _, m := range b.members {
		all = append(all, hashed[V]{hash(m.key), m})
	}
	slices.SortFunc(all[first:], func(a, b hashed[V]) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.key, b.key))
	})
	return all
}
