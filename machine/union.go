package machine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"reflect"
	"unicode/utf8"

	json1 "github.com/goccy/go-json"
	"github.com/goccy/go-json/jsontext"
	"github.com/goccy/go-json/v2"

	"github.com/raftpico/go/machine/internal/statejson"
)

// Union is an input that is one of several operations, each with a value of its own or none, in the form that serde
// calls externally tagged:
//
//	"List"             Tag "List", Value nil
//	{"Get":"k"}        Tag "Get", Value "k"
//	{"Put":["k",1]}    Tag "Put", Value ["k",1]
//
// A machine switches on Tag and takes the value with Unit, Decode or Tuple. Value must be valid JSON.
type Union struct {
	Tag   string
	Value json1.RawMessage
}

// UnmarshalJSON decodes one of the two forms. It copies what it keeps.
func (u *Union) UnmarshalJSON(data []byte) error { return u.alias(bytes.Clone(data), "") }

// alias decodes valid JSON. Value shares its memory; a tag that is as the last one shares that one's.
func (u *Union) alias(data []byte, last string) (err error) {
	data = trim(data)
	name, value := data, []byte(nil)
	if len(data) == 0 || data[0] != '"' {
		members, ok := inside(data, '{', '}')
		var rest []byte
		var sep, end byte
		name, rest, sep = cut(members)
		value, _, end = cut(rest)
		if !ok || sep != ':' || end != 0 || len(value) == 0 {
			return errors.New("want a string or an object of one member")
		}
	}
	u.Value = value
	if len(name) == len(last)+2 && name[0] == '"' && string(name[1:len(name)-1]) == last && plain(name) {
		u.Tag = last
		return nil
	}
	u.Tag, err = decodeString(name)
	return err
}

// MarshalJSON is the inverse of UnmarshalJSON.
func (u Union) MarshalJSON() ([]byte, error) {
	tag, err := jsontext.AppendQuote(nil, u.Tag)
	if err != nil || u.Value == nil {
		return tag, err
	}
	return fmt.Appendf(nil, "{%s:%s}", tag, u.Value), nil
}

// Unit returns an error if there is a value.
func (u Union) Unit() error {
	if u.Value != nil {
		return fmt.Errorf("%.32q takes no value", u.Tag)
	}
	return nil
}

// Decode decodes the value into what dst points to, as strictly as JSON does. Null is taken by a pointer, a map, a
// slice or an interface only. A json.RawMessage shares its memory with u.Value.
func (u Union) Decode(dst any) error {
	if err := decode(u.Value, dst); err != nil {
		return fmt.Errorf("%.32q: %w", u.Tag, err)
	}
	return nil
}

// Tuple decodes the value, an array of exactly len(dst) elements, each as Decode does.
func (u Union) Tuple(dst ...any) error {
	var some [4][]byte // most have no more
	elems := append(some[:0], make([][]byte, len(dst))...)
	n, wrong := u.elements(elems)
	for i, elem := range elems[:n] {
		if err := decode(elem, dst[i]); err != nil {
			return fmt.Errorf("%.32q, element %d: %w", u.Tag, i, err)
		}
	}
	return wrong
}

// Decode is Union.Decode of a value that it returns. Strings and raw values take less time so, for no variable has to be on the
// heap.
func Decode[T any](u Union) (T, error) {
	v, err := decodeAs[T](u.Value)
	if err != nil {
		err = fmt.Errorf("%.32q: %w", u.Tag, err)
	}
	return v, err
}

// Tuple2 is Union.Tuple of two elements, as Decode is Union.Decode:
//
//	key, value, err := machine.Tuple2[string, json.RawMessage](in)
func Tuple2[A, B any](u Union) (a A, b B, err error) {
	var elems [2][]byte
	n, wrong := u.elements(elems[:])
	if n > 0 {
		a, err = elementAs[A](u.Tag, 0, elems[0])
	}
	if n > 1 && err == nil {
		b, err = elementAs[B](u.Tag, 1, elems[1])
	}
	if err == nil {
		err = wrong
	}
	return a, b, err
}

// Tuple3 is Tuple2 of three elements.
func Tuple3[A, B, C any](u Union) (a A, b B, c C, err error) {
	var elems [3][]byte
	n, wrong := u.elements(elems[:])
	if n > 0 {
		a, err = elementAs[A](u.Tag, 0, elems[0])
	}
	if n > 1 && err == nil {
		b, err = elementAs[B](u.Tag, 1, elems[1])
	}
	if n > 2 && err == nil {
		c, err = elementAs[C](u.Tag, 2, elems[2])
	}
	if err == nil {
		err = wrong
	}
	return a, b, c, err
}

// elements cuts the value, an array of exactly len(elems) elements. With an error, the first n of them are as good, and are
// decoded nevertheless: if one of them is wrong, that is the answer. NB: A machine may keep an error's words in its state, or make
// an answer of its own of them. So which fault goes first must be the same in all releases.
func (u Union) elements(elems [][]byte) (n int, err error) {
	rest, ok := inside(u.Value, '[', ']')
	more := byte(',')
	for ok && n < len(elems) {
		elems[n], rest, more = cut(rest)
		if ok = len(elems[n]) > 0 && (more == ',') == (n < len(elems)-1); ok {
			n++
		}
	}
	if !ok || len(rest) > 0 {
		err = fmt.Errorf("%.32q takes an array of %d elements", u.Tag, len(elems))
	}
	return n, err
}

func elementAs[T any](tag string, i int, value []byte) (T, error) {
	v, err := decodeAs[T](value)
	if err != nil {
		err = fmt.Errorf("%.32q, element %d: %w", tag, i, err)
	}
	return v, err
}

// decodeAs is decode.
func decodeAs[T any](value []byte) (v T, err error) {
	if len(value) == 0 {
		return v, errMissing
	}
	switch any(v).(type) {
	case string:
		var s string
		s, err = decodeString(value)
		return any(s).(T), err
	case json1.RawMessage:
		return any(json1.RawMessage(value)).(T), nil
	}
	p := new(T)
	err = decode(value, p)
	return *p, err
}

var errMissing = errors.New("a value is missing")

// decode decodes one value. Strings and raw values are what most machines take; they are spared the decoder.
func decode(value []byte, dst any) error {
	if len(value) == 0 {
		return errMissing
	}
	switch dst := dst.(type) {
	case *json1.RawMessage:
		*dst = value
		return nil
	case *string:
		s, err := decodeString(value)
		*dst = s
		return err
	}
	if string(value) == "null" {
		switch t := reflect.TypeOf(dst).Elem(); t.Kind() {
		case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
		default:
			return errors.New(wanted(t, jsontext.KindNull))
		}
	}
	return inJSON(json.Unmarshal(value, dst, statejson.Strict))
}

func decodeString(value []byte) (string, error) {
	if len(value) < 2 || value[0] != '"' {
		return "", errors.New(wanted(reflect.TypeFor[string](), jsontext.Value(value).Kind()))
	}
	if text := value[1 : len(value)-1]; plain(text) {
		return string(text), nil
	}
	s, err := jsontext.AppendUnquote(nil, value)
	return string(s), inJSON(err)
}

// inside returns what stands between the brackets of an array or object.
func inside(data []byte, open, end byte) ([]byte, bool) {
	data = trim(data)
	if len(data) < 2 || data[0] != open || data[len(data)-1] != end {
		return nil, false
	}
	return data[1 : len(data)-1], true
}

// cut cuts valid JSON, or what is inside of it, at the first comma or colon that is not in a string, array or object.
// Sep is that character, or 0 if there is none; then rest is empty.
func cut(data []byte) (value, rest []byte, sep byte) {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch marks[data[i]] {
		case 0:
		case quote:
			i = endOfString(data, i)
		case opens:
			depth++
		case ends:
			depth--
		case cuts:
			if depth == 0 {
				return trim(data[:i]), data[i+1:], data[i]
			}
		}
	}
	return trim(data), nil, 0
}

// marks tells what a character is to cut.
var marks = [256]uint8{'"': quote, '{': opens, '[': opens, '}': ends, ']': ends, ',': cuts, ':': cuts}

const (
	quote uint8 = 1 + iota
	opens
	ends
	cuts
)

// endOfString returns the index of the quote that ends the string at data[i]: the next one behind an even number of backslashes.
func endOfString(data []byte, i int) int {
	for at := i + 1; at < i+shortText && at+8 <= len(data); at += 8 { // eight at a time, as long as there are no backslashes
		w := binary.LittleEndian.Uint64(data[at:])
		if found := zeros(w^ones*'"') | zeros(w^ones*'\\'); found != 0 {
			if at += bits.TrailingZeros64(found) / 8; data[at] == '"' {
				return at
			}
			break
		}
	}
	for {
		n := bytes.IndexByte(data[i+1:], '"')
		if n < 0 {
			return len(data)
		}
		end := i + 1 + n
		back := end
		for data[back-1] == '\\' {
			back--
		}
		if i = end; (end-back)%2 == 0 {
			return end
		}
	}
}

const ones, tops = 0x0101010101010101, 0x8080808080808080

// zeros has the top bit set of the first byte of w that is zero, and perhaps of others behind it (Anderson, Bit Twiddling Hacks).
func zeros(w uint64) uint64 { return (w - ones) &^ w & tops }

// shortText is how long a string may be for which a loop takes less time than a call.
const shortText = 32

// plain tells whether a text stands for itself in JSON, and is UTF-8.
func plain(text []byte) bool {
	if len(text) > shortText {
		return bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text)
	}
	for _, c := range text {
		if c == '\\' || c >= utf8.RuneSelf {
			return bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text)
		}
	}
	return true
}

func trim(data []byte) []byte {
	for len(data) > 0 && space(data[0]) {
		data = data[1:]
	}
	for len(data) > 0 && space(data[len(data)-1]) {
		data = data[:len(data)-1]
	}
	return data
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
