//go:build unix

package torture

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
)

// What lock servers do in time, when nothing is done to them.

const (
	calmTenant = "calm"
	noticed    = 4 * time.Second // after that a server knows who has gone, on a busy machine
	promptly   = 8 * time.Second // on a busy machine; minutes is what it would be if it did not happen
)

// checkCalm looks at the cluster after all that was done to it.
func (l *locksTrial) checkCalm() {
	l.t.Helper()
	giveOn := l.abandon()
	began := time.Now()
	for way := range ways {
		l.checkHeard(way)
	}
	l.checkExpiry()
	l.checkQueues()
	l.pass(noticed - time.Since(began))
	giveOn()
}

// must makes a request that must be carried out.
func (l *locksTrial) must(d door, a *ask) reply {
	l.t.Helper()
	is := d.do(l.ctx, a)
	require.Equal(l.t, answered, is.outcome, "%v: %v", a, is)
	require.Empty(l.t, is.why, "%v: %v", a, is)
	return is
}

// checkQueues gets each lock: nobody who has gone away holds one for longer than he asked for, or stands in line.
func (l *locksTrial) checkQueues() {
	l.t.Helper()
	for i, lock := range queueNames {
		d := l.door(3*400 + i)
		began := time.Now()
		is := l.must(d, &ask{Tenant: queueTenant, LockID: lock, LockDur: 1, LockWait: longestDur + int(promptly/time.Second)})
		require.Less(l.t, time.Since(began), longestDur*time.Second+promptly, "%s", lock)
		h := hold{lock: lock, handle: is.Lock, call: is.call, ret: is.ret, dur: time.Second}
		back := l.must(d, &ask{Tenant: queueTenant, UnlockID: lock, Unlock: is.Lock})
		h.uses = append(h.uses, use{call: back.call, ret: back.ret})
		l.queue.note(h)
		d.close()
	}
}

// checkExpiry lets locks end by themselves. Who stands in line gets one then, neither before nor much later.
func (l *locksTrial) checkExpiry() {
	l.t.Helper()
	var first, then [ways]reply
	for way := range ways {
		d := l.door(3*500 + way)
		first[way] = l.must(d, &ask{Tenant: calmTenant, LockID: fmt.Sprint("expiry ", way), LockDur: 1})
		d.close()
	}
	var wg sync.WaitGroup
	for way := range ways {
		d := l.door(3*600 + way + 1)
		wg.Go(func() {
			defer d.close()
			then[way] = d.do(l.ctx, &ask{Tenant: calmTenant, LockID: fmt.Sprint("expiry ", way), LockDur: 1, LockWait: int(promptly / time.Second)})
		})
	}
	wg.Wait()
	for way := range ways {
		require.Equal(l.t, answered, then[way].outcome, "%v", then[way])
		require.Greater(l.t, then[way].Lock, first[way].Lock)
		took := time.Duration(then[way].ret - first[way].call)
		require.GreaterOrEqual(l.t, took, time.Second-early)
		require.Less(l.t, took, time.Second+promptly)
	}
}

// abandon has clients go away that stand in line, in front of others. GiveOn gives the locks back, and those who still wait must get them.
// NB: A server needs a second or two to tell a client that is dead from one that has only ended its sending, and may give a lock to the
// dead meanwhile, which lasts as long as it was asked for.
func (l *locksTrial) abandon() (giveOn func()) {
	l.t.Helper()
	ctx, leave := context.WithCancel(l.ctx)
	var left sync.WaitGroup
	var given [ways]func() // gives the lock back, and has it given on
	for way := range ways {
		lock := fmt.Sprint("abandoned ", way)
		long := &ask{Tenant: calmTenant, LockID: lock, LockDur: longLock, LockWait: 200}
		holder, next := l.door(3*700+way), l.door(3*800+way+1)
		was := l.must(holder, long)
		for i := range 4 {
			gone := l.door(3*900 + 3*i + way)
			if way == ways-1 { // a session lives on with its requests; so those who go away in front of package client are others
				gone = l.door(3*900 + 3*i + i%2)
			}
			left.Go(func() {
				defer gone.close()
				if is := gone.do(ctx, long); is.outcome == answered {
					l.tally.fault(fmt.Errorf("%s, which has a holder, was given: %v", lock, is))
				}
			})
		}
		given[way] = func() {
			defer holder.close()
			defer next.close()
			got := make(chan reply, 1)
			go func() { got <- next.do(l.ctx, long) }() // ends at the latest when the run is broken off
			l.pass(100 * time.Millisecond)
			l.must(holder, &ask{Tenant: calmTenant, UnlockID: lock, Unlock: was.Lock})
			select {
			case is := <-got:
				require.Equal(l.t, answered, is.outcome, "%v", is)
				require.Empty(l.t, is.why)
				require.Greater(l.t, is.Lock, was.Lock)
			case <-time.After(promptly):
				require.FailNow(l.t, "a lock stays with clients who have gone", "%s, by way %d", lock, way)
			}
		}
	}
	l.pass(500 * time.Millisecond) // until they stand in line; what follows holds before that too
	leave()
	left.Wait()
	return func() {
		for way := range ways {
			given[way]()
		}
	}
}

// checkHeard changes a key while somebody watches it by each way.
func (l *locksTrial) checkHeard(way int) {
	l.t.Helper()
	key := fmt.Sprint("heard ", way)
	d := l.door(3*1000 + way)
	defer d.close()
	for n := int64(1); n <= 2; n++ {
		before := l.must(d, &ask{Tenant: calmTenant, KVGet: []string{key}})
		heard := make(chan keyValue, ways)
		for other := range ways {
			watcher := l.door(3*1100 + other)
			go func() { // ends when the key has changed
				defer watcher.close()
				now, _ := watcher.watch(l.ctx, calmTenant, key, before.KV[0].Version)
				heard <- now
			}()
		}
		l.pass(100 * time.Millisecond)
		l.must(d, &ask{Tenant: calmTenant, KVSet: []set{{Key: key, Value: n}}})
		late := time.After(promptly)
		for range ways {
			select {
			case now := <-heard:
				require.Equal(l.t, n, now.Value)
			case <-late:
				require.FailNow(l.t, "a change is not heard", "%s, %d", key, n)
			}
		}
	}
}
