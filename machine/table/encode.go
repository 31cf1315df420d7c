package table

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	json1 "github.com/goccy/go-json"
	"github.com/goccy/go-json/jsontext"
	"github.com/goccy/go-json/v2"

	"github.com/raftpico/go/machine/internal/statejson"
)

// Encode writes the table as a JSON object: part by part, without holding up others. Equal tables make equal bytes. The JSON of a
// value is what appendValue appends to dst; nil means the JSON of package json, by the rules of machine.JSON. An error of w or of
// appendValue ends it, as does a key that is not UTF-8.
func (t *Table[V]) Encode(w io.Writer, appendValue func(dst []byte, value V) ([]byte, error)) error {
	if appendValue == nil {
		appendValue = appendJSON[V]
	}
	out := bufio.NewWriterSize(w, min(1<<10+t.Len()<<6, 64<<10))
	sep := byte('{')
	var all []hashed[V]
	var text []byte
	for b := range t.buckets {
		all = b.appendSorted(all[:0])
		for i := range all {
			var err error
			if text, err = appendKey(append(text[:0], sep), all[i].key); err == nil {
				text, err = appendValue(append(text, ':'), all[i].value)
			}
			if err != nil {
				return fmt.Errorf("key %.32q: %w", all[i].key, err)
			}
			_, _ = out.Write(text) // an error stays until Flush
			sep = ','
		}
	}
	if sep == '{' {
		_ = out.WriteByte(sep)
	}
	_ = out.WriteByte('}')
	return out.Flush()
}

// appendKey appends a string as JSON.
func appendKey(dst []byte, key string) ([]byte, error) {
	for i := range len(key) {
		if c := key[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			if !utf8.ValidString(key) {
				return dst, errors.New("not UTF-8")
			}
			name, err := json1.MarshalWithOption(key, json1.DisableHTMLEscape())
			return append(dst, name...), err
		}
	}
	return append(append(append(dst, '"'), key...), '"'), nil
}

func appendJSON[V any](dst []byte, value V) ([]byte, error) {
	text, err := json.MarshalOf(value, statejson.Faithful)
	return append(dst, text...), err
}

// Decode reads a JSON object, and sets its members one by one: the last one wins of two with the same key. What is a value's JSON
// parseValue tells; its text is valid JSON, and belongs to the decoder again when it returns. Nil means package json, by the
// rules of machine.JSON. After an error some members may be set.
//
// The decoder needs the option jsontext.AllowDuplicateNames(true), or it remembers all names.
func (t *Table[V]) Decode(from *jsontext.Decoder, parseValue func(key string, text []byte) (V, error)) error {
	if parseValue == nil {
		parseValue = parseJSON[V]
	}
	switch begin, err := from.ReadToken(); {
	case err != nil:
		return err
	case begin.Kind() != jsontext.KindBeginObject:
		return fmt.Errorf("%v where a table begins", begin)
	}
	for from.PeekKind() == jsontext.KindString {
		name, err := from.ReadToken()
		if err != nil {
			return err
		}
		key := name.String()
		text, err := from.ReadValue()
		if err != nil {
			return err
		}
		value, err := parseValue(key, text)
		if err != nil {
			return fmt.Errorf("key %.32q: %w", key, err)
		}
		t.Set(key, value)
	}
	_, err := from.ReadToken()
	return err
}

func parseJSON[V any](_ string, text []byte) (value V, err error) {
	err = json.UnmarshalOf(text, &value, statejson.Strict, jsontext.AllowDuplicateNames(true))
	return value, err
}

// MarshalJSON is Encode with the JSON of package json.
func (t *Table[V]) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	err := t.Encode(&b, nil)
	return b.Bytes(), err
}

// UnmarshalJSONFrom replaces the table by what Decode reads; null is an empty one. An error leaves it as it was.
func (t *Table[V]) UnmarshalJSONFrom(from *jsontext.Decoder) error {
	if from.PeekKind() == jsontext.KindNull {
		*t = Table[V]{}
		return from.SkipValue()
	}
	var fresh Table[V]
	err := fresh.Decode(from, nil)
	if err == nil {
		*t = fresh
	}
	return err
}

// UnmarshalJSON is the same for encoding/json.
func (t *Table[V]) UnmarshalJSON(text []byte) error {
	var fresh Table[V]
	err := json.Unmarshal(text, &fresh, jsontext.AllowDuplicateNames(true))
	if err == nil {
		*t = fresh
	}
	return err
}
