// Package logs keeps a logger from stopping a server. A terminal that was stopped, or a pipe that nobody reads, blocks whoever
// writes to it; so a goroutine of its own writes, and what it does not get rid of is dropped, with a count. What strangers
// can make a server say is bounded too: of each message so many a second.
package logs

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Queue passes log records on to a handler, which may block. Its own methods never do, but for Close.
type Queue struct {
	records chan record
	dropped atomic.Int64  // since the last time that this was logged
	lost    atomic.Uint64 // in all: of these, and of those held back for their rate
	rates   rates
	last    slog.Handler // that tells of what was dropped
	closing chan struct{}
	closed  chan struct{} // the goroutine has ended
	once    sync.Once
}

type record struct {
	slog.Record
	to slog.Handler
}

// queued is how many records may wait. A burst of them is less than a megabyte.
const queued = 1024

// Open starts the goroutine that passes on what is logged. It ends after Close, or when a handler that blocks returns.
func Open(to *slog.Logger) *Queue {
	q := &Queue{records: make(chan record, queued), last: to.Handler(), closing: make(chan struct{}), closed: make(chan struct{})}
	go q.run()
	return q
}

// Logger logs into the queue.
func (q *Queue) Logger() *slog.Logger { return slog.New(handler{q, q.last}) }

// Close ends the queue when what waits has been passed on, or patience is over. What is logged afterwards is dropped.
func (q *Queue) Close(patience time.Duration) {
	q.once.Do(func() { close(q.closing) })
	select {
	case <-q.closed:
	case <-time.After(patience):
	}
}

// Dropped is how many messages were not passed on: they came too fast, or the handler was too slow.
func (q *Queue) Dropped() uint64 { return q.lost.Load() }

func (q *Queue) run() {
	defer close(q.closed)
	for {
		select {
		case r := <-q.records:
			q.pass(r)
		case <-q.closing:
			for {
				select {
				case r := <-q.records:
					q.pass(r)
				default:
					q.tellDropped()
					return
				}
			}
		}
		if len(q.records) < queued/2 {
			q.tellDropped()
		}
	}
}

// pass may block. The handler's error is nobody's.
func (q *Queue) pass(r record) { _ = r.to.Handle(context.Background(), r.Record) }

func (q *Queue) tellDropped() {
	if n := q.dropped.Swap(0); n > 0 {
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "log messages dropped: the log was not written fast enough", 0)
		r.AddAttrs(slog.Int64("count", n))
		q.pass(record{r, q.last})
	}
}

// handler implements slog.Handler.
type handler struct {
	q  *Queue
	to slog.Handler
}

func (h handler) Enabled(ctx context.Context, level slog.Level) bool { return h.to.Enabled(ctx, level) }

func (h handler) Handle(_ context.Context, r slog.Record) error {
	passed, held := h.q.rates.allow(r.Message, r.Time)
	if !passed {
		h.q.lost.Add(1)
		return nil
	}
	r = r.Clone()
	if held > 0 {
		r.AddAttrs(slog.Int("not_logged", held))
	}
	select {
	case h.q.records <- record{r, h.to}:
	default:
		h.q.dropped.Add(1)
		h.q.lost.Add(1)
	}
	return nil
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.q, h.to.WithAttrs(attrs)}
}

func (h handler) WithGroup(name string) slog.Handler { return handler{h.q, h.to.WithGroup(name)} }
