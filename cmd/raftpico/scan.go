package main

import (
	"bytes"
	"errors"
	"io"
)

var errNoObject = errors.New("no JSON object")

// members calls f for each member of a JSON object with its name, between the quotes and as it is written, and its
// value. Of valid JSON it sees exactly the members; of anything else it may see anything, but ends.
//
// It is why bench keeps up with three servers: nothing is decoded, 1 ns a byte.
func members[S string | []byte](object S, f func(name, value S) error) error {
	i := space(object, 0)
	if i == len(object) || object[i] != '{' {
		return errNoObject
	}
	for i = space(object, i+1); i < len(object) && object[i] == '"'; i = space(object, i+1) {
		end := value(object, i)
		if end < i+2 || object[end-1] != '"' {
			return errNoObject
		}
		name := object[i+1 : end-1]
		if i = space(object, end); i == len(object) || object[i] != ':' {
			return errNoObject
		}
		i = space(object, i+1)
		if end = value(object, i); end == i {
			return errNoObject
		}
		if err := f(name, object[i:end]); err != nil {
			return err
		}
		if i = space(object, end); i == len(object) || object[i] != ',' {
			break
		}
	}
	if i >= len(object) || object[i] != '}' || space(object, i+1) != len(object) {
		return errNoObject
	}
	return nil
}

// value returns the end of the value that starts at i.
func value[S string | []byte](s S, i int) int {
	for depth := 0; i < len(s); i++ {
		if !structural[s[i]] {
			continue
		}
		switch s[i] {
		case '"':
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return min(i+1, len(s))
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth <= 0 {
				return i + 1 + depth // of a value in brackets, or before the bracket around it
			}
		default:
			if depth == 0 {
				return i
			}
		}
	}
	return min(i, len(s))
}

var structural = [256]bool{'"': true, '{': true, '[': true, '}': true, ']': true, ',': true, ':': true, ' ': true, '\t': true, '\r': true, '\n': true}

// space returns where the white space at i ends.
func space[S string | []byte](s S, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '\r' || s[i] == '\n') {
		i++
	}
	return i
}

const (
	blockSize = 64 << 10  // bytes asked of a reader at once
	lineLimit = 256 << 20 // bytes; no server sends a longer line
)

// lines reads blocks of whole lines.
type lines struct {
	r    io.Reader
	tail []byte // of an unfinished line
	err  error
}

// next returns one or more lines, each with its end, in buf or in new memory. The last line of all may lack its end. An
// error, io.EOF too, comes after the last line.
func (l *lines) next(buf []byte) ([]byte, error) {
	buf = append(buf[:0], l.tail...)
	l.tail = l.tail[:0]
	for l.err == nil {
		if len(buf) > lineLimit {
			return nil, errors.New("a line is too long")
		}
		if cap(buf)-len(buf) < blockSize/2 {
			buf = append(make([]byte, 0, 2*len(buf)+blockSize), buf...)
		}
		var n int
		n, l.err = l.r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if end := bytes.LastIndexByte(buf[len(buf)-n:], '\n'); end >= 0 {
			end += len(buf) - n + 1
			l.tail = append(l.tail, buf[end:]...)
			return buf[:end], nil
		}
	}
	if len(buf) > 0 {
		return buf, nil
	}
	return nil, l.err
}
