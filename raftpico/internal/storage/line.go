package storage

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strconv"
)

// What a line ends in behind its record: `,"crc":"9d3f02c1"}`, then the newline. Package backup writes lines of this form
// too.
const (
	crcOpen  = `,"crc":"`
	crcClose = `"}`
	TailLen  = len(crcOpen) + 8 + len(crcClose) // bytes, without the newline
)

// Castagnoli is the polynomial of a line's crc.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Chain is the crc of a line: CRC-32C over the crc of the line before (four bytes, big-endian) and this line's body.
func Chain(prev uint32, body []byte) uint32 {
	var seed [4]byte
	binary.BigEndian.PutUint32(seed[:], prev)
	return crc32.Update(crc32.Checksum(seed[:], Castagnoli), Castagnoli, body)
}

// AppendTail ends a line. The body before it is a record's JSON without its last brace.
func AppendTail(dst []byte, crc uint32) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, crcOpen...)
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, digits[crc>>shift&15])
	}
	return append(append(dst, crcClose...), '\n')
}

// CheckLine reads the crc that a line, without its newline, states, and tells whether it is right after prev.
func CheckLine(prev uint32, text []byte) (stated uint32, ok bool) {
	n := len(text) - TailLen
	if n < 1 {
		return 0, false
	}
	stated, formed := ReadTail(text[n:])
	return stated, formed && stated == Chain(prev, text[:n])
}

// ReadTail reads what AppendTail has written, without the newline.
func ReadTail(tail []byte) (crc uint32, ok bool) {
	if string(tail[:len(crcOpen)]) != crcOpen || !bytes.HasSuffix(tail, []byte(crcClose)) {
		return 0, false
	}
	hex := tail[len(crcOpen) : len(tail)-len(crcClose)]
	v, err := strconv.ParseUint(string(hex), 16, 32)
	if err != nil || bytes.ContainsAny(hex, "ABCDEF") {
		return 0, false
	}
	return uint32(v), true
}

// sector is the unit in which disks and file systems write: each sector of a line reached the disk or did not.
const sector = 512

// torn tells whether a crash in the writes of this line explains its bad crc. They grew the file or went into its room, so what
// did not reach the disk reads as zeros or tabs: the newline, a whole sector, or the line's share of its first sector. A line has
// neither, so no other fault is likely to look like that.
func torn(text []byte, offset int64, ended bool) bool {
	first := sector - int(offset%sector)
	return !ended || holdsFiller(text, sector) || first <= len(text) && isFiller(text[:first])
}
