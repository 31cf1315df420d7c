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

// page is what pieces end at, in bytes: what the disk is given is not touched again.
const page = 4 << 10

// writeLong encodes r, which was counted, and writes its line behind the others.
func (t *tail) writeLong(r *wire.Record) error {
	p := pieces{file: t.file, at: t.size, crc: Chain(t.crc, nil)}
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
	err  error
}

// put appends data to dst, and writes dst whenever it is a piece.
func (p *pieces) put(dst, data []byte) []byte {
	for len(data) > 0 {
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

func (p *pieces) write(piece []byte) []byte {
	if p.err == nil && bytes.IndexByte(piece, '\n') >= 0 {
		p.err = errNewline
	}
	if p.err == nil {
		p.crc = crc32.Update(p.crc, Castagnoli, piece)
		p.err = writeAt(p.file, piece, p.at)
	}
	if p.err == nil {
		p.err = p.file.WriteOut(p.at, int64(len(piece)), false)
	}
	p.at += int64(len(piece))
	return piece[:0]
}
