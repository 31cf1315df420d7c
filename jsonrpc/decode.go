package jsonrpc

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/goccy/go-json"
)

// ParseRequest decodes a line that holds one request, no batch. The error is ErrParse or ErrInvalidRequest. Params and
// ID alias the line.
func ParseRequest(line []byte) (Request, error) {
	var r Request
	if err := decode(line, MaxDepth, &r, nil); err != nil {
		return Request{}, err
	}
	return r, nil
}

// ParseResponse decodes a line that holds one answer, no batch. The error is ErrParse, or ErrInvalidRequest for JSON
// that is no answer. ID and Result alias the line.
func ParseResponse(line []byte) (Response, error) {
	if Valid(line, anyDepth) != nil {
		return Response{}, ErrParse
	}
	var r Response
	var version, failure []byte
	err := Members(line, func(name, value []byte) error {
		switch string(name) {
		case "jsonrpc":
			version = value
		case "id":
			r.ID = value
		case "result":
			r.Result = value
		case "error":
			failure = value
		}
		return nil
	})
	if failure != nil {
		r.Err = new(Error)
		if failure[0] != '{' || json.Unmarshal(failure, r.Err) != nil {
			return Response{}, ErrInvalidRequest
		}
	}
	if err != nil || !isVersion(version) || !isID(r.ID) || (r.Result == nil) == (r.Err == nil) {
		return Response{}, ErrInvalidRequest
	}
	return r, nil
}

// Why a line is no JSON, or JSON no request. Made once: a client may send many.
var (
	errNotUTF8    = ErrParse.Because("not UTF-8")
	errNotWhole   = ErrParse.Because("not one whole JSON value in this line")
	errDeep       = ErrParse.Because("nested too deep")
	errNoRequest  = ErrInvalidRequest.Because("a request is an object, or an array of requests")
	errEmptyBatch = ErrInvalidRequest.Because("an array without requests")
	errVersion    = ErrInvalidRequest.Because(`"jsonrpc" must be "2.0"`)
	errNoMethod   = ErrInvalidRequest.Because(`"method" is missing`)
	errMethod     = ErrInvalidRequest.Because(`"method" must be a string`)
	errNullParams = ErrInvalidRequest.Because(`"params" must be an object or an array, not null: leave it out if there are none`)
	errParams     = ErrInvalidRequest.Because(`"params" must be an object or an array`)
	errID         = ErrInvalidRequest.Because(`"id" must be a number, a string or null`)
	errTwice      = ErrInvalidRequest.Because("a member is given twice")
	errMany       = ErrInvalidRequest.Because(fmt.Sprintf("more than %d unknown members", MaxMembers))
)

// notJSON says what is wrong with a line that the scanner has refused.
func notJSON(line []byte) *Error {
	switch {
	case !utf8.Valid(line):
		return errNotUTF8
	case Valid(line, anyDepth) == nil:
		return errDeep
	}
	return errNotWhole
}

// decode decodes the request that is all of line, nested at most depth deep. When it fails, r.ID is the request's id
// if that could be read, and the rest of r is rubbish.
func decode(line []byte, depth int, r *Request, n names) *Error {
	if decodeShort(line, depth, r, n) {
		return nil
	}
	return decodeLong(line, depth, r, n)
}

// decodeShort is the short way for what most clients write: jsonrpc, method, params, and id if any, in this order and without white
// space between them. False means that the line is another one, good or bad; then r is as it was.
func decodeShort(line []byte, depth int, r *Request, n names) bool {
	i := begins(line, 0, `{"jsonrpc":"2.0","method":`)
	if i < 0 || i == len(line) || line[i] != '"' {
		return false
	}
	end := scanString(line, i)
	params := begins(line, end, `,"params":`)
	if params < 0 || params == len(line) || line[params] != '{' && line[params] != '[' {
		return false
	}
	behind := scanValue(line, params, depth-1)
	last, id := len(line)-1, begins(line, behind, `,"id":`)
	switch {
	case behind < 0 || line[last] != '}':
		return false
	case id < 0:
		if behind != last {
			return false
		}
	case !isID(line[id:]) || scanValue(line, id, 0) != last:
		return false
	}
	r.Method, r.Params = n.intern(unquote(line[i+1:end-1])), line[params:behind:behind]
	if id > 0 {
		r.ID = line[id:last:last]
	}
	return true
}

// begins returns the index behind text, if that is at line[i], or else -1. Of an i of -1 it makes -1.
func begins(line []byte, i int, text string) int {
	if end := i + len(text); i >= 0 && end <= len(line) && string(line[i:end]) == text {
		return end
	}
	return -1
}

// decodeLong is decode of whatever comes.
func decodeLong(line []byte, depth int, r *Request, n names) *Error {
	e := envelope{r: r, names: n}
	i := skipSpace(line, 0)
	if i < len(line) && line[i] == '{' {
		i = scanObject(line, i, depth, func(name, value []byte) { e.member(name, value) })
	} else {
		i = scanValue(line, i, depth)
	}
	switch {
	case i < 0 || skipSpace(line, i) != len(line):
		r.ID = nil
		return notJSON(line)
	case e.bad != nil:
		return e.bad
	case e.seen == 0 && line[skipSpace(line, 0)] != '{':
		return errNoRequest
	case e.seen&hasVersion == 0:
		return errVersion
	case e.seen&hasMethod == 0:
		return errNoMethod
	}
	return nil
}

// envelope takes in the members of a request object. The first fault is only noted: the id may come later, and that the
// line is no JSON goes before it.
type envelope struct {
	r      *Request
	names  names
	seen   int // has… bits
	bad    *Error
	others [][]byte // names of the unknown members
}

const (
	hasVersion = 1 << iota
	hasMethod
	hasParams
	hasID
)

func (e *envelope) member(name, value []byte) {
	bit := memberBit(name)
	if bit == 0 {
		name = unquote(name)
		if bit = memberBit(name); bit == 0 {
			e.other(name)
			return
		}
	}
	twice := e.seen&bit != 0
	if twice {
		e.fault(errTwice)
	}
	e.seen |= bit
	switch bit {
	case hasVersion:
		if !isVersion(value) {
			e.fault(errVersion)
		}
	case hasMethod:
		if value[0] != '"' {
			e.fault(errMethod)
			return
		}
		e.r.Method = e.names.intern(unquote(value[1 : len(value)-1]))
	case hasParams:
		if value[0] == 'n' {
			e.fault(errNullParams)
		} else if value[0] != '{' && value[0] != '[' {
			e.fault(errParams)
		}
		e.r.Params = value
	case hasID:
		if e.r.ID = value; !isID(value) {
			e.fault(errID)
			e.r.ID = nil
		} else if twice {
			e.r.ID = nil // which one is meant, can't be told
		}
	}
}

func (e *envelope) fault(err *Error) {
	if e.bad == nil {
		e.bad = err
	}
}

// other notes an unknown member, since even that may not come twice.
func (e *envelope) other(name []byte) {
	switch {
	case e.bad != nil:
	case len(e.others) == MaxMembers:
		e.bad = errMany
	case has(e.others, name):
		e.bad = errTwice
	default:
		e.others = append(e.others, name)
	}
}

func memberBit(name []byte) int {
	switch string(name) {
	case "jsonrpc":
		return hasVersion
	case "method":
		return hasMethod
	case "params":
		return hasParams
	case "id":
		return hasID
	}
	return 0
}

func isVersion(value []byte) bool {
	return string(value) == `"2.0"` || len(value) > 5 && value[0] == '"' && string(unquote(value[1:len(value)-1])) == "2.0"
}

func isID(value []byte) bool {
	return len(value) > 0 && (value[0] == '"' || value[0] == '-' || value[0] == 'n' || isDigit(value[0]))
}

// unquote resolves the escapes of a string that the scanner has passed, given without its quotes. It returns s itself
// if there are none.
func unquote(s []byte) []byte {
	if bytes.IndexByte(s, '\\') < 0 {
		return s
	}
	quoted := make([]byte, 0, len(s)+2)
	quoted = append(append(append(quoted, '"'), s...), '"')
	var text string
	if json.Unmarshal(quoted, &text) != nil {
		return s // can't be, after the scanner; but no reason to fall over what a client sent
	}
	return []byte(text)
}

const (
	maxNames = 16 // a connection's: what it keeps is past the budget
	maxName  = 32 // bytes
)

// names remembers the method names of a connection, so that the same name need not be allocated for each request. It is
// bounded: no client can make it grow. A nil one remembers nothing.
type names map[string]string

func (n names) intern(name []byte) string {
	if s, ok := n[string(name)]; ok {
		return s
	}
	s := string(name)
	if n != nil && len(s) <= maxName && len(n) < maxNames {
		n[s] = s
	}
	return s
}
