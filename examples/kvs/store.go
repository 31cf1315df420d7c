package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strconv"

	"github.com/goccy/go-json"
	"github.com/goccy/go-json/jsontext"

	"github.com/raftpico/go/machine/table"
)

// store is a map from strings to JSON values with versions, that can be captured in an instant, and be changed while the capture is
// written: a sorted table, and what kvs counts. The zero value is empty.
type store struct {
	table    table.Sorted[entry]
	bytes    int    // of keys and values
	revision uint64 // the version of the value that was put last
	numbered bool   // values get versions; else all have version 1
}

// entry is a value, and its version. The zero entry is of a missing key.
type entry struct {
	version uint64
	value   json.RawMessage
}

func (s *store) get(key string) entry {
	e, _ := s.table.Get(key)
	return e
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
	if s.table.Len() > 0 {
		s.revision = 1
	}
}

func (s *store) set(key string, e entry) entry {
	old, had := s.table.Set(key, e)
	if had {
		s.bytes -= len(key) + len(old.value)
	}
	s.bytes += len(key) + len(e.value)
	return old
}

func (s *store) delete(key string) entry {
	old, had := s.table.Delete(key)
	if had {
		s.bytes -= len(key) + len(old.value)
	}
	return old
}

// large is the size, in bytes, from which on memory counts for more than the time to collect it.
const large = 100 << 20

// collectEarlier lets the garbage collector begin at four thirds of what is in use, rather than at twice that.
func collectEarlier(bytes int) {
	if bytes > large && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(33)
	}
}

// keys returns the keys, sorted.
func (s *store) keys() []string {
	return slices.AppendSeq(make([]string, 0, s.table.Len()), s.table.KeysFrom("")) // not nil: without keys the answer is []
}

// Capture implements machine.Snapshotter.
func (s *store) Capture() (write func(io.Writer) error, err error) {
	collectEarlier(s.bytes)
	values, revision, numbered := s.table.Clone(), s.revision, s.numbered
	return func(w io.Writer) error { return encode(w, values, revision, numbered) }, nil
}

// encode writes a store as [REVISION,{KEY:[VERSION,VALUE],…}], or as {KEY:VALUE,…} as long as it is not numbered.
func encode(w io.Writer, values encoder, revision uint64, numbered bool) error {
	if !numbered {
		return values.Encode(w, func(dst []byte, e entry) ([]byte, error) { return append(dst, e.value...), nil })
	}
	out := bufio.NewWriterSize(w, 64<<10)
	_, _ = fmt.Fprintf(out, "[%d,", revision) // an error stays until Flush
	err := values.Encode(out, func(dst []byte, e entry) ([]byte, error) {
		dst = append(strconv.AppendUint(append(dst, '['), e.version, 10), ',')
		return append(append(dst, e.value...), ']'), nil
	})
	_ = out.WriteByte(']')
	return errors.Join(err, out.Flush())
}

// encoder is a table, or its clone.
type encoder interface {
	Encode(w io.Writer, appendValue func([]byte, entry) ([]byte, error)) error
}

// MarshalJSON and UnmarshalJSON are encode and Load.
func (s *store) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	err := encode(&b, &s.table, s.revision, s.numbered)
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
	in := jsontext.NewDecoder(r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	parse := func(_ string, text []byte) (entry, error) { return entry{1, bytes.Clone(text)}, nil }
	if loaded.numbered = in.PeekKind() == jsontext.KindBeginArray; loaded.numbered {
		if loaded.revision, err = readRevision(in); err != nil {
			return nil, err
		}
		parse = loaded.parseVersioned
	}
	read, n := 0, 0
	err = loaded.table.Decode(in, func(key string, text []byte) (entry, error) {
		read += len(key) + len(text)
		if n++; n%10_000 == 0 {
			collectEarlier(read) // not only in the end: loading is when most is thrown away
		}
		return parse(key, text)
	})
	if err != nil {
		return nil, err
	}
	if loaded.numbered {
		if _, err := in.ReadToken(); err != nil || in.StackDepth() > 0 {
			return nil, errors.Join(errors.New("the end of the state is missing"), err)
		}
	}
	for key, e := range loaded.table.All() {
		loaded.bytes += len(key) + len(e.value)
	}
	return func() { *s = *loaded }, nil
}

// readRevision reads what stands before the first key.
func readRevision(in *jsontext.Decoder) (revision uint64, err error) {
	if _, err := in.ReadToken(); err != nil {
		return 0, err
	}
	number, err := in.ReadValue()
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(string(number), 10, 64)
}

// parseVersioned takes a value apart that has its version with it.
func (s *store) parseVersioned(_ string, text []byte) (entry, error) {
	pair, ok := bytes.CutPrefix(text, []byte("["))
	number, rest, _ := bytes.Cut(pair, []byte(","))
	value := bytes.TrimSuffix(rest, []byte("]"))
	version, err := strconv.ParseUint(string(number), 10, 64)
	if !ok || err != nil || version == 0 || version > s.revision || !json.Valid(value) {
		return entry{}, errors.New("want a version and a value")
	}
	return entry{version, bytes.Clone(value)}, nil
}
