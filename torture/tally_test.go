//go:build unix

package torture

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// tally is what a load has come to so far. Any goroutine may add to it.
type tally struct {
	began time.Time

	mu     sync.Mutex
	counts map[string]int // operations by kind and outcome
	last   int64          // when a write was last answered
	gap    time.Duration  // the longest time without one
	faults []error
}

func newTally() *tally { return &tally{began: time.Now(), counts: map[string]int{}} }

// now is nanoseconds since it began.
func (t *tally) now() int64 { return int64(time.Since(t.began)) }

func (t *tally) count(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[what]++
}

// wrote notes that a write was answered.
func (t *tally) wrote(at int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at > t.last {
		t.gap = max(t.gap, time.Duration(at-t.last))
		t.last = at
	}
}

func (t *tally) lastWrite() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// fault records something that must not be. The first twenty are told.
func (t *tally) fault(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.faults) < 20 {
		t.faults = append(t.faults, err)
	}
}

// summary tells the operations by kind and outcome.
func (t *tally) summary() (total int, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(t.counts)) {
		total += t.counts[name]
		parts = append(parts, fmt.Sprintf("%s %d", name, t.counts[name]))
	}
	return total, strings.Join(parts, ", ")
}

// turns are tokens; one is taken for each operation.
type turns chan struct{}

// give hands out so many a second until ctx ends. What nobody takes in time is lost: after a pause there is no rush.
func (t turns) give(ctx context.Context, rate int) {
	const beat = 2 * time.Millisecond
	tick := time.NewTicker(beat)
	defer tick.Stop()
	began, given := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		due := int(time.Since(began).Seconds() * float64(rate))
		for range min(due-given, cap(t)) {
			select {
			case t <- struct{}{}:
			default:
			}
		}
		given = due
	}
}

// take waits for a turn. False: the load has ended.
func (t turns) take(loading context.Context) bool {
	select {
	case <-loading.Done():
		return false
	case <-t:
		return loading.Err() == nil
	}
}

// each yields at once, and then whenever it is an operation's turn, until the load ends.
func (t turns) each(loading context.Context) func(yield func() bool) {
	return func(yield func() bool) {
		for yield() && t.take(loading) {
		}
	}
}
