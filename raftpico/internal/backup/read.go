package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/storage"
)

// DamageError says that something is no backup, or not a whole one: nothing of it should be used.
type DamageError struct {
	Line   int // from 1
	Reason string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("the backup can't be used: line %d: %s", e.Line, e.Reason)
}

// Bounds of what is read into memory, in bytes: of a line other than the state's, and of the first line, which may be
// that of any file.
const (
	maxLine  = 256 << 20
	maxFirst = 64 << 10
)

// maxDepth bounds the nesting of a state: more than a machine can have written (package node).
const maxDepth = 2048

// Read reads a backup to its end and verifies it. begin gets what stands before the state, and returns where the state
// goes. The state is whole and sound only when Read has returned nil. An error of begin, of its writer or of r comes
// back wrapped; what is wrong with the backup is a *DamageError. It returns the bytes read, too.
func Read(r io.Reader, begin func(h Head, system json.RawMessage) (io.Writer, error)) (h Head, size int64, err error) {
	in := &input{r: bufio.NewReaderSize(r, 256<<10), hash: sha256.New(), line: 1}
	var first struct{ Backup Head }
	if err := in.next(maxFirst, &first); err != nil {
		return h, 0, err
	}
	switch h = first.Backup; {
	case h.Format != Format:
		return h, 0, &DamageError{1, fmt.Sprintf("its format is %d, this program's %d", h.Format, Format)}
	case h.Index == 0 || h.Term == 0 || h.Bytes <= 0:
		return h, 0, &DamageError{1, "it tells no index, no term or no size"}
	}
	var second struct{ System json.RawMessage }
	if err := in.next(maxLine, &second); err != nil {
		return h, 0, err
	}
	if second.System == nil {
		return h, 0, &DamageError{2, "it is not the system machine's"}
	}
	to, err := begin(h, second.System)
	if err == nil {
		err = in.state(h.Bytes, to)
	}
	if err == nil {
		err = in.end()
	}
	return h, in.bytes, err
}

// input reads a backup line by line.
type input struct {
	r     *bufio.Reader
	hash  hash.Hash
	line  int    // that is being read
	bytes int64  // of the lines before
	crc   uint32 // of the line before
}

func (in *input) damage(reason string) error { return &DamageError{in.line, reason} }

const (
	changed = "its crc does not match: something has changed the file"
	cut     = "it is cut: the rest of the file is missing"
)

// failed is what an error of reading means where more should come.
func (in *input) failed(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return in.damage(cut)
	}
	return fmt.Errorf("backup: read: %w", err)
}

// next reads a line, checks its crc and decodes it.
func (in *input) next(limit int, into any) error {
	line, err := in.readLine(limit)
	if err != nil {
		return err
	}
	text := line[:len(line)-1]
	crc, ok := storage.CheckLine(in.crc, text)
	switch {
	case in.line == 1 && !bytes.HasPrefix(line, []byte(backupOpen)): // a log's crc is right
		return in.damage(foreign(line))
	case !ok:
		return in.damage(changed)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return in.damage(fmt.Sprintf("it can't be decoded: %v", err))
	}
	in.pass(line, crc)
	return nil
}

// readLine reads a line with its newline.
func (in *input) readLine(limit int) (line []byte, err error) {
	for {
		part, err := in.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case in.line == 1 && !bytes.HasPrefix(line, []byte(backupOpen)) && (err == io.EOF || err == bufio.ErrBufferFull):
			return nil, in.damage(foreign(line))
		case err != bufio.ErrBufferFull:
			return nil, in.failed(err)
		case len(line) > limit:
			return nil, in.damage("it is too long")
		}
	}
}

// pass counts a good line.
func (in *input) pass(text []byte, crc uint32) {
	_, _ = in.hash.Write(text)
	in.bytes += int64(len(text))
	in.crc = crc
	in.line++
}

const backupOpen = `{"Backup":{"format":`

// foreign tells what a file is that is no backup, by its beginning.
func foreign(line []byte) string {
	switch {
	case len(line) == 0:
		return "the file is empty"
	case bytes.HasPrefix(line, []byte(`{"Header":`)):
		return "this is a log file, and no backup"
	case bytes.HasPrefix(line, []byte{0x1f, 0x8b}), bytes.HasPrefix(line, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "it is compressed: unpack it first"
	}
	return "this is no backup"
}

// state reads the line of the state, and hands that on.
func (in *input) state(size int64, to io.Writer) error {
	open := make([]byte, len(stateOpen))
	if _, err := io.ReadFull(in.r, open); err != nil {
		return in.failed(err)
	}
	if string(open) != stateOpen {
		return in.damage("it is not the state")
	}
	crc := storage.Chain(in.crc, open)
	_, _ = in.hash.Write(open)
	out := &sink{w: to}
	checked := jsonrpc.NewCompactor(out, maxDepth)
	var flaw error
	buf := make([]byte, 256<<10)
	for left := size; left > 0; {
		n, err := in.r.Read(buf[:min(int64(len(buf)), left)])
		piece := buf[:n]
		if bytes.IndexByte(piece, '\n') >= 0 {
			return in.damage("it is shorter than the first line says")
		}
		crc = crc32.Update(crc, storage.Castagnoli, piece)
		_, _ = in.hash.Write(piece)
		left -= int64(n)
		if flaw == nil { // what is no JSON was changed, most likely: the crc will tell
			_, flaw = checked.Write(piece)
		}
		if out.err != nil {
			return out.err
		}
		if err != nil && left > 0 {
			return in.failed(err)
		}
	}
	tail := make([]byte, storage.TailLen+1)
	if _, err := io.ReadFull(in.r, tail); err != nil {
		return in.failed(err)
	}
	if stated, formed := storage.ReadTail(tail[:storage.TailLen]); !formed || tail[storage.TailLen] != '\n' || stated != crc {
		return in.damage(changed)
	}
	if flaw == nil {
		flaw = checked.Close()
	}
	switch {
	case out.err != nil:
		return out.err
	case flaw != nil:
		return in.damage(fmt.Sprintf("the state is no JSON: %v", flaw))
	}
	in.bytes += int64(len(open)) + size
	in.pass(tail, crc)
	return nil
}

// sink notes the error of a writer.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (n int, err error) {
	n, err = s.w.Write(p)
	s.err = err
	return n, err
}

// end reads the last line, and sees that nothing follows.
func (in *input) end() error {
	bytes, sum := in.bytes, hex.EncodeToString(in.hash.Sum(nil))
	var last struct{ End *end }
	if err := in.next(maxFirst, &last); err != nil {
		return err
	}
	in.line-- // that was it
	switch {
	case last.End == nil:
		return in.damage("it is not the last line of a backup")
	case *last.End != end{lines, bytes, sum}:
		return in.damage("the lines before are not those that it tells of")
	}
	in.line++
	switch _, err := in.r.ReadByte(); err {
	case io.EOF:
		return nil
	case nil:
		return in.damage("something follows the last line")
	default:
		return in.failed(err)
	}
}
