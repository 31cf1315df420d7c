package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

// maxConcurrency keeps a mistyped number from taking all memory.
const maxConcurrency = 1_000_000

func newBench() *cobra.Command {
	var b benchmark
	cmd := &cobra.Command{
		Use:   "bench ADDR... [-c N] [--timeout 1m] < REQUESTS > RESULTS",
		Short: "send requests, N at a time, and print what became of each",
		Long: `Bench sends each request of standard input once, to the least busy server, and prints a line for each answer.

When a connection breaks, it is dialed again, and the others go on meanwhile. The requests that were under way on it
may or may not have been carried out. They are not sent again: each gets a line with error 107, Request result unknown.
The exit status is 1 if there was such a request, and 0 if all were answered, be it with errors.`,
		Example:           "  raftpico gen put -c 100000 | raftpico bench :4000 :4001 :4002 -c 1000 | raftpico stats",
		Args:              addresses,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, addrs []string) error {
			switch {
			case b.concurrency < 1 || b.concurrency > maxConcurrency:
				return usageError(fmt.Sprintf("--concurrency must be from 1 to %d", maxConcurrency))
			case b.timeout < time.Millisecond:
				return usageError("--timeout must be at least 1ms")
			}
			return b.start(cmd, addrs)
		},
	}
	b.dialer = dialing(cmd)
	cmd.Flags().IntVarP(&b.concurrency, "concurrency", "c", 1, "how many requests may be under way")
	cmd.Flags().DurationVar(&b.timeout, "timeout", time.Minute, "how long a server may be silent, or away, before it is given up")
	return cmd
}

// benchmark is a run of bench. Owner: the goroutine of run. A goroutine reads the requests, and each connection has one
// that reads and one that writes; they pass whole blocks on, so that a busy run costs few switches.
type benchmark struct {
	*dialer
	concurrency int
	timeout     time.Duration
	links       []*link
	turn        int              // of the link to prefer among equally busy ones
	pending     map[string]*sent // by id; len(pending) ≤ concurrency
	queue       []sent           // read, not yet sent
	arrivals    chan arrival
	dialed      chan dialed
	quit        context.Context // done at the end: all goroutines leave
	results     results
	answered    int
	unknown     int // requests under way when their connection broke
	bar         *progressbar.ProgressBar
	note        func(format string, args ...any) // tells a person what happens
}

// sent is a request on its way.
type sent struct {
	request
	link  *link
	start int64 // Unix time in microseconds, also below
}

// start connects to all servers and runs. NB: one that can't be reached at the start is taken for a mistake.
func (b *benchmark) start(cmd *cobra.Command, addrs []string) error {
	interrupted, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	quit, leave := context.WithCancel(context.Background())
	b.quit = quit
	b.pending = make(map[string]*sent)
	b.arrivals, b.dialed = make(chan arrival, 64), make(chan dialed)
	b.results = results{out: bufio.NewWriterSize(cmd.OutOrStdout(), 4*blockSize)}
	b.bar = newProgress(besideOutput(cmd), -1, "answers")
	b.note = func(format string, args ...any) {
		_ = b.bar.Clear()
		fmt.Fprintf(cmd.ErrOrStderr(), "raftpico bench: "+format+"\n", args...)
	}
	defer b.close(leave)
	for _, addr := range addrs {
		l := &link{addr: addr, proven: true}
		b.links = append(b.links, l)
		conn, err := b.dial(quit, addr, dialTimeout)
		if err != nil {
			return err
		}
		l.open(b, conn)
	}
	portions := make(chan portion, 4)
	go readInput(input(cmd, "requests"), portions, quit.Done())
	err := b.run(portions, interrupted.Done())
	_ = b.bar.Finish()
	return errors.Join(err, b.results.out.Flush())
}

// run sends and receives until every request is answered or unknown.
func (b *benchmark) run(portions <-chan portion, interrupted <-chan struct{}) error {
	var failed error
	alarm := time.NewTicker(b.timeout / 4)
	defer alarm.Stop()
	for {
		b.send()
		if len(b.queue) > 0 && b.allGivenUp() {
			failed = errors.Join(failed, fmt.Errorf("no server is left; the requests from id %s on were not sent", b.queue[0].id))
			break
		}
		input := portions
		if len(b.queue) > 0 {
			input = nil
		}
		if len(b.pending) == 0 && len(b.queue) == 0 && input == nil {
			break
		}
		var err error
		select {
		case p, ok := <-input:
			if !ok {
				portions = nil
			}
			b.queue, failed = p.queue, errors.Join(failed, p.err)
		case a := <-b.arrivals:
			err = b.receive(a)
		case d := <-b.dialed:
			b.connected(d)
		case <-alarm.C:
			err = b.giveUpSilent()
		case <-interrupted:
			failed = errors.Join(failed, errInterrupted)
			for _, l := range b.links {
				err = errors.Join(err, b.lose(l, errInterrupted))
			}
			portions, b.queue = nil, nil
		}
		if err != nil {
			return errors.Join(failed, err)
		}
		_ = b.bar.Set(b.answered + b.unknown)
	}
	if b.unknown > 0 {
		failed = errors.Join(failed, fmt.Errorf("%d requests answered, %d whose result is unknown: their connections broke", b.answered, b.unknown))
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
		if l.busy++; l.busy == 1 {
			l.heard = time.Now()
		}
		l.out = append(append(l.out, s.line...), '\n')
	}
	for _, l := range b.links {
		l.flush()
	}
}

// leastBusy is the link for the next request, nil if there is none now.
func (b *benchmark) leastBusy() (best *link) {
	for i := range b.links {
		l := b.links[(b.turn+i)%len(b.links)]
		if l.usable() && (best == nil || l.busy < best.busy) {
			best = l
		}
	}
	b.turn++
	return best
}

// receive takes the answers of a block. A server that sends what it should not is given up.
func (b *benchmark) receive(a arrival) error {
	l := a.pipe.link
	if l.pipe != a.pipe {
		return nil // of a connection that was closed meanwhile
	}
	l.heard = time.Now()
	for line := range strings.Lines(a.block) {
		if err := b.take(l, strings.TrimSpace(line), a.end); err != nil {
			if errors.Is(err, errAnswer) {
				return b.giveUp(l, err)
			}
			return err
		}
	}
	if a.err != nil {
		return b.broken(l, a.err)
	}
	return nil
}

var (
	errAnswer      = errors.New("unexpected answer")
	errInterrupted = errors.New("interrupted")
)

// take takes one answer.
func (b *benchmark) take(l *link, line string, end int64) error {
	id, err := b.results.parse(line)
	s := b.pending[key(id)]
	if err != nil || s == nil || s.link != l {
		return fmt.Errorf("%w: %.200q", errAnswer, line)
	}
	delete(b.pending, key(id))
	l.busy--
	b.answered++
	if !l.proven {
		l.proven = true
		b.note("%s: answers again after %v", l.addr, time.Since(l.away).Round(time.Millisecond))
	}
	return b.results.print(s, len(line), end)
}

var started = time.Now()

// micros is the time by a clock that does not jump while bench runs.
func micros() int64 { return started.UnixMicro() + time.Since(started).Microseconds() }
