package jsonrpc

import "bytes"

// What has been scanned once is known to be JSON. To find again where a value ends takes a fraction of that: a string ends at
// the next quote that is not escaped, everything else is counted.
//
// Every function returns the index after what it passes at b[i:], or -1. Of what is not JSON it may return either.

// SkipValue returns the index behind the JSON value that begins at b[i] and is known to be valid, or -1 if there is none. Of
// what is not valid it returns -1, or anything up to len(b).
func SkipValue(b []byte, i int) int {
	begin, depth := i, 0
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			if i = skipString(b, i); depth == 0 || i < 0 {
				return i
			}
			continue
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1
			}
			if depth < 0 {
				return behind(begin, i)
			}
		case depth == 0 && (c == ',' || c == ':' || isSpace(c)):
			return behind(begin, i)
		}
		i++
	}
	if depth > 0 {
		return -1
	}
	return behind(begin, i)
}

// behind is i, or -1 where there is nothing between.
func behind(begin, i int) int {
	if i == begin {
		return -1
	}
	return i
}

// skipString returns the index behind the quote that ends the string at b[i]: the next one behind an even number of backslashes.
func skipString(b []byte, i int) int {
	for i++; ; {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		end := i + n
		back := end
		for back > i && b[back-1] == '\\' {
			back--
		}
		if i = end + 1; (end-back)%2 == 0 {
			return i
		}
	}
}

// skipMembers calls visit with each member of the object at b[i]: the name as written, without its quotes, and the value.
// Both alias b.
func skipMembers(b []byte, i int, visit func(name, value []byte)) int {
	for i = skipSpace(b, i+1); i < len(b) && b[i] == '"'; {
		end := skipString(b, i)
		if end < 0 {
			return -1
		}
		name := b[i+1 : end-1]
		if i = skipSpace(b, end); i >= len(b) || b[i] != ':' {
			return -1
		}
		i = skipSpace(b, i+1)
		if end = SkipValue(b, i); end < 0 {
			return -1
		}
		visit(name, b[i:end:end])
		if i = skipSpace(b, end); i >= len(b) || b[i] != ',' {
			break
		}
		i = skipSpace(b, i+1)
	}
	if i >= len(b) || b[i] != '}' {
		return -1
	}
	return i + 1
}

// skipElements calls visit with each element of the array at b[i].
func skipElements(b []byte, i int, visit func(value []byte)) int {
	for i = skipSpace(b, i+1); i < len(b) && b[i] != ']'; {
		end := SkipValue(b, i)
		if end < 0 {
			return -1
		}
		visit(b[i:end:end])
		if i = skipSpace(b, end); i >= len(b) || b[i] != ',' {
			break
		}
		i = skipSpace(b, i+1)
	}
	if i >= len(b) || b[i] != ']' {
		return -1
	}
	return i + 1
}
