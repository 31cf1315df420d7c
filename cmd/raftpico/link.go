package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// link is bench's way to one server, over one connection after the other. Owner: the benchmark's goroutine.
type link struct {
	addr    string
	pipe    *pipe     // nil: no connection now
	busy    int       // requests under way
	out     []byte    // lines to be sent
	heard   time.Time // the last answer, or the first request when none was under way
	proven  bool      // the connection has brought an answer, or is the first; until then one request may be under way
	away    time.Time // when the last proven connection broke
	pause   time.Duration
	givenUp bool
	running sync.WaitGroup // its goroutines
}

// usable tells whether a request may be sent.
func (l *link) usable() bool { return l.pipe != nil && (l.proven || l.busy == 0) }

// pipe is one connection with the goroutines that read and write it.
type pipe struct {
	link *link
	conn net.Conn
	full chan []byte // to the writer; room for one block a request under way, so that it never blocks
	free chan []byte // back from it
}

// arrival is what a connection brought at one time: whole lines, or an error after the last of them.
type arrival struct {
	pipe  *pipe
	block string
	end   int64
	err   error
}

// open takes a new connection into use.
func (l *link) open(b *benchmark, conn net.Conn) {
	p := &pipe{link: l, conn: conn, full: make(chan []byte, b.concurrency), free: make(chan []byte, 4)}
	l.pipe = p
	dead := make(chan struct{}) // closed by the reader: the writer leaves too
	l.running.Go(func() { p.write(dead) })
	l.running.Go(func() { defer close(dead); p.read(b.arrivals, b.quit.Done()) })
}

// read passes answers on until the connection ends.
func (p *pipe) read(to chan<- arrival, quit <-chan struct{}) {
	in := lines{r: p.conn}
	var buf []byte
	for {
		block, err := in.next(buf)
		buf = block
		if errors.Is(err, io.EOF) {
			err = errClosed
		}
		select {
		case to <- arrival{p, string(block), micros(), err}:
		case <-quit:
			return
		}
		if err != nil {
			return
		}
	}
}

// write sends blocks until the connection ends. An error shows to the reader too, and it tells.
func (p *pipe) write(dead <-chan struct{}) {
	for {
		select {
		case block := <-p.full:
			if _, err := p.conn.Write(block); err != nil {
				return
			}
			select {
			case p.free <- block[:0]:
			default:
			}
		case <-dead:
			return
		}
	}
}

// flush hands the lines to the writer.
func (l *link) flush() {
	if len(l.out) == 0 {
		return
	}
	l.pipe.full <- l.out
	select {
	case l.out = <-l.pipe.free:
	default:
		l.out = nil
	}
}
