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

// plainRun returns how many bytes at b's beginning are plain. Strings are most of JSON, so it takes eight at a time, and more of
// long ones.
func plainRun(b []byte) int {
	i := 0
	if len(b) >= 64 {
		i = longRun(b)
	}
	for ; i+8 <= len(b); i += 8 {
		if odd := odd(binary.LittleEndian.Uint64(b[i:])) & tops; odd != 0 {
			return i + bits.TrailingZeros64(odd)/8
		}
	}
	for i < len(b) && plain[b[i]] {
		i++
	}
	return i
}

// longRun returns about how many bytes are plain, rounded down to a multiple of 32.
func longRun(b []byte) (i int) {
	for ; i+32 <= len(b); i += 32 {
		w := (*[32]byte)(b[i:])
		if (odd(binary.LittleEndian.Uint64(w[:8]))|odd(binary.LittleEndian.Uint64(w[8:16]))|
			odd(binary.LittleEndian.Uint64(w[16:24]))|odd(binary.LittleEndian.Uint64(w[24:])))&tops != 0 {
			break
		}
	}
	return i
}

const ones, tops = 0x0101010101010101, 0x8080808080808080

// odd has the top bits set of the bytes of w that are not plain (see "Determine if a word has a byte less than n" and "… equal
// to n" in Anderson, Bit Twiddling Hacks). NB: A borrow can make a byte behind the first one look so too, never one before it.
func odd(w uint64) uint64 {
	quote, backslash := w^ones*'"', w^ones*'\\'
	return (w - ones*' ') | (quote - ones) | (backslash - ones) | w
}

// hasBlank tells whether there is a space or a control character in b.
func hasBlank(b []byte) bool {
	for ; len(b) >= 32; b = b[32:] {
		w := (*[32]byte)(b)
		if (blank(binary.LittleEndian.Uint64(w[:8]))|blank(binary.LittleEndian.Uint64(w[8:16]))|
			blank(binary.LittleEndian.Uint64(w[16:24]))|blank(binary.LittleEndian.Uint64(w[24:])))&tops != 0 {
			return true
		}
	}
	for ; len(b) >= 8; b = b[8:] {
		if blank(binary.LittleEndian.Uint64(b))&tops != 0 {
			return true
		}
	}
	for _, c := range b {
		if c <= ' ' {
			return true
		}
	}
	return false
}

// blank has the top bits set of the bytes of w that are spaces or control characters: as odd, but no byte with its top bit
// counts.
func blank(w uint64) uint64 { return (w - ones*(' '+1)) &^ w }
