package machine

import (
	"bytes"
	"errors"
	"fmt"
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
func (u *Union) UnmarshalJSON(data []byte) error { return u.alias(bytes.Clone(data)) }

// alias decodes valid JSON. Value shares its memory.
func (u *Union) alias(data []byte) (err error) {
	data = trim(data)
	if len(data) > 0 && data[0] == '"' {
		u.Value = nil
		u.Tag, err = decodeString(data)
		return err
	}
	members, ok := inside(data, '{', '}')
	name, rest, sep := cut(members)
	value, _, end := cut(rest)
	if !ok || sep != ':' || end != 0 || len(value) == 0 {
		return errors.New("want a string or an object of one member")
	}
	u.Value = value
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
	rest, ok := inside(u.Value, '[', ']')
	more := byte(',')
	for i := 0; ok && i < len(dst); i++ {
		var elem []byte
		elem, rest, more = cut(rest)
		if ok = len(elem) > 0 && (more == ',') == (i < len(dst)-1); !ok {
			break
		}
		if err := decode(elem, dst[i]); err != nil {
			return fmt.Errorf("%.32q, element %d: %w", u.Tag, i, err)
		}
	}
	if !ok || len(rest) > 0 {
		return fmt.Errorf("%.32q takes an array of %d elements", u.Tag, len(dst))
	}
	return nil
}

// decode decodes one value. Strings and raw values are what most machines take; they are spared the decoder.
func decode(value []byte, dst any) error {
	if len(value) == 0 {
		return errors.New("a value is missing")
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
	if plain := value[1 : len(value)-1]; bytes.IndexByte(plain, '\\') < 0 && utf8.Valid(plain) {
		return string(plain), nil
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
		switch c := data[i]; {
		case c == '"':
			i = endOfString(data, i)
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case depth == 0 && (c == ',' || c == ':'):
			return trim(data[:i]), data[i+1:], c
		}
	}
	return trim(data), nil, 0
}

// endOfString returns the index of the quote that ends the string at data[i]: the next one behind an even number of backslashes.
func endOfString(data []byte, i int) int {
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
