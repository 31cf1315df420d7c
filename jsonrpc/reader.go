package jsonrpc

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"sync/atomic"
)

// ErrLineTooLong is what a Reader returns for a line longer than its limit. Nothing can be read after it.
var ErrLineTooLong = errors.New("jsonrpc: line too long")

const (
	idleBuffer = 4 << 10  // bytes of the buffer that an idle connection holds
	busyBuffer = 32 << 10 // bytes read at once from a connection that sends much
	longBuffer = 4 << 20  // bytes that are expected again, after that much has come
)

// Reader reads lines. It reads all there is at once, up to 32 KiB or, where lines are long, 4 MiB, and gives away what
// it read: a line belongs to the caller, and is never overwritten. (It shares its memory with the lines that came with
// it.) One goroutine may use it; only SetMaxLine may be called from others.
type Reader struct {
	src   io.Reader
	max   atomic.Int64
	spare buffers
	idle  []byte // the buffer of idleBuffer bytes
	buf   []byte // what is read into: idle, one of spare, or one grown for a long line
	n     int    // 0 <= n <= len(buf); buf[:n] is a line not yet complete
	long  int    // with a little more than came last in a grown buffer, the next long line will do
	rest  []byte // complete lines not yet returned
	err   error  // to be returned when rest is empty

	// Room is asked before the reader takes memory, and told when it has given some back: so many bytes in all beyond
	// an idle one's, its rest included. It may wait, or fail. Nil where nobody counts.
	room  func(n int) error
	told  int // what room was told last
	given int // bytes that rest takes, its whole memory
	// Look is given what has come before the first line is complete, until it says that it knows enough. Lull bounds
	// the reads from now on (true), or no more (false), and reports whether there is still something to be read. Both
	// may be nil.
	look func(some []byte) (known bool, err error)
	lull func(on bool) bool
}

// NewReader reads from src lines of at most maxLine bytes, newline not counted; zero means 16 MiB.
func NewReader(src io.Reader, maxLine int) *Reader {
	r := &Reader{src: src, idle: make([]byte, idleBuffer)}
	r.buf = r.idle
	r.SetMaxLine(maxLine)
	return r
}

// SetMaxLine sets the limit, in bytes, for the lines not yet returned; zero means 16 MiB. Any goroutine may call it.
func (r *Reader) SetMaxLine(n int) {
	if n <= 0 {
		n = defaultMaxLine
	}
	r.max.Store(int64(n))
}

// ReadLine returns the next line that is not empty, nor white space only, without its "\n" or "\r\n". It returns io.EOF at the end of the
// stream, else ErrLineTooLong or the error of the source, again and again.
func (r *Reader) ReadLine() ([]byte, error) {
	for {
		line, err := r.cut()
		if line != nil || err != nil {
			return line, err
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// cut returns the next line of rest, or nil if there is none.
func (r *Reader) cut() ([]byte, error) {
	for len(r.rest) > 0 {
		line := r.rest
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line, r.rest = line[:i:i], line[i+1:]
		} else {
			r.rest = r.rest[:0]
		}
		if len(r.rest) == 0 {
			r.rest = nil // an empty slice would keep the whole buffer
		}
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[: n-1 : n-1]
		}
		if int64(len(line)) > r.max.Load() {
			return nil, r.fail(ErrLineTooLong)
		}
		if skipSpace(line, 0) < len(line) {
			return line, nil
		}
	}
	return nil, nil
}

// fill reads until rest holds a line. Rest must be empty.
func (r *Reader) fill() error {
	quiet := false // a lull was there, and what has come is no whole value
	for r.err == nil {
		if r.n == len(r.buf) {
			if err := r.grow(); err != nil {
				return r.fail(err)
			}
		}
		lull := r.lull != nil && !quiet && r.mayBeWhole()
		if lull {
			r.lull(true)
		}
		n, err := r.src.Read(r.buf[r.n:])
		if lull && r.lull(false) && n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			if Valid(r.buf[:r.n], anyDepth) == nil {
				return r.give(r.n)
			}
			quiet = true
			continue
		}
		quiet = false
		start := r.n
		r.n += n
		if err != nil {
			r.err = err
		}
		if r.look != nil && r.n > 0 {
			known, err := r.look(r.buf[:r.n])
			if err != nil {
				return r.fail(err)
			}
			if known {
				r.look = nil
			}
		}
		if end := lastLine(r.buf[start:r.n]); end > 0 {
			return r.give(start + end)
		}
		if int64(r.n) > r.max.Load()+1 { // +1: a "\r" may come before the newline
			return r.fail(ErrLineTooLong)
		}
	}
	if r.err == io.EOF && r.n > 0 {
		return r.give(r.n) // the last line lacks its newline
	}
	return r.err
}

// lastLine is where the last line in some ends, 0 if none does. Looking backwards takes ten times as long, so only a little is
// looked at that way: where lines are long, what follows the last one may be, too.
func lastLine(some []byte) (end int) {
	first := bytes.IndexByte(some, '\n')
	if first < 0 {
		return 0
	}
	near := max(first, len(some)-idleBuffer)
	if i := bytes.LastIndexByte(some[near:], '\n'); i >= 0 {
		return near + i + 1
	}
	for end = first + 1; ; {
		i := bytes.IndexByte(some[end:], '\n')
		if i < 0 {
			return end
		}
		end += i + 1
	}
}

// mayBeWhole tells whether an object or an array may end where the bytes do. Then it is worth to see if something
// follows: some clients send no newline. It is not looked for in long lines, which would have to be scanned after each
// of their pieces.
func (r *Reader) mayBeWhole() bool {
	some := r.buf[:r.n]
	if len(some) < 2 || len(some) > busyBuffer {
		return false
	}
	last := some[len(some)-1]
	if isSpace(last) {
		last = some[len(some)-2]
	}
	return last == '}' || last == ']'
}

// give moves buf[:end] to rest, and what follows to the front of a buffer that suits it.
func (r *Reader) give(end int) error {
	full := r.n == len(r.buf)
	tail := r.buf[end:r.n]
	whole := len(r.buf) > busyBuffer && end >= len(r.buf)-len(r.buf)/8 // a copy would spare little memory
	if len(r.buf) > busyBuffer {
		r.long = min(end+end/8, longBuffer, int(min(r.max.Load(), longBuffer))+2)
	}
	size := 0 // of another buffer than this one and idle
	switch {
	case len(tail) > busyBuffer:
		size = max(2*len(tail), r.long) // the next line is as long, most likely
	case (full || len(tail) > idleBuffer) && len(r.buf) != busyBuffer:
		size = busyBuffer
	}
	if r.given = end; whole {
		r.given = 0
	}
	if err := r.hold(r.taken() + r.given + size); err != nil {
		return r.fail(err)
	}
	if whole {
		r.rest, r.given = r.buf[:end:end], len(r.buf)
	} else {
		r.rest = bytes.Clone(r.buf[:end])
	}
	next := r.buf
	switch {
	case size == busyBuffer:
		next = r.spare.get()
	case size > 0:
		next = make([]byte, size)
	case !full && len(tail) <= idleBuffer:
		next = r.idle
	}
	r.n = copy(next, tail)
	r.replace(next)
	return r.hold(r.taken() + r.given)
}

// grow makes room after a line that fills its buffer.
func (r *Reader) grow() error {
	size := busyBuffer
	if len(r.buf) >= busyBuffer {
		limit := int(min(r.max.Load(), math.MaxInt/2)) + 2
		size = max(min(max(2*len(r.buf), r.long), limit), len(r.buf)+idleBuffer)
	}
	if err := r.hold(r.taken() + size); err != nil {
		return err
	}
	var next []byte
	if size == busyBuffer {
		next = r.spare.get()
	} else {
		next = make([]byte, size)
	}
	copy(next, r.buf[:r.n])
	r.replace(next)
	return r.hold(r.taken())
}

// replace makes b the buffer.
func (r *Reader) replace(b []byte) {
	if &b[0] == &r.buf[0] {
		return
	}
	if len(r.buf) == busyBuffer {
		r.spare.put(r.buf) // NB: never a grown one, which may have been given away
	}
	r.buf = b
}

// taken is how many bytes its buffer takes, beyond an idle one's.
func (r *Reader) taken() int {
	if len(r.buf) == idleBuffer {
		return 0
	}
	return len(r.buf)
}

// hold says that it is going to take n bytes. Few are not worth a word.
func (r *Reader) hold(n int) error {
	if n <= idleBuffer {
		n = 0
	}
	if r.room == nil || n == r.told {
		return nil
	}
	if err := r.room(n); err != nil {
		return err
	}
	r.told = n
	return nil
}

// part says that the memory of rest belongs to others now, and that room knows it.
func (r *Reader) part() { r.given, r.told = 0, r.taken() }

// fail ends the reading, and gives all memory back.
func (r *Reader) fail(err error) error {
	r.err, r.rest, r.n, r.given = err, nil, 0, 0
	r.replace(r.idle)
	_ = r.hold(0) // to give back can't fail
	return err
}

// buffers is a free list of buffers of busyBuffer bytes, safe for concurrent use. A nil one keeps none.
type buffers chan []byte

func (f buffers) get() []byte {
	select {
	case b := <-f:
		return b
	default:
		return make([]byte, busyBuffer)
	}
}

// put takes a buffer of any kind, and keeps it if it has the right size.
func (f buffers) put(b []byte) {
	if cap(b) != busyBuffer {
		return
	}
	select {
	case f <- b[:busyBuffer]:
	default:
	}
}

// some is a buffer for so many bytes at least, empty. Where none is free, it is a small one: many connections may need
// one at once.
func (f buffers) some(n int) []byte {
	if n <= busyBuffer {
		select {
		case b := <-f:
			return b[:0]
		default:
		}
	}
	return make([]byte, 0, max(n, 1<<10))
}
