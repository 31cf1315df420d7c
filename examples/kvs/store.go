package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strconv"

	"github.com/goccy/go-json"
)

// store is a map from strings to JSON values with versions, that can be captured in an instant, and be changed while the capture is
// written. It is cut into buckets. A capture takes hold of all; the next change of a bucket copies it first, which takes
// microseconds. The zero value is empty.
//
// The buckets are found by extendible hashing (Fagin et al., 1979): a bucket that has grown is split in two by the next bit
// of its keys' hashes. So a small store is one map, and a large one has many small ones.
type store struct {
	directory []*bucket // by the first depth bits of a key's hash; a bucket of less depth is there several times, in a row
	depth     int       // len(directory) is 1<<depth, or 0 for an empty store
	captures  uint64
	bytes     int    // of keys and values
	revision  uint64 // the version of the value that was put last
	numbered  bool   // values get versions; else all have version 1
}

// entry is a value, and its version. The zero entry is of a missing key.
type entry struct {
	version uint64
	value   json.RawMessage
}

// bucket has the values of the keys whose hashes begin with the same depth bits.
type bucket struct {
	values   map[string]entry
	depth    int
	captures uint64 // of the store when this bucket was made: with fewer than now, a capture has it, and it must not change
}

const (
	bucketSize = 128 // keys; a bucket with more is split
	maxDepth   = 20  // keys made to have like hashes do not split for ever
)

// hash is FNV-1a, multiplied (Fibonacci hashing) since its first bits are what counts here.
func hash(key string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	return h * 0x9e3779b97f4a7c15
}

func (s *store) get(key string) entry {
	if len(s.directory) == 0 {
		return entry{}
	}
	return s.directory[s.slot(hash(key), s.depth)].values[key]
}

// slot is where in the directory a bucket of some depth begins that has the keys with a hash.
func (s *store) slot(hash uint64, depth int) uint64 {
	return hash >> (64 - depth) << (s.depth - depth)
}

// place makes b the bucket of the keys with a hash.
func (s *store) place(hash uint64, b *bucket) {
	first := s.slot(hash, b.depth)
	for i := range uint64(1) << (s.depth - b.depth) {
		s.directory[first+i] = b
	}
}

// put and delete return what was there before.
func (s *store) put(key string, value json.RawMessage) entry {
	if !s.numbered {
		return s.set(key, entry{1, value})
	}
	s.revision++
	return s.set(key, entry{s.revision, value})
}

// number gives versions of their own to all values that are put from now on.
func (s *store) number() {
	if s.numbered {
		return
	}
	s.numbered = true
	if s.bytes > 0 || s.get("").version > 0 {
		s.revision = 1
	}
}

func (s *store) set(key string, e entry) entry {
	h := hash(key)
	b := s.changeable(h)
	old, ok := b.values[key]
	if ok {
		s.bytes -= len(key) + len(old.value)
	}
	b.values[key] = e
	s.bytes += len(key) + len(e.value)
	if len(b.values) > bucketSize && b.depth < maxDepth {
		s.split(h, b)
	}
	return old
}

func (s *store) delete(key string) entry {
	if s.get(key).version == 0 {
		return entry{}
	}
	b := s.changeable(hash(key))
	old := b.values[key]
	s.bytes -= len(key) + len(old.value)
	delete(b.values, key)
	return old
}

// large is the size, in bytes, from which on memory counts for more than the time to collect it.
const large = 100 << 20

// collectEarlier lets the garbage collector begin at four thirds of what is in use, rather than at twice that.
func (s *store) collectEarlier() {
	if s.bytes > large && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(33)
	}
}

// changeable returns the bucket of the keys with a hash, which no capture has.
func (s *store) changeable(hash uint64) *bucket {
	if len(s.directory) == 0 {
		s.directory = []*bucket{{captures: s.captures, values: map[string]entry{}}}
	}
	b := s.directory[s.slot(hash, s.depth)]
	if b.captures != s.captures {
		b = &bucket{maps.Clone(b.values), b.depth, s.captures}
		s.place(hash, b)
	}
	return b
}

// split cuts the bucket of the keys with a hash in two.
func (s *store) split(h uint64, b *bucket) {
	if b.depth == s.depth {
		wider := make([]*bucket, 0, 2*len(s.directory))
		for _, b := range s.directory {
			wider = append(wider, b, b)
		}
		s.directory, s.depth = wider, s.depth+1
	}
	bit := uint64(1) << (63 - b.depth)
	var halves [2]*bucket
	for i := range halves {
		halves[i] = &bucket{make(map[string]entry, bucketSize), b.depth + 1, s.captures}
	}
	for key, value := range b.values {
		halves[min(1, hash(key)&bit)].values[key] = value
	}
	s.place(h&^bit, halves[0])
	s.place(h|bit, halves[1])
}

// buckets yields each bucket once, in the order of their keys' hashes.
func (s *store) buckets(yield func(*bucket) bool) {
	for i := 0; i < len(s.directory); {
		b := s.directory[i]
		if !yield(b) {
			return
		}
		i += 1 << (s.depth - b.depth)
	}
}

// keys returns the keys, sorted.
func (s *store) keys() []string {
	keys := []string{} // not nil: without keys the answer is []
	for b := range s.buckets {
		keys = slices.AppendSeq(keys, maps.Keys(b.values))
	}
	slices.Sort(keys)
	return keys
}

// Capture implements machine.Snapshotter.
func (s *store) Capture() (write func(io.Writer) error, err error) {
	s.collectEarlier()
	s.captures++
	captured := &store{directory: slices.Clone(s.directory), depth: s.depth, revision: s.revision, numbered: s.numbered}
	return captured.encode, nil
}

// encode writes the store as [REVISION,{KEY:[VERSION,VALUE],…}], or as {KEY:VALUE,…} as long as it is not numbered: bucket by
// bucket, so that it holds up nobody with a million keys at once. They are sorted by their hashes: equal stores make equal bytes, however they were split.
func (s *store) encode(w io.Writer) error {
	type named struct {
		hash uint64
		key  string
		entry
	}
	out := bufio.NewWriterSize(w, 64<<10)
	if s.numbered {
		_, _ = fmt.Fprintf(out, "[%d,", s.revision) // an error stays until Flush
	}
	sep := byte('{')
	var all []named
	var number []byte
	for b := range s.buckets {
		all = all[:0]
		for key, e := range b.values {
			all = append(all, named{hash(key), key, e})
		}
		slices.SortFunc(all, func(a, b named) int {
			return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.key, b.key))
		})
		for i := range all {
			name, err := json.MarshalWithOption(all[i].key, json.DisableHTMLEscape())
			if err != nil {
				return err
			}
			_ = out.WriteByte(sep)
			_, _ = out.Write(name)
			sep = ','
			if !s.numbered {
				_ = out.WriteByte(':')
				_, _ = out.Write(all[i].value)
				continue
			}
			number = strconv.AppendUint(append(number[:0], ':', '['), all[i].version, 10)
			_, _ = out.Write(append(number, ','))
			_, _ = out.Write(all[i].value)
			_ = out.WriteByte(']')
		}
	}
	if sep == '{' {
		_ = out.WriteByte(sep)
	}
	_ = out.WriteByte('}')
	if s.numbered {
		_ = out.WriteByte(']')
	}
	return out.Flush()
}

// MarshalJSON and UnmarshalJSON are encode and Load.
func (s *store) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	err := s.encode(&b)
	return b.Bytes(), err
}

func (s *store) UnmarshalJSON(b []byte) error {
	install, err := s.Load(bytes.NewReader(b))
	if err == nil {
		install()
	}
	return err
}

// Load implements machine.Snapshotter: it reads what encode has written, a member at a time.
func (s *store) Load(r io.Reader) (install func(), err error) {
	loaded := new(store)
	in := json.NewDecoder(r)
	first, err := in.Token()
	if err != nil {
		return nil, err
	}
	loaded.numbered = first != json.Delim('{')
	if loaded.numbered {
		if err := loaded.loadHead(in, first); err != nil {
			return nil, err
		}
	}
	for n := 0; in.More(); {
		name, err := in.Token()
		if err != nil {
			return nil, err
		}
		key, ok := name.(string)
		if !ok {
			return nil, fmt.Errorf("%v where a key belongs", name)
		}
		if err := loaded.loadValue(in, key); err != nil {
			return nil, fmt.Errorf("key %.32q: %w", key, err)
		}
		if n++; n%10_000 == 0 {
			loaded.collectEarlier() // not only in the end: loading is when most is thrown away
		}
	}
	if err := expect(in, json.Delim('}')); err != nil {
		return nil, err
	}
	if loaded.numbered {
		if err := expect(in, json.Delim(']')); err != nil {
			return nil, err
		}
	}
	return func() { *s = *loaded }, nil
}

// loadHead reads what stands before the first key.
func (s *store) loadHead(in *json.Decoder, first json.Token) error {
	if first != json.Delim('[') {
		return fmt.Errorf("%v where a state begins", first)
	}
	if err := in.Decode(&s.revision); err != nil {
		return err
	}
	return expect(in, json.Delim('{'))
}

// loadValue reads a key's value, with its version where there is one.
func (s *store) loadValue(in *json.Decoder, key string) error {
	var value json.RawMessage
	if err := in.Decode(&value); err != nil {
		return err
	}
	if !s.numbered {
		s.put(key, bytes.Clone(value))
		return nil
	}
	pair, ok := bytes.CutPrefix(value, []byte("["))
	number, rest, _ := bytes.Cut(pair, []byte(","))
	value = bytes.TrimSuffix(rest, []byte("]"))
	version, err := strconv.ParseUint(string(number), 10, 64)
	if !ok || err != nil || version == 0 || version > s.revision || !json.Valid(value) {
		return errors.New("want a version and a value")
	}
	s.set(key, entry{version, bytes.Clone(value)})
	return nil
}

// expect reads a delimiter.
func expect(in *json.Decoder, want json.Delim) error {
	got, err := in.Token()
	if err == nil && got != want {
		err = fmt.Errorf("%v where %v belongs", got, want)
	}
	return err
}
