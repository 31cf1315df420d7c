//go:build unix

package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	retrying "github.com/raftpico/go/client"
)

// TestLocks runs clusters of locks through faults.
func TestLocks(t *testing.T) { tortureAll(t, &locksService) }

var locksService = service{
	program: "locks", http: true, deadline: usualDeadline, begin: beginLocks,
	command: map[string]any{"Do": &ask{Tenant: "frozen", KVSet: []set{{Key: "k", Value: 1}}}},
	query:   map[string]any{"Get": &ask{Tenant: "frozen", KVGet: []string{"k"}}},
}

const (
	ways      = 3 // to a lock server; each kind of client comes by each of them
	locksSure = 3 // of package client, which others share

	tenants       = 4
	perTenant     = 250
	tooManyDoubts = 4 // then a tenant gives way to a new one: Porcupine has to guess what became of each

	tenantClients = 5 // by each way
	queuers       = 4
	counting      = 2
	bellsEach     = 1
)

// locksTrial is clients of a lock server, by JSON-RPC, by package client, and by HTTP.
type locksTrial struct {
	*run
	*tally
	turns   turns
	ctx     context.Context // ends when the run is broken off
	giveUp  context.CancelFunc
	clients []*retrying.Client
	wg      sync.WaitGroup
	judges  sync.WaitGroup
	full    chan *tenant
	queue   queue

	mu     sync.Mutex
	live   [tenants]*tenant
	serial int   // of tenants
	value  int64 // the last one given out
	judged int
	slow   time.Duration
	faults []error
	sums   []*sum
}

func beginLocks(r *run, loading context.Context, rate int) trial {
	l := &locksTrial{run: r, tally: r.tally, turns: make(turns, 32), full: make(chan *tenant, 1<<16)}
	l.ctx, l.giveUp = context.WithCancel(r.ctx)
	for i := range l.live {
		l.live[i] = l.fresh()
	}
	for range locksSure {
		l.clients = append(l.clients, retrying.New(r.addrs()...))
	}
	l.judges.Go(func() { // ends when full is closed
		for t := range l.full {
			l.judge(t)
		}
	})
	l.wg.Go(func() { l.turns.give(loading, rate) })
	id := 0
	begin := func(n int, work func(loading context.Context, d door, rng *rand.Rand, id int)) {
		for range n * ways {
			id++
			d, rng, id := l.door(id), rand.New(rand.NewPCG(r.seed, uint64(id))), id
			l.wg.Go(func() {
				defer d.close()
				work(loading, d, rng, id)
			})
		}
	}
	begin(tenantClients, l.useTenants)
	begin(queuers, l.stand)
	begin(counting, l.add)
	begin(bellsEach, l.ring)
	return l
}

// door is one of the three ways.
func (l *locksTrial) door(id int) door {
	switch id % ways {
	case 0:
		return roughDoor{l.rough(id)}
	case 1:
		return webDoor{l.web(id)}
	}
	return sureDoor{l.tally, l.clients[id%len(l.clients)]}
}

func (l *locksTrial) anotherValue() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value++
	return l.value
}

func (l *locksTrial) finish() { l.wg.Wait() }

func (l *locksTrial) breakOff() {
	l.giveUp()
	l.wg.Wait()
	for _, c := range l.clients {
		_ = c.Close()
	}
	l.submitRest()
}

func (l *locksTrial) inspect() {}

func (l *locksTrial) verdict() []error {
	close(l.full)
	l.judges.Wait()
	return append(l.faults, l.queue.judge()...)
}

func (l *locksTrial) report() string {
	return fmt.Sprintf("\n  %d requests to %d tenants judged, %v at most for a tenant%s", l.judged, l.serial, l.slow.Round(time.Millisecond), l.queue.report())
}

// check goes on with each tenant, by each way, when all servers have been killed.
func (l *locksTrial) check() {
	l.t.Helper()
	for i, t := range l.live {
		for way := range ways {
			d := l.door(3*(100+i) + way)
			for range 3 {
				a := &ask{Tenant: t.name, KVGet: valueNames[:], KVSet: []set{{Key: valueNames[0], Value: l.anotherValue()}}, IdempotencyIDs: []string{fmt.Sprint("id", l.anotherValue())}}
				is := l.carryOut(d, a, 1000+way)
				require.Equal(l.t, answered, is.outcome, "%v", is)
				t.deeds = append(t.deeds, is)
			}
			d.close()
		}
	}
	l.submitRest()
	l.checkSums()
	l.checkCalm()
	for _, c := range l.clients {
		require.NoError(l.t, c.Close())
	}
}
