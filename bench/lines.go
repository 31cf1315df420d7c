package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
)

// lines is a Client that pipelines JSON-RPC over JSON Lines on one connection. What is begun inside of a done is written when all
// the answers that have come are dealt with, so that a busy connection costs one read and one write for many operations.
type lines struct {
	nc     net.Conn
	encode func(dst []byte, op Op) []byte // a request up to its id

	mu      sync.Mutex
	out     []byte
	spare   []byte        // memory for the next out
	pending []func(error) // by id
	free    []int         // ids
	err     error
}

func dialLines(ctx context.Context, addr string, encode func([]byte, Op) []byte) (Client, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	l := &lines{nc: nc, encode: encode}
	go l.read()
	return l, nil
}

// Go implements Client.
func (l *lines) Go(op Op, done func(error)) {
	l.mu.Lock()
	if l.err != nil {
		err := l.err
		l.mu.Unlock()
		go done(err)
		return
	}
	var id int
	if n := len(l.free); n > 0 {
		id, l.free = l.free[n-1], l.free[:n-1]
	} else {
		id = len(l.pending)
		l.pending = append(l.pending, nil)
	}
	l.pending[id] = done
	l.out = append(l.encode(l.out, op), `,"id":`...)
	l.out = append(strconv.AppendInt(l.out, int64(id), 10), '}', '\n')
	l.mu.Unlock()
}

// Flush implements Client.
func (l *lines) Flush() error {
	l.mu.Lock()
	out := l.out
	if len(out) == 0 {
		l.mu.Unlock()
		return nil
	}
	l.out, l.spare = l.spare[:0], nil
	l.mu.Unlock()
	_, err := l.nc.Write(out)
	l.mu.Lock()
	l.spare = out
	l.mu.Unlock()
	return err
}

// Close implements Client.
func (l *lines) Close() error { return l.nc.Close() }

func (l *lines) read() {
	buf, have := make([]byte, 64<<10), 0
	for {
		if have == len(buf) {
			buf = append(buf, make([]byte, len(buf))...)
		}
		n, err := l.nc.Read(buf[have:])
		if err != nil {
			l.fail(err)
			return
		}
		have += n
		used := 0
		for {
			i := bytes.IndexByte(buf[used:have], '\n')
			if i < 0 {
				break
			}
			if err := l.take(buf[used : used+i]); err != nil {
				l.fail(err)
				return
			}
			used += i + 1
		}
		copy(buf, buf[used:have])
		have -= used
		if err := l.Flush(); err != nil {
			l.fail(err)
			return
		}
	}
}

var idName = []byte(`"id":`)

// take deals with one answer: {"jsonrpc":"2.0","id":7,"result":…}.
func (l *lines) take(line []byte) error {
	at := bytes.Index(line[:min(len(line), 64)], idName)
	if at < 0 {
		return fmt.Errorf("an answer without an id: %.200s", line)
	}
	id, at := 0, at+len(idName)
	first := at
	for ; at < len(line) && '0' <= line[at] && line[at] <= '9'; at++ {
		id = id*10 + int(line[at]-'0')
	}
	if at == first {
		return fmt.Errorf("an answer to no request: %.200s", line)
	}
	var failure error
	if bytes.HasPrefix(line[at:], []byte(`,"error"`)) {
		failure = errors.New(string(line[:min(len(line), 300)]))
	}
	l.mu.Lock()
	if id >= len(l.pending) || l.pending[id] == nil {
		l.mu.Unlock()
		return fmt.Errorf("an answer to nothing: %.200s", line)
	}
	done := l.pending[id]
	l.pending[id] = nil
	l.free = append(l.free, id)
	l.mu.Unlock()
	done(failure)
	return nil
}

func (l *lines) fail(err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		err = errors.New("the connection was closed")
	}
	l.mu.Lock()
	l.err = err
	pending := l.pending
	l.pending, l.free = nil, nil
	l.mu.Unlock()
	for _, done := range pending {
		if done != nil {
			done(err)
		}
	}
}
