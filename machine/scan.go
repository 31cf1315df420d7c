package machine

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// How a Union finds its parts: no decoder, since what it looks at was scanned when it came.

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

// endOfValue returns the index behind a value of valid JSON that begins at data[i]. White space that follows a number or a literal
// is taken for a part of it. Of what is not JSON it returns any index.
func endOfValue(data []byte, i int) int {
	for depth := 0; i < len(data); i++ {
		switch marks[data[i]] {
		case 0:
			continue
		case quote:
			i = endOfString(data, i)
		case opens:
			depth++
			continue
		case ends:
			depth--
		case cuts:
			if depth > 0 {
				continue
			}
			return i
		}
		if depth == 0 {
			return i + 1
		} else if depth < 0 {
			return i
		}
	}
	return len(data)
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
	at := i + 1
	for ; at < i+shortText && at+8 <= len(data); at += 8 { // eight at a time, as long as there are no backslashes
		w := binary.LittleEndian.Uint64(data[at:])
		if found := zeros(w^ones*'"') | zeros(w^ones*'\\'); found != 0 {
			at += bits.TrailingZeros64(found) / 8
			break
		}
	}
	for ; at < i+shortText && at < len(data) && data[at] != '\\'; at++ {
		if data[at] == '"' {
			return at
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
	i := 0
	for ; i+8 <= len(text); i += 8 {
		if w := binary.LittleEndian.Uint64(text[i:]); w&tops|zeros(w^ones*'\\') != 0 {
			return bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text)
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c == '\\' || c >= utf8.RuneSelf {
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
