package main

import (
	"errors"
	"io"
	"net"
	"sync"
)

// link is bench's connection to one server. The upper fields are those of benchmark's goroutine.
type link struct {
	addr string
	busy int    // requests under way
	dead bool   // given up
	out  []byte // lines to be sent

	conn net.Conn
	full chan []byte // to the writer; room for one block a request under way, so that it never blocks
	free chan []byte // back from it
	done sync.WaitGroup
}

// arrival is what a link brought at one time: whole lines, or an error after the last of them.
type arrival struct {
	link  *link
	block string
	end   int64
	err   error
}

func dial(addr string, to chan<- arrival, quit <-chan struct{}, concurrency int) (*link, error) {
	conn, err := net.DialTimeout("tcp", addr, dialTimeout)
	if err != nil {
		return nil, err
	}
	l := &link{addr: addr, conn: conn, full: make(chan []byte, concurrency), free: make(chan []byte, 4)}
	l.done.Go(func() { l.write(quit) })
	l.done.Go(func() { l.read(to, quit) })
	return l, nil
}

// read passes answers on until the connection ends.
func (l *link) read(to chan<- arrival, quit <-chan struct{}) {
	in := lines{r: l.conn}
	var buf []byte
	for {
		block, err := in.next(buf)
		buf = block
		if errors.Is(err, io.EOF) {
			err = errors.New("the server closed the connection")
		}
		select {
		case to <- arrival{l, string(block), micros(), err}:
		case <-quit:
			return
		}
		if err != nil {
			return
		}
	}
}

// write sends blocks until the run ends. An error shows to the reader too, and it tells.
func (l *link) write(quit <-chan struct{}) {
	for {
		select {
		case block := <-l.full:
			if _, err := l.conn.Write(block); err != nil {
				return
			}
			select {
			case l.free <- block[:0]:
			default:
			}
		case <-quit:
			return
		}
	}
}

// flush hands the lines to the writer.
func (l *link) flush() {
	if len(l.out) == 0 {
		return
	}
	l.full <- l.out
	select {
	case l.out = <-l.free:
	default:
		l.out = nil
	}
}
