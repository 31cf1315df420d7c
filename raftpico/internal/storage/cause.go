package storage

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strings"
)

// A crc that does not match tells nobody what to do. Here is told what an editor or a tool has done to a file, where it
// is cheap to see.

// byTool ends such a reason. The crc holds each byte, so what has been undone is right if the file opens.
const byTool = ": an editor or a tool has changed the file. If it changed nothing else, undo that"

// starts are how files begin that were a log before.
var starts = []struct{ bytes, what string }{
	{"\xef\xbb\xbf", "it begins with a byte order mark"},
	{"\xff\xfe", "it is UTF-16"},
	{"\xfe\xff", "it is UTF-16"},
	{"{\x00", "it is UTF-16"},
	{"\x00{", "it is UTF-16"},
	{"\x1f\x8b", "it is packed by gzip"},
	{"\x28\xb5\x2f\xfd", "it is packed by zstd"},
	{"\xfd7zXZ", "it is packed by xz"},
	{"BZh", "it is packed by bzip2"},
	{"PK\x03\x04", "it is packed by zip"},
	{"version https://git-lfs", "it is a pointer of Git LFS"},
}

// causeOfStart tells why a first line is no header, as far as its beginning does.
func causeOfStart(text []byte) string {
	for _, s := range starts {
		if bytes.HasPrefix(text, []byte(s.bytes)) {
			return s.what + byTool
		}
	}
	if strings.HasPrefix(strip(text), headerStart) || strings.TrimSpace(string(text[:min(len(text), 9)])) == "{" {
		return "it is formatted otherwise" + byTool
	}
	if bytes.HasPrefix(text, []byte(`{"Backup":`)) {
		return "it is a backup: raftpico restore makes a log of it"
	}
	return "it does not begin with a header"
}

// strip takes white space out of the beginning of a line.
func strip(text []byte) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r", r) {
			return -1
		}
		return r
	}, string(text[:min(len(text), 100)]))
}

// causeOfCRC tells why a line behind one with the crc prev has a wrong crc. whole is wholeRecord's, decoded tells
// whether it is a record.
func causeOfCRC(text []byte, whole int, decoded bool) string {
	switch {
	case len(text) == 0:
		return "it is empty" + byTool
	case whole > 0 && string(text[whole:]) == "\r":
		return "it ends in CR LF, not LF" + byTool
	case whole > 0:
		return fmt.Sprintf("%d bytes stand between its end and its newline%s", len(text)-whole, byTool)
	case decoded && !endsAsWritten(text):
		return "it is formatted otherwise" + byTool
	}
	return "its crc does not match"
}

func endsAsWritten(text []byte) bool {
	if len(text) < TailLen {
		return false
	}
	_, ok := ReadTail(text[len(text)-TailLen:])
	return ok
}

// wholeRecord is the length of the good record that text begins with, 0 if it does not.
func wholeRecord(prev uint32, text []byte) int {
	for crc, at := Chain(prev, nil), 0; ; {
		i := bytes.Index(text[at:], []byte(crcOpen))
		if i < 0 || at+i+TailLen > len(text) {
			return 0
		}
		crc = crc32.Update(crc, Castagnoli, text[at:at+i])
		at += i
		if stated, ok := ReadTail(text[at : at+TailLen]); ok && stated == crc {
			return at + TailLen
		}
		crc = crc32.Update(crc, Castagnoli, text[at:at+1])
		at++
	}
}
