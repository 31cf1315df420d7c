package main

import (
	"bytes"
	"strings"
)

// verdict is what can be said of the beginning of a request.
type verdict int

const (
	short   verdict = iota // more must come
	ours                   // it is a POST of the known form
	foreign                // it is not
)

// harmless are headers that change nothing of what a POST means here. With any other one, such as Transfer-Encoding, Expect,
// Connection or Origin, a request is foreign.
var harmless = map[string]bool{"content-type": true, "user-agent": true, "accept": true, "accept-encoding": true, "accept-language": true}

// parsePost looks at the beginning of a connection's input. A POST is ours if it is of HTTP/1.1, its path has letters, digits and
// a few marks, it has one Host, one Content-Length of at most keptBody, and else harmless headers, each in a line of its own.
// Header is the length up to the body, body that of the body.
func parsePost(in []byte) (path string, header, body int, v verdict) {
	const method, version = "POST /", " HTTP/1.1"
	if !bytes.HasPrefix(in, []byte(method)[:min(len(in), len(method))]) {
		return "", 0, 0, foreign
	}
	end := bytes.Index(in, []byte("\r\n\r\n"))
	switch {
	case end < 0 && bareEnd(in):
		return "", 0, 0, foreign // an http.Server takes such lines, and may have all of the request already
	case end < 0:
		return "", 0, 0, short
	}
	first, rest, _ := bytes.Cut(in[:end], []byte("\r\n"))
	target, ok := bytes.CutSuffix(first[len(method)-1:], []byte(version))
	if !ok || !plain(target) {
		return "", 0, 0, foreign
	}
	hosts, length := 0, -1
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !printable(value) {
			return "", 0, 0, foreign
		}
		switch {
		case bytes.EqualFold(name, []byte("host")):
			hosts++
		case bytes.EqualFold(name, []byte("content-length")):
			if length >= 0 {
				return "", 0, 0, foreign
			}
			length = number(bytes.Trim(value, " \t"))
			if length < 0 || length > keptBody {
				return "", 0, 0, foreign
			}
		case bytes.EqualFold(name, []byte("connection")) && bytes.EqualFold(bytes.Trim(value, " \t"), []byte("keep-alive")):
		case !harmless[strings.ToLower(string(name))]:
			return "", 0, 0, foreign
		}
	}
	if hosts != 1 || length < 0 {
		return "", 0, 0, foreign
	}
	return string(target), end + 4, length, ours
}

// bareEnd tells that a line ends without a carriage return.
func bareEnd(in []byte) bool { return bytes.Count(in, []byte("\n")) > bytes.Count(in, []byte("\r\n")) }

// printable tells that the value of a header has none of the characters that an http.Server refuses.
func printable(value []byte) bool {
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// plain tells that a path needs no decoding, and is none that an http.Server would clean.
func plain(path []byte) bool {
	for _, c := range path {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '/', c == '-', c == '_':
		default:
			return false
		}
	}
	return !bytes.Contains(path, []byte("//"))
}

// number is a decimal number of a few digits, or -1.
func number(digits []byte) int {
	if len(digits) == 0 || len(digits) > 8 {
		return -1
	}
	n := 0
	for _, c := range digits {
		if c < '0' || c > '9' {
			return -1
		}
		n = 10*n + int(c-'0')
	}
	return n
}
