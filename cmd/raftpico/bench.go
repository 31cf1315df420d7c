package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// bench sends the requests of the input to the least busy server, up to so many at a time, and prints a line for each
// answer.
func bench(c *console, args []string) error {
	f := newFlags()
	var concurrency int
	for _, name := range []string{"concurrency", "c"} {
		f.IntVar(&concurrency, name, 1, "")
	}
	timeout := f.Duration("timeout", time.Minute, "")
	addrs, err := f.parse(args, 1, 1000)
	if err != nil {
		return err
	}
	if concurrency < 1 {
		return usageError("--concurrency must be at least 1")
	}
	if *timeout < time.Millisecond {
		return usageError("--timeout must be at least 1ms")
	}
	b := &benchmark{
		concurrency: concurrency,
		timeout:     *timeout,
		pending:     make(map[string]*sent),
		arrivals:    make(chan arrival, 64),
		quit:        make(chan struct{}),
		out:         bufio.NewWriterSize(c.out, 4*blockSize),
		progress:    newProgress(c.err),
		log:         c.err,
	}
	for i, addr := range addrs {
		if addrs[i], err = address(addr); err != nil {
			return err
		}
	}
	defer b.close()
	for _, addr := range addrs {
		l, err := dial(addr, b.arrivals, b.quit, concurrency)
		if err != nil {
			return err
		}
		b.links = append(b.links, l)
	}
	portions := make(chan portion, 4)
	go readInput(c.in, portions, b.quit)
	return errors.Join(b.run(portions), b.out.Flush())
}

// benchmark is a run of bench. Owner: the goroutine of run. A goroutine reads the requests, and each server has one
// that reads and one that writes; they pass whole blocks on, so that a busy run costs few switches.
type benchmark struct {
	concurrency int
	timeout     time.Duration // longest wait for the next answer; a server answers within seconds, if only with an error
	links       []*link
	turn        int              // of the link to prefer among equally busy ones
	pending     map[string]*sent // by id; len(pending) ≤ concurrency
	queue       []sent           // read, not yet sent
	arrivals    chan arrival
	quit        chan struct{} // closed at the end: all goroutines leave
	out         *bufio.Writer
	outcome     []byte // scratch of print, and so is line
	line        []byte
	answered    int
	dropped     int // links
	lost        int // requests under way on them
	progress    *progress
	log         io.Writer
}

// sent is a request on its way.
type sent struct {
	request
	link  *link
	start int64 // Unix time in microseconds, also below
}

// run sends and receives until every request is answered or lost.
func (b *benchmark) run(portions <-chan portion) error {
	var failed error
	alarm := time.NewTicker(b.timeout / 4)
	defer alarm.Stop()
	var heard time.Time // the last answer, or the first request when none was under way
	for {
		if len(b.pending) == 0 {
			heard = time.Now()
		}
		b.send()
		if len(b.queue) > 0 && b.dropped == len(b.links) {
			failed = errors.Join(failed, errors.New("no server is left"))
			break
		}
		input := portions
		if len(b.queue) > 0 {
			input = nil
		}
		if len(b.pending) == 0 && input == nil {
			break
		}
		select {
		case p, ok := <-input:
			if !ok {
				portions = nil
			}
			b.queue, failed = p.queue, errors.Join(failed, p.err)
		case a := <-b.arrivals:
			heard = time.Now()
			if err := b.receive(a); err != nil {
				return err
			}
		case <-alarm.C:
			if len(b.pending) > 0 && time.Since(heard) > b.timeout {
				for _, l := range b.links {
					b.drop(l, fmt.Errorf("no answer in %v", b.timeout))
				}
			}
		}
		b.progress.show("%d answered, %d under way, %d lost", b.answered, len(b.pending), b.lost)
	}
	b.progress.end()
	if b.dropped > 0 {
		failed = errors.Join(failed, fmt.Errorf("%d of %d servers and %d requests lost", b.dropped, len(b.links), b.lost))
	}
	return failed
}

// send fills the links with as many requests as may be under way.
func (b *benchmark) send() {
	now := micros()
	for len(b.queue) > 0 && len(b.pending) < b.concurrency {
		l := b.leastBusy()
		if l == nil {
			break
		}
		s := &b.queue[0]
		b.queue = b.queue[1:]
		s.link, s.start = l, now
		b.pending[key(s.id)] = s
		l.busy++
		l.out = append(append(l.out, s.line...), '\n')
	}
	for _, l := range b.links {
		l.flush()
	}
}

func (b *benchmark) leastBusy() (best *link) {
	for i := range b.links {
		l := b.links[(b.turn+i)%len(b.links)]
		if !l.dead && (best == nil || l.busy < best.busy) {
			best = l
		}
	}
	b.turn++
	return best
}

// receive prints the answers of a block. A link that brings what it should not is dropped.
func (b *benchmark) receive(a arrival) error {
	if a.link.dead {
		return nil
	}
	for line := range strings.Lines(a.block) {
		if err := b.print(a, strings.TrimSpace(line)); err != nil {
			if errors.Is(err, errAnswer) {
				b.drop(a.link, err)
				return nil
			}
			return err
		}
	}
	if a.err != nil {
		b.drop(a.link, a.err)
	}
	return nil
}

var errAnswer = errors.New("unexpected answer")

func (b *benchmark) print(a arrival, line string) error {
	var id string
	b.outcome = b.outcome[:0]
	err := members(line, func(name, value string) error {
		switch name {
		case "id":
			id = value
		case "jsonrpc":
		default:
			b.outcome = append(append(append(b.outcome, `,"`...), name...), `":`...)
			b.outcome = append(b.outcome, value...)
		}
		return nil
	})
	s := b.pending[key(id)]
	if err != nil || s == nil || s.link != a.link {
		return fmt.Errorf("%w: %.200q", errAnswer, line)
	}
	delete(b.pending, key(id))
	a.link.busy--
	b.answered++

	out := append(append(b.line[:0], `{"jsonrpc":"2.0","id":`...), s.id...)
	out = append(append(out, `,"method":`...), s.method...)
	if s.params != "" {
		out = append(append(out, `,"params":`...), s.params...)
	}
	out = append(out, b.outcome...)
	out = append(append(append(out, `,"server":"`...), a.link.addr...), `","request_byte_size":`...)
	out = append(strconv.AppendInt(out, int64(len(s.line)), 10), `,"response_byte_size":`...)
	out = append(strconv.AppendInt(out, int64(len(line)), 10), `,"start_unix_timestamp_micros":`...)
	out = append(strconv.AppendInt(out, s.start, 10), `,"end_unix_timestamp_micros":`...)
	b.line = append(strconv.AppendInt(out, a.end, 10), "}\n"...)
	_, err = b.out.Write(b.line)
	return err
}

// drop gives a link up, and with it the requests under way on it.
func (b *benchmark) drop(l *link, why error) {
	if l.dead {
		return
	}
	l.dead = true
	b.dropped++
	lost := 0
	for id, s := range b.pending {
		if s.link == l {
			delete(b.pending, id)
			lost++
		}
	}
	b.lost += lost
	b.progress.end()
	fmt.Fprintf(b.log, "raftpico bench: %s: %v; %d requests lost\n", l.addr, why, lost)
	l.conn.Close()
}

func (b *benchmark) close() {
	close(b.quit)
	for _, l := range b.links {
		l.conn.Close()
		l.done.Wait()
	}
}

var started = time.Now()

// micros is the time by a clock that does not jump while bench runs.
func micros() int64 { return started.UnixMicro() + time.Since(started).Microseconds() }
