package jsonrpc

import (
	"bytes"
	"errors"
)

// What a server needs to look into params, on the scanner that has passed them already.

// MaxMembers bounds the members of a request's params (and its unknown ones), since looking for duplicates takes each name's
// comparison with all before it.
const MaxMembers = 64

var (
	errInvalid   = errors.New("jsonrpc: not JSON, not UTF-8 or nested too deep")
	errNoObject  = errors.New("jsonrpc: not an object")
	errNoArray   = errors.New("jsonrpc: not an array")
	errDuplicate = errors.New("jsonrpc: duplicate member")
	errMembers   = errors.New("jsonrpc: too many members")
)

// Valid returns nil if b is one JSON value in UTF-8 whose arrays and objects nest at most depth deep, white space around
// it allowed.
func Valid(b []byte, depth int) error {
	i := scanValue(b, skipSpace(b, 0), depth)
	if i < 0 || skipSpace(b, i) != len(b) {
		return errInvalid
	}
	return nil
}

// Members calls fn with each member of an object that is known to be valid JSON, until fn returns an error, which Members
// then returns. The name has its escapes resolved; name and value may alias the object. A value that is no object, a
// duplicate member and more than MaxMembers members are errors; fn may have been called before.
func Members(object []byte, fn func(name, value []byte) error) error {
	i := skipSpace(object, 0)
	if i == len(object) || object[i] != '{' {
		return errNoObject
	}
	var first [8][]byte // spares most calls an allocation
	seen := first[:0]
	var err error
	i = skipMembers(object, i, func(name, value []byte) {
		if err != nil {
			return
		}
		name = unquote(name)
		switch {
		case has(seen, name):
			err = errDuplicate
		case len(seen) == MaxMembers:
			err = errMembers
		default:
			seen = append(seen, name)
			err = fn(name, value)
		}
	})
	if i < 0 && err == nil {
		return errInvalid
	}
	return err
}

// Elements calls fn with each element of an array that is known to be valid JSON, until fn returns an error, which Elements
// then returns. The elements alias the array.
func Elements(array []byte, fn func(value []byte) error) error {
	i := skipSpace(array, 0)
	if i == len(array) || array[i] != '[' {
		return errNoArray
	}
	var err error
	i = skipElements(array, i, func(value []byte) {
		if err == nil {
			err = fn(value)
		}
	})
	if i < 0 && err == nil {
		return errInvalid
	}
	return err
}

// anyDepth is for values that were checked before, against whatever limit, and for answers, which may wrap deep values. It still
// bounds the recursion.
const anyDepth = 10_000

// Compact is value, which is known to be valid JSON, without the white space that means nothing. It returns value itself
// if there is none, else a new slice.
func Compact(value []byte) []byte {
	if !hasBlank(value) {
		return value // as most are: that is found out 32 bytes at a time
	}
	var dst []byte // nil as long as nothing was left out
	kept := 0      // value[:kept] is in dst, without its white space
	for i := 0; i < len(value); {
		switch {
		case value[i] == '"':
			if i = skipString(value, i); i < 0 {
				return value // it is not valid
			}
			continue
		case isSpace(value[i]):
			if dst == nil {
				dst = make([]byte, 0, len(value)-1)
			}
			dst = append(dst, value[kept:i]...)
			kept = i + 1
		}
		i++
	}
	if dst == nil {
		return value
	}
	return append(dst, value[kept:]...)
}

func has(names [][]byte, name []byte) bool {
	for _, n := range names {
		if bytes.Equal(n, name) {
			return true
		}
	}
	return false
}
