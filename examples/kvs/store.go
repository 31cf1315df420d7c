package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"

	"github.com/goccy/go-json"
)

// shards is how many maps a store is cut into: few, so that their headers stay in the processor's cache, and enough for one of
// a million keys to be copied in less than a millisecond.
const shards = 128

// store is a map from strings to JSON values that can be captured in an instant, and be changed while the capture is
// written. A capture takes hold of all shards; the next change of a shard copies it first, which takes less than a millisecond.
// The zero value is empty.
type store struct {
	shards [shards]map[string]json.RawMessage
	held   [shards]bool // a capture has the map: it must not change
	bytes  int          // of keys and values
}

// shard returns which shard has a key (FNV-1a).
func shard(key string) uint32 {
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return h % shards
}

func (s *store) get(key string) json.RawMessage { return s.shards[shard(key)][key] }

// put and delete return the value before, nil if there was none.
func (s *store) put(key string, value json.RawMessage) json.RawMessage {
	m := s.changeable(key)
	old, ok := m[key]
	if ok {
		s.bytes -= len(key) + len(old)
	}
	m[key] = value
	s.bytes += len(key) + len(value)
	return old
}

func (s *store) delete(key string) json.RawMessage {
	m := s.changeable(key)
	old, ok := m[key]
	if ok {
		s.bytes -= len(key) + len(old)
		delete(m, key)
	}
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

func (s *store) changeable(key string) map[string]json.RawMessage {
	i := shard(key)
	switch {
	case s.shards[i] == nil:
		s.shards[i] = map[string]json.RawMessage{}
	case s.held[i]:
		s.shards[i], s.held[i] = maps.Clone(s.shards[i]), false
	}
	return s.shards[i]
}

// keys returns the keys, sorted.
func (s *store) keys() []string {
	keys := []string{} // not nil: without keys the answer is []
	for _, m := range s.shards {
		keys = slices.AppendSeq(keys, maps.Keys(m))
	}
	slices.Sort(keys)
	return keys
}

// Capture implements machine.Snapshotter.
func (s *store) Capture() (write func(io.Writer) error, err error) {
	s.collectEarlier()
	captured := s.shards
	for i := range s.held {
		s.held[i] = true
	}
	return func(w io.Writer) error { return (&store{shards: captured}).encode(w) }, nil
}

// encode writes the store as one JSON object, shard by shard, so that it holds up nobody with a million keys at once.
// Within a shard they are sorted: equal stores make equal bytes.
func (s *store) encode(w io.Writer) error {
	out := bufio.NewWriterSize(w, 64<<10)
	sep := byte('{')
	var keys []string
	for _, m := range s.shards {
		keys = slices.AppendSeq(keys[:0], maps.Keys(m))
		slices.Sort(keys)
		for _, key := range keys {
			name, err := json.MarshalWithOption(key, json.DisableHTMLEscape())
			if err != nil {
				return err
			}
			_ = out.WriteByte(sep) // an error stays until Flush
			_, _ = out.Write(name)
			_ = out.WriteByte(':')
			_, _ = out.Write(m[key])
			sep = ','
		}
	}
	if sep == '{' {
		_ = out.WriteByte(sep)
	}
	_ = out.WriteByte('}')
	return out.Flush()
}

// MarshalJSON and UnmarshalJSON make the store look like the plain map that it is.
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
	if err := expect(in, json.Delim('{')); err != nil {
		return nil, err
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
		var value json.RawMessage
		if err := in.Decode(&value); err != nil {
			return nil, err
		}
		loaded.put(key, bytes.Clone(value))
		if n++; n%10_000 == 0 {
			loaded.collectEarlier() // not only in the end: loading is when most is thrown away
		}
	}
	if err := expect(in, json.Delim('}')); err != nil {
		return nil, err
	}
	return func() { *s = *loaded }, nil
}

// expect reads a delimiter.
func expect(in *json.Decoder, want json.Delim) error {
	got, err := in.Token()
	if err == nil && got != want {
		err = fmt.Errorf("%v where %v belongs", got, want)
	}
	return err
}
