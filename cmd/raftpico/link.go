package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/goccy/go-json/jsontext"
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

// answers is what a link brought at one time: whole lines, or an error after the last of them.
type answers struct {
	link  *link
	block string
	end   int64
	err   error
}

func dial(addr string, to chan<- answers, quit <-chan struct{}, concurrency int) (*link, error) {
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
func (l *link) read(to chan<- answers, quit <-chan struct{}) {
	in := lines{r: l.conn}
	var buf []byte
	for {
		block, err := in.next(buf)
		buf = block
		if errors.Is(err, io.EOF) {
			err = errors.New("the server closed the connection")
		}
		select {
		case to <- answers{l, string(block), micros(), err}:
		case <-quit:
			return
		}
		if err != nil {
			return
		}
	}
}

// write sends blocks until the run ends. Of an error, the reader tells.
func (l *link) write(quit <-chan struct{}) {
	for {
		select {
		case block := <-l.full:
			if _, err := l.conn.Write(block); err != nil {
				l.conn.Close()
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

// requests is a block of the input, or what is wrong behind it.
type requests struct {
	queue []*sent
	err   error
}

// readRequests passes the requests of the input on until it ends or one is bad, and closes the channel.
func readRequests(in io.Reader, to chan<- requests, quit <-chan struct{}) {
	defer close(to)
	input := lines{r: in}
	var buf []byte
	var seen ids
	for number := 1; ; {
		block, err := input.next(buf)
		if err = ignoreEOF(err); err == nil && len(block) == 0 {
			return
		}
		buf = block
		var r requests
		text := string(block) // the requests are parts of it
		for line := range strings.Lines(text) {
			if len(strings.TrimSpace(line)) > 0 && err == nil {
				var s sent
				if s.request, err = parseRequest(line); err == nil {
					err = seen.add(s.id)
				}
				if err != nil {
					err = fmt.Errorf("line %d: %w", number, err)
					break
				}
				r.queue = append(r.queue, &s)
			}
			number++
		}
		r.err = err
		select {
		case to <- r:
		case <-quit:
			return
		}
		if err != nil {
			return
		}
	}
}

// ids tells ids apart. Numbers that count up by one, the usual case, take no memory.
type ids struct {
	first, next int64 // seen: first ≤ id < next
	others      map[string]bool
}

// add returns an error if an id is none that every server gives back as it was, or was there before.
func (i *ids) add(id string) error {
	if id == "" {
		return errors.New("a request without id has no answer to wait for")
	}
	if id[0] != '"' && (id == "null" || strings.ContainsAny(id, ".eE")) {
		return fmt.Errorf("id %.32s is neither an integer nor a string", id)
	}
	n, isNumber := parseInt(id)
	if isNumber && i.first == i.next && i.others == nil {
		i.first, i.next = n, n
	}
	switch {
	case isNumber && i.first <= n && n < i.next || i.others[key(id)]:
		return fmt.Errorf("id %.32s is there twice", id)
	case isNumber && n == i.next:
		i.next++
	default:
		if i.others == nil {
			i.others = make(map[string]bool)
		}
		i.others[key(id)] = true
	}
	return nil
}

// parseInt takes integers of up to 18 digits in the only form that JSON has for each.
func parseInt(id string) (n int64, ok bool) {
	if len(id) > 18 || id == "" || id[0] == '-' {
		return 0, false
	}
	for _, c := range []byte(id) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}

// key is the same for all ways to write an id.
func key(id string) string {
	if strings.IndexByte(id, '\\') < 0 {
		return id
	}
	text, err := jsontext.AppendUnquote(nil, id)
	if err != nil {
		return id
	}
	return `"` + string(text)
}
