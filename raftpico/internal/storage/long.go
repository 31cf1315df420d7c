package storage

import (
	"bytes"
	"hash/crc32"
	"slices"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// longLine is from how many bytes on a line is written in pieces: no memory is taken for the whole, and the disk is at work on
// one while the next one is made. For less, one write is as quick.
const longLine = maxKept

// longData is from how many bytes on an entry's data, or a part of a state, is written from where it is, and not copied before. For
// less, that would be a write more.
const longData = pieceSize

// longPiece bounds what is written so at once, in bytes: the disk is at work on it while the next one is checked and written. A
// write of so much takes the system less time a byte than four of a fourth.
const longPiece = 1 << 20

// inPieces tells whether a record's line is written so.
func inPieces(r *wire.Record) bool {
	if r.Snapshot != nil || r.LogEntries == nil {
		return false
	}
	for _, e := range r.LogEntries.Entries {
		if len(e.GetData()) >= longData {
			return true
		}
	}
	return wire.SizeOf(r) > longLine
}

// writeLong encodes r, which was counted, and writes its line behind the others.
func (t *tail) writeLong(r *wire.Record) error {
	p := pieces{file: t.file, at: t.size, crc: Chain(t.crc, nil), out: newGiver(t.file, t.size)}
	dst := slices.Grow(t.buf[:0], pieceSize+page)
	t.buf = dst
	dst, err := wire.AppendRecordBy(p.put, dst, r)
	if err == nil {
		err = p.err
	}
	if err != nil {
		return err
	}
	last := dst[:len(dst)-1] // without the brace, as behind it comes the crc
	if bytes.IndexByte(last, '\n') >= 0 {
		return errNewline
	}
	crc := crc32.Update(p.crc, Castagnoli, last)
	last = AppendTail(last, crc)
	if err := writeAt(p.file, last, p.at); err != nil {
		return err
	}
	t.size, t.crc = p.at+int64(len(last)), crc
	return nil
}

// pieces writes what is appended, as soon as it is a piece.
type pieces struct {
	file File
	at   int64  // offset of the next piece
	crc  uint32 // of what was written
	out  giver
	err  error
}

// put appends data to dst, and writes dst whenever it is a piece.
func (p *pieces) put(dst, data []byte) []byte {
	for len(data) > 0 {
		if len(data) >= longData {
			dst = p.write(dst)
			n := min(longPiece-int(p.at%page), len(data))
			p.write(data[:n])
			data = data[n:]
			continue
		}
		room := pieceSize - int(p.at%page) - len(dst)
		if room <= 0 {
			dst = p.write(dst)
			continue
		}
		n := min(room, len(data))
		dst, data = append(dst, data[:n]...), data[n:]
	}
	return dst
}

// write writes a piece, and hands the disk all whole pages as soon as these are as many.
func (p *pieces) write(piece []byte) []byte {
	if len(piece) == 0 {
		return piece
	}
	if p.err == nil && bytes.IndexByte(piece, '\n') >= 0 {
		p.err = errNewline
	}
	if p.err == nil {
		p.crc = crc32.Update(p.crc, Castagnoli, piece)
		p.err = writeAt(p.file, piece, p.at)
	}
	p.at += int64(len(piece))
	if p.err == nil {
		p.err = p.out.handOut(p.at)
	}
	return piece[:0]
}
