//go:build unix

package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Counters of which each is one client's, and keys of which each change must be heard.

const countTenant = "sums"

// sum is a counter, and what its client has added.
type sum struct {
	key     string
	certain int64
	doubted int64 // may have been added too; 0 with idempotency ids
}

// add adds to two counters: under ids, so that each time counts once, and without.
func (l *locksTrial) add(loading context.Context, d door, rng *rand.Rand, id int) {
	once, plain := &sum{key: fmt.Sprint("once ", id)}, &sum{key: fmt.Sprint("plain ", id)}
	l.mu.Lock()
	l.sums = append(l.sums, once, plain)
	l.mu.Unlock()
	for l.turns.take(loading) {
		n := 1 + rng.Int64N(9)
		a := &ask{Tenant: countTenant, IdempotencyIDs: []string{fmt.Sprint("id", l.anotherValue())}, Atomic: []change{{Key: once.key, Add: &n}}}
		if is := l.carryOut(d, a, id); is.outcome == answered {
			once.certain += n
			l.counted(once, is.reply, is.blind)
		} else {
			once.doubted += n // the run was broken off
		}
		switch is := d.do(l.ctx, &ask{Tenant: countTenant, Atomic: []change{{Key: plain.key, Add: &n}}}); is.outcome {
		case answered:
			plain.certain += n
			l.counted(plain, is, false)
		case unknown:
			plain.doubted += n
		}
	}
}

// counted holds an answer against what the client knows.
func (l *locksTrial) counted(s *sum, is reply, blind bool) {
	switch {
	case blind:
		l.count("counter, answer lost")
		return
	case len(is.Atomic) != 1:
		l.tally.fault(fmt.Errorf("%+v: %v", *s, is))
		return
	}
	l.count("counter")
	l.wrote(is.ret)
	if err := s.holds(is.Atomic[0].New); err != nil {
		l.tally.fault(fmt.Errorf("%w: %v", err, is))
	}
}

// holds tells whether a counter may be n.
func (s *sum) holds(n int64) error {
	if n < s.certain || n > s.certain+s.doubted {
		return fmt.Errorf("%s is %d; certainly added: %d, and in doubt: %d", s.key, n, s.certain, s.doubted)
	}
	return nil
}

// checkSums asks for all counters.
func (l *locksTrial) checkSums() {
	l.t.Helper()
	d := l.door(ways - 1)
	zero := int64(0)
	for _, s := range l.sums {
		is := d.do(l.ctx, &ask{Tenant: countTenant, Atomic: []change{{Key: s.key, Add: &zero}}})
		require.Equal(l.t, answered, is.outcome, "%v", is)
		require.Len(l.t, is.Atomic, 1)
		require.NoError(l.t, s.holds(is.Atomic[0].New))
		require.NotZero(l.t, s.certain, "%s was never changed", s.key)
	}
}

const bellTenant = "bells"

// ring sets a key to 1, 2, 3, … and waits each time until a listener has heard it, by the same way: no later change makes up for
// one that was missed.
func (l *locksTrial) ring(loading context.Context, d door, _ *rand.Rand, id int) {
	key, heard := fmt.Sprint("bell ", id), make(chan keyValue)
	ctx, hush := context.WithCancel(l.ctx)
	defer hush()
	listening := l.door(id + 300*ways)
	defer listening.close()
	done := make(chan struct{})
	go func() { // ends when nobody rings any more
		defer close(done)
		l.listen(ctx, listening, key, heard)
	}()
	defer func() { hush(); <-done }()
	var last keyValue
	for n := int64(1); l.turns.take(loading); n++ {
		a := &ask{Tenant: bellTenant, KVSet: []set{{Key: key, Value: n}}, IdempotencyIDs: []string{fmt.Sprint(key, "/", n)}}
		is := l.carryOut(d, a, id)
		if is.outcome != answered {
			return // the run was broken off
		}
		l.wrote(is.ret)
		late := time.NewTimer(soon)
		select {
		case now := <-heard:
			if now.Value != n || now.Version <= last.Version {
				l.tally.fault(fmt.Errorf("%s was set to %d, and after %+v came %+v", key, n, last, now))
				return
			}
			last = now
			l.count("bell")
		case <-late.C:
			l.tally.fault(fmt.Errorf("%s was set to %d, and its listener has not heard it within %v", key, n, soon))
			return
		case <-l.ctx.Done():
			return
		}
		late.Stop()
	}
}

// listen watches a key, and tells each version that is new.
func (l *locksTrial) listen(ctx context.Context, d door, key string, heard chan<- keyValue) {
	var top keyValue
	for ctx.Err() == nil {
		now, is := d.watch(ctx, bellTenant, key, top.Version)
		if is != answered || now.Version == top.Version {
			doze(ctx, 5*time.Millisecond) // not to ask without pause
			continue
		}
		if now.Version < top.Version {
			l.tally.fault(fmt.Errorf("%s: after %+v came %+v", key, top, now))
			return
		}
		top = now
		select {
		case heard <- now:
		case <-ctx.Done():
		}
	}
}

// TestSum holds the check of counters to what it must refuse.
func TestSum(t *testing.T) {
	once, plain := sum{key: "once", certain: 5}, sum{key: "plain", certain: 5, doubted: 2}
	require.NoError(t, once.holds(5))
	require.ErrorContains(t, once.holds(4), "once is 4", "a lost one")
	require.ErrorContains(t, once.holds(6), "once is 6", "one that was done twice")
	for n, good := range map[int64]bool{4: false, 5: true, 6: true, 7: true, 8: false} {
		require.Equal(t, good, plain.holds(n) == nil, "%d", n)
	}
}
