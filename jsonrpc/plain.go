package jsonrpc

import (
	"encoding/binary"
	"math/bits"
)

// plain holds the bytes that stand for themselves in a JSON string, outside of UTF-8 sequences.
var plain = func() (t [256]bool) {
	for c := ' '; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// plainRun returns how many bytes at b's beginning are plain. Strings are most of JSON, so it takes eight at a time (see
// "Determine if a word has a byte less than n" and "… equal to n" in Anderson, Bit Twiddling Hacks).
func plainRun(b []byte) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, backslash := w^ones*'"', w^ones*'\\'
		// NB: a borrow can make a byte behind the first that is not plain look so too, never one before it.
		if odd := ((w - ones*' ') | (quote - ones) | (backslash - ones) | w) & tops; odd != 0 {
			return i + bits.TrailingZeros64(odd)/8
		}
	}
	for i < len(b) && plain[b[i]] {
		i++
	}
	return i
}
