package machine

import (
	"encoding"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-json/jsontext"
	"github.com/goccy/go-json/v2"
)

// decodingError is why an input is not taken, in words of JSON: clients read it, in whatever language they are written.
// Errors.As finds what the decoder said, with the names of Go types.
type decodingError struct {
	text string
	err  error
}

func (e *decodingError) Error() string { return e.text }
func (e *decodingError) Unwrap() error { return e.err }

// inJSON turns an error of the decoder into a decodingError. An error of a type's own UnmarshalJSON keeps its text.
func inJSON(err error) error {
	if err == nil {
		return nil
	}
	text, at := explain(err)
	if at != "" {
		text += " at " + short(at)
	}
	return &decodingError{text, err}
}

// explain says what is wrong, and where: at is a JSON pointer (RFC 6901), empty for the whole value.
func explain(err error) (text string, at jsontext.Pointer) {
	switch e := err.(type) {
	case *json.SemanticError:
		return meaning(e)
	case *jsontext.SyntacticError:
		switch {
		case errors.Is(e.Err, jsontext.ErrDuplicateName):
			return fmt.Sprintf("member %.64q is given twice", e.JSONPointer.LastToken()), e.JSONPointer.Parent()
		case errors.Is(e.Err, io.ErrUnexpectedEOF):
			return "the value is not complete", ""
		}
		return fmt.Sprintf("%.200v in byte %d", e.Err, e.ByteOffset+1), ""
	}
	return err.Error(), ""
}

// meaning explains an error of a value that is JSON.
func meaning(e *json.SemanticError) (text string, at jsontext.Pointer) {
	at = e.JSONPointer
	number := e.JSONKind == jsontext.KindNumber
	_, badTime := e.Err.(*time.ParseError)
	_, badBase64 := e.Err.(base64.CorruptInputError)
	switch {
	case e.Err == json.ErrUnknownName:
		return fmt.Sprintf("unknown member %.64q", at.LastToken()), at.Parent()
	case e.Err == nil && e.GoType != nil:
		return wanted(e.GoType, e.JSONKind), at
	case errors.Is(e.Err, strconv.ErrRange):
		return fmt.Sprintf("%.40s does not fit", e.JSONValue), at
	case errors.Is(e.Err, strconv.ErrSyntax) && !number:
		return fmt.Sprintf("%.40s holds no number that is taken", e.JSONValue), at
	case errors.Is(e.Err, strconv.ErrSyntax) && e.GoType != nil && unsigned(e.GoType) && strings.HasPrefix(string(e.JSONValue), "-"):
		return fmt.Sprintf("%.40s is negative", e.JSONValue), at
	case errors.Is(e.Err, strconv.ErrSyntax):
		return fmt.Sprintf("%.40s is not written as a whole number", e.JSONValue), at
	case badTime:
		return "want a time such as 2006-01-02T15:04:05Z", at
	case badBase64:
		return "want a string of base64", at
	case e.Err != nil && e.GoType != nil && e.GoType.Kind() == reflect.Array && e.JSONKind == jsontext.KindEndArray:
		return fmt.Sprintf("want an array of %d elements", e.GoType.Len()), at
	case e.Err != nil:
		text, inside := explain(e.Err)
		return text, at + inside
	}
	return "not taken", at
}

// wanted says what a Go type is decoded from, instead of a value of some kind.
func wanted(t reflect.Type, got jsontext.Kind) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	want := ""
	switch k := t.Kind(); {
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		want = "a string"
	case k == reflect.Bool:
		want = "true or false"
	case k >= reflect.Int && k <= reflect.Float64 && got == jsontext.KindNumber:
		want = "a string that holds a number"
	case k >= reflect.Int && k <= reflect.Uintptr:
		want = "a whole number"
	case k == reflect.Float32 || k == reflect.Float64:
		want = "a number"
	case k == reflect.String:
		want = "a string"
	case (k == reflect.Slice || k == reflect.Array) && t.Elem().Kind() == reflect.Uint8 && got != jsontext.KindString:
		want = "a string of base64"
	case k == reflect.Slice || k == reflect.Array:
		want = "an array"
	case k == reflect.Map || k == reflect.Struct:
		want = "an object"
	default:
		return kindName(got) + " is not taken"
	}
	return "want " + want + ", not " + kindName(got)
}

func unsigned(t reflect.Type) bool { return t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uintptr }

func kindName(k jsontext.Kind) string {
	switch k {
	case jsontext.KindNull:
		return "null"
	case jsontext.KindTrue, jsontext.KindFalse:
		return k.String()
	case jsontext.KindString:
		return "a string"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindBeginArray, jsontext.KindEndArray:
		return "an array"
	case jsontext.KindBeginObject, jsontext.KindEndObject:
		return "an object"
	}
	return "another value"
}

// short is the end of a pointer, quoted if it has characters that a reader would not see: clients choose the names in it.
func short(p jsontext.Pointer) string {
	const most = 100
	s := string(p)
	if len(s) > most {
		s = "…" + strings.ToValidUTF8(s[len(s)-most:], "")
	}
	if quoted := strconv.Quote(s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}
