package machine

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"

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
	if value, ok := valueOf(data, last); ok {
		u.Tag, u.Value = last, value
		return nil
	}
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

// valueOf is the short way for what comes most often: an object of one member, with that name and without white space.
func valueOf(data []byte, name string) (value []byte, ok bool) {
	from, to := len(name)+len(`{"":`), len(data)-1
	if from >= to || data[0] != '{' || data[1] != '"' || string(data[2:from-2]) != name || data[from-1] != ':' {
		return nil, false
	}
	if endOfString(data, 1) != from-2 || !plain(data[2:from-2]) { // NB: the name may have a quote in it, as {"a\":1,\"b":2} has
		return nil, false
	}
	value = data[from:to]
	return value, data[to] == '}' && endOfValue(data, from) == to && !space(value[0]) && !space(value[len(value)-1])
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
	if shortElements(u.Value, elems) {
		return len(elems), nil
	}
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

// shortElements is the short way for an array without white space. False means that it is another one, or has another length.
func shortElements(array []byte, elems [][]byte) bool {
	if len(array) == 0 || array[0] != '[' {
		return false
	}
	i, last := 1, len(elems)-1
	for n := range elems {
		end := endOfValue(array, i)
		if i >= end || end >= len(array) || (array[end] == ',') != (n < last) || space(array[i]) || space(array[end-1]) {
			return false
		}
		elems[n], i = array[i:end], end+1
	}
	return i == len(array) && array[i-1] == ']'
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
