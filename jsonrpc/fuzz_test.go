package jsonrpc

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzReaderKeepsItsLimit: whatever the pieces in which a stream comes, the lines that are no longer than the limit are read
// as they are, and the first longer one ends the reading.
func FuzzReaderKeepsItsLimit(f *testing.F) {
	for _, in := range []string{"a\nb\r\n\r\n\nc", "abc\nabcd\nab", "abc\r\nabcd\r\n", "abc\r\r\n", "abcdefgh", "abc\r", "\r\r\r\r\r\r"} {
		f.Add([]byte(in), 1, uint16(3), uint16(0))
		f.Add([]byte(in), 100, uint16(4), uint16(0))
		f.Add([]byte(in), 1000, uint16(5000), uint16(40_000))
	}
	f.Fuzz(func(t *testing.T, in []byte, piece int, limit, pad uint16) {
		in = append(bytes.Repeat([]byte{'x'}, int(pad)), in...) // beyond the sizes of the buffers
		limit = max(limit, 1)
		var want []string
		wantErr := io.EOF
		for line := range bytes.SplitSeq(in, newline) {
			line = bytes.TrimSuffix(line, []byte("\r"))
			if len(line) > int(limit) {
				wantErr = ErrLineTooLong
				break
			}
			if len(line) > 0 {
				want = append(want, string(line))
			}
		}
		got, err := readAll(NewReader(&pieces{in, piece}, int(limit)))
		if err != wantErr || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("%q in pieces of %d, limit %d: %q, %v, want %q, %v", in, piece, limit, got, err, want, wantErr)
		}
	})
}

// FuzzRequestsAreJudgedAsByEncodingJSON: what is a request, and what is in it, and what is wrong with a line that is none, is
// what follows from encoding/json and the rules of the protocol. FuzzParseRequestAgreesWithEncodingJSON holds less: it asks
// nothing of lines that are refused.
func FuzzRequestsAreJudgedAsByEncodingJSON(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	for _, s := range []string{
		`{"jsonrpc":"2.0","method":"m","params":1}`, `{"jsonrpc":"2.0","method":"m","id":true}`, `{"jsonrpc":"2.0","method":"m","id":{}}`,
		`{"jsonrpc":2.0,"method":"m"}`, `{"jsonrpc":"2.0","method":null}`, `{"jsonrpc":"2.0","method":"m","i\u0064":1,"id":1}`, `{"jsonrpc":"2.0","method":"m","x":1,"\u0078":1}`,
		`{"jsonrpc":"2.0","method":"\ud800","\ud800":1,"\ufffd":2}`, `{"jsonrpc":"2.0","method":"m","ID":1}`, `{"jsonrpc":"2.0","method":"m"` + manyMembers(65) + `}`,
		`{"jsonrpc":"2.0","method":"m"` + manyMembers(64) + `}`, `{"jsonrpc":"2.0","method":"m","params":` + strings.Repeat("[", 128) + strings.Repeat("]", 128) + `}`,
		`[{"jsonrpc":"2.0","method":"m","id":1},{"jsonrpc":"2.0","method":"m","params":[]}]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if nesting(b) > 1000 {
			return // encoding/json has another limit
		}
		judge(t, b)
		var elements []stdjson.RawMessage
		if Valid(b, MaxDepth) != nil || stdjson.Unmarshal(b, &elements) != nil || elements == nil {
			return
		}
		err := Elements(b, func(value []byte) error { // a batch
			if len(elements) == 0 || !bytes.Equal(value, elements[0]) {
				t.Fatalf("%q: %q is no element where it stands", b, value)
			}
			elements = elements[1:]
			judge(t, value)
			return nil
		})
		if err != nil || len(elements) > 0 {
			t.Fatalf("%q: %d elements are missing, %v", b, len(elements), err)
		}
	})
}

// judge holds ParseRequest to expected.
func judge(t *testing.T, line []byte) {
	t.Helper()
	got, err := ParseRequest(line)
	want, wantErr := expected(line)
	if (err == nil) != (wantErr == nil) || err != nil && !errors.Is(err, wantErr) {
		t.Fatalf("%q: %v, want %v", line, err, wantErr)
	}
	if got.Method != want.Method || !bytes.Equal(got.Params, want.Params) || !bytes.Equal(got.ID, want.ID) {
		t.Fatalf("%q: %q, want %q", line, got, want)
	}
}

// expected is ParseRequest by encoding/json, member by member.
func expected(line []byte) (r Request, err error) {
	if !utf8.Valid(line) || !stdjson.Valid(line) || depth(line) > MaxDepth {
		return Request{}, ErrParse
	}
	d := stdjson.NewDecoder(bytes.NewReader(line))
	if start, _ := d.Token(); start != stdjson.Delim('{') {
		return Request{}, ErrInvalidRequest
	}
	members := map[string]stdjson.RawMessage{}
	unknown := 0
	for d.More() {
		name, _ := d.Token()
		var value stdjson.RawMessage
		if err := d.Decode(&value); err != nil {
			return Request{}, ErrInvalidRequest
		}
		if _, twice := members[name.(string)]; twice {
			return Request{}, ErrInvalidRequest
		}
		if members[name.(string)] = value; !slices.Contains([]string{"jsonrpc", "method", "params", "id"}, name.(string)) {
			unknown++
		}
	}
	var version string
	_ = stdjson.Unmarshal(members["jsonrpc"], &version) // of another type: ""
	begins := func(name, with string) bool { return strings.ContainsRune(with, rune(members[name][0])) }
	_, hasMethod := members["method"]
	_, hasParams := members["params"]
	_, hasID := members["id"]
	if version != "2.0" || !hasMethod || !begins("method", `"`) || unknown > MaxMembers ||
		hasParams && !begins("params", "[{") || hasID && !begins("id", `"-n0123456789`) {
		return Request{}, ErrInvalidRequest
	}
	r.Params, r.ID = members["params"], members["id"]
	return r, stdjson.Unmarshal(members["method"], &r.Method)
}

// depth is how deep arrays and objects nest.
func depth(b []byte) (deepest int) {
	d := stdjson.NewDecoder(bytes.NewReader(b))
	for now := 0; ; {
		token, err := d.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case stdjson.Delim('['), stdjson.Delim('{'):
			now++
		case stdjson.Delim(']'), stdjson.Delim('}'):
			now--
		}
		deepest = max(deepest, now)
	}
}
