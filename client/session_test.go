package client_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/memnet"
)

// TestOnceUnderTrouble: whatever happens to requests and answers, each Command counts once, and each caller hears of it.
func TestOnceUnderTrouble(t *testing.T) {
	f := startFakes(t, 3)
	troubles := []trouble{
		{err: client.ErrRejected}, {err: client.ErrNoLeader}, {err: client.ErrBusy}, {err: client.ErrUnknown},
		{err: client.ErrUnknown, works: true}, {cut: true}, {cut: true, works: true}, {err: client.ErrNotMember},
	}
	f.trouble = func(a ask) trouble {
		if a.method == "GetServerState" || rand.IntN(20) > 0 {
			return trouble{}
		}
		return troubles[rand.IntN(len(troubles))]
	}
	c := f.dial(client.Options{}, f.addrs...)
	ctx := within(t, patience)
	const callers, each = 100, 10
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range each {
				if err := c.Apply(ctx, machine.Command, 1, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	require.Equal(t, callers*each, f.value)
	require.Greater(t, len(f.requests("Apply")), callers*each)
}

// TestSessionThatEndedIsReplaced, when it is certain that the command was not applied.
func TestSessionThatEndedIsReplaced(t *testing.T) {
	f := startFakes(t, 1)
	c := f.dial(client.Options{}, f.addrs...)
	ctx := within(t, patience)
	require.NoError(t, c.Apply(ctx, machine.Command, 1, nil))
	f.set(func() { clear(f.sessions) })
	require.NoError(t, c.Apply(ctx, machine.Command, 1, nil))
	require.Len(t, f.requests("OpenSession"), 2)
	require.Equal(t, 2, f.value)

	// The answer is lost, and so is the session: nobody knows.
	n := len(f.requests("Apply"))
	f.set(func() {
		f.trouble = func(a ask) trouble {
			if a.method == "Apply" && a.n == n {
				f.set(func() { clear(f.sessions) })
				return trouble{err: client.ErrUnknown}
			}
			return trouble{}
		}
	})
	err := c.Apply(ctx, machine.Command, 1, nil)
	require.ErrorIs(t, err, client.ErrUnknown)
	require.ErrorIs(t, err, client.ErrSessionEnded)
	require.Equal(t, 2, f.value)
	require.NoError(t, c.Apply(ctx, machine.Command, 1, nil), "the next one has a session again")
}

// TestServersWithoutSessions are older ones.
func TestServersWithoutSessions(t *testing.T) {
	f := startFakes(t, 1)
	f.old = true
	c := f.dial(client.Options{}, f.addrs...)
	for range 3 {
		require.NoError(t, c.Apply(within(t, patience), machine.Command, 1, nil))
	}
	require.Len(t, f.requests("OpenSession"), 1)
	require.Nil(t, f.requests("Apply")[0].session)
}

// TestSessionsNotOpened leaves no doubt about the command.
func TestSessionsNotOpened(t *testing.T) {
	f := startFakes(t, 1)
	f.trouble = func(a ask) trouble { return trouble{silent: a.method == "OpenSession"} }
	c := f.dial(client.Options{}, f.addrs...)
	err := c.Apply(within(t, 50*time.Millisecond), machine.Command, 1, nil)
	require.ErrorIs(t, err, client.ErrRejected)
	require.NotErrorIs(t, err, client.ErrUnknown)
}

// TestCommandThatWaitsHoldsNobodyUp: others go on, in other sessions when the first has as much as servers keep.
func TestCommandThatWaitsHoldsNobodyUp(t *testing.T) {
	for name, input := range map[string]any{"many": 1, "large": map[string]int{"Size": 64 << 10}} {
		t.Run(name, func(t *testing.T) {
			f := startFakes(t, 1)
			c := f.dial(client.Options{}, f.addrs...)
			ctx := within(t, patience)
			done := make(chan error)
			go func() { done <- c.Apply(ctx, machine.Command, "wait", nil) }()
			require.Eventually(t, func() bool { return len(f.requests("Apply")) == 1 }, patience, time.Millisecond)
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					for range 60 {
						if err := c.Apply(ctx, machine.Command, input, nil); err != nil {
							t.Error(err)
							return
						}
						if name == "large" && rand.IntN(10) > 0 {
							return
						}
					}
				})
			}
			all.Wait()
			opened := len(f.requests("OpenSession"))
			require.Greater(t, opened, 1)
			require.Less(t, opened, 10)
			f.answerDeferred("1")
			require.NoError(t, <-done)
			for range 10 {
				require.NoError(t, c.Apply(ctx, machine.Command, 1, nil))
			}
			last := f.requests("Apply")
			require.Equal(t, last[0].session.ID, last[len(last)-1].session.ID, "the first one is used again")
			require.Equal(t, last[len(last)-1].session.Seq-1, last[len(last)-1].session.Ack)
		})
	}
}

// TestOwnSession: all Commands of a Session are in it, and it lives until it is closed.
func TestOwnSession(t *testing.T) {
	f := startFakes(t, 1)
	c := f.dial(client.Options{}, f.addrs...)
	ctx := within(t, patience)
	s, err := c.OpenSession(ctx, time.Second)
	require.NoError(t, err)
	out, err := client.Call[int](ctx, s, machine.Command, 1)
	require.NoError(t, err)
	require.Equal(t, 1, out)
	require.NoError(t, s.Apply(ctx, machine.Query, 0, nil))
	require.Equal(t, s.ID(), f.requests("Apply")[0].session.ID)
	require.Nil(t, f.requests("Apply")[1].session)
	require.Eventually(t, func() bool { return len(f.requests("KeepSession")) >= 2 }, patience, time.Millisecond)
	require.NoError(t, s.Close(ctx))
	<-s.Done()
	require.Equal(t, []uint64{s.ID()}, f.ended)
	require.ErrorIs(t, s.Apply(ctx, machine.Command, 1, nil), client.ErrSessionEnded)
	require.NoError(t, s.Close(ctx))

	s, err = c.OpenSession(ctx, time.Second)
	require.NoError(t, err)
	f.set(func() { clear(f.sessions) })
	<-s.Done() // KeepSession finds out
	require.NoError(t, s.Close(ctx))

	s, err = c.OpenSession(ctx, 0)
	require.NoError(t, err)
	f.set(func() { clear(f.sessions) })
	require.ErrorIs(t, s.Apply(ctx, machine.Command, 1, nil), client.ErrSessionEnded)
	<-s.Done()

	s, err = c.OpenSession(ctx, 0)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.Contains(t, f.ended, s.ID())
}

// TestOwnSessionOutlivesForgottenNumbers: servers short of memory may refuse a number that they have never had.
func TestOwnSessionOutlivesForgottenNumbers(t *testing.T) {
	f := startFakes(t, 1)
	f.trouble = first("Apply", trouble{err: client.ErrSessionEnded})
	c := f.dial(client.Options{}, f.addrs...)
	ctx := within(t, patience)
	s, err := c.OpenSession(ctx, 0)
	require.NoError(t, err)
	require.NoError(t, s.Apply(ctx, machine.Command, 1, nil))
	require.Equal(t, uint64(2), f.requests("Apply")[1].session.Seq)
	require.Equal(t, s.ID(), f.requests("Apply")[1].session.ID)
	require.Equal(t, 1, f.value)
	select {
	case <-s.Done():
		require.Fail(t, "it has not ended")
	default:
	}
}

// lock is a machine: a lock that sessions take, and give back when they end.
type lock struct {
	Holder  uint64
	Waiting []waiting
}

type waiting struct {
	Session uint64
	Ticket  machine.Ticket
}

func (l *lock) Apply(ctx *machine.Context, _ string) (any, error) {
	switch {
	case ctx.Kind != machine.Command:
	case l.Holder == 0:
		l.Holder = ctx.Session
	default:
		l.Waiting = append(l.Waiting, waiting{ctx.Session, ctx.Defer()})
	}
	return l.Holder, nil
}

func (l *lock) OnSessionEnd(ctx *machine.Context, id uint64) {
	if l.Holder != id {
		return
	}
	if l.Holder = 0; len(l.Waiting) > 0 {
		next := l.Waiting[0]
		l.Holder, l.Waiting = next.Session, l.Waiting[1:]
		ctx.Answer(next.Ticket, next.Session, nil)
	}
}

// TestLockGoesToTheNextWhenItsSessionEnds, on real servers: because it is closed, or because its client is cut off.
func TestLockGoesToTheNextWhenItsSessionEnds(t *testing.T) {
	cluster := memnet.Start(t, 3, func() machine.Machine { return machine.JSON(&lock{}) })
	ctx := within(t, patience)
	var sessions []*client.Session
	for _, from := range []string{"client:1", "client:2", "client:3"} {
		c := client.NewWith(client.Options{Dial: cluster.Dialer(from)}, cluster.Servers[0].Addr())
		defer c.Close()
		s, err := c.OpenSession(ctx, time.Second)
		require.NoError(t, err)
		sessions = append(sessions, s)
	}
	holder, err := client.Call[uint64](ctx, sessions[0], machine.Command, "")
	require.NoError(t, err)
	require.Equal(t, sessions[0].ID(), holder)
	got := make([]chan uint64, 3)
	for i := 1; i <= 2; i++ {
		got[i] = make(chan uint64, 1)
		go func() {
			holder, err := client.Call[uint64](ctx, sessions[i], machine.Command, "")
			if err != nil {
				t.Error(err)
			}
			got[i] <- holder
		}()
		require.Eventually(t, func() bool {
			state, err := cluster.Servers[0].State(ctx, true)
			return err == nil && strings.Count(string(state.Machines.User), "Ticket") == i
		}, patience, 10*time.Millisecond)
	}
	require.NoError(t, sessions[0].Close(ctx))
	require.Equal(t, sessions[1].ID(), <-got[1])
	cluster.Isolate("client:2")
	require.Equal(t, sessions[2].ID(), <-got[2], "when nothing has been heard of the holder for a second")
	cluster.Heal()
	<-sessions[1].Done()
}

// TestOwnSessionTakesManyAtOnce, but never more than servers keep.
func TestOwnSessionTakesManyAtOnce(t *testing.T) {
	f := startFakes(t, 1)
	c := f.dial(client.Options{}, f.addrs...)
	ctx := within(t, patience)
	s, err := c.OpenSession(ctx, 0)
	require.NoError(t, err)
	var all sync.WaitGroup
	for range 1500 {
		all.Go(func() {
			if err := s.Apply(ctx, machine.Command, "wait", nil); err != nil {
				t.Error(err)
			}
		})
	}
	deferred := func(n int) func() bool {
		return func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.deferred) == n }
	}
	require.Eventually(t, deferred(1000), patience, time.Millisecond)
	require.ErrorIs(t, s.Apply(within(t, 10*time.Millisecond), machine.Command, 1, nil), client.ErrRejected, "no room")
	f.answerDeferred("1")
	require.Eventually(t, deferred(500), patience, time.Millisecond)
	f.answerDeferred("1")
	all.Wait()
	require.NoError(t, s.Apply(ctx, machine.Command, 1, nil))
}

// TestWhatIsGivenUpIsTold: soon, once, and only what the next command does not tell.
func TestWhatIsGivenUpIsTold(t *testing.T) {
	f := startFakes(t, 1)
	c := f.dial(client.Options{}, f.addrs...)
	s, err := c.OpenSession(within(t, patience), time.Hour)
	require.NoError(t, err)
	for _, in := range []interface {
		Apply(context.Context, machine.Kind, any, any) error
	}{c, s} {
		keeps := len(f.requests("KeepSession"))
		require.NoError(t, in.Apply(within(t, patience), machine.Command, 1, nil))
		ctx, cancel := context.WithCancel(t.Context())
		n := len(f.requests("Apply"))
		done := make(chan error)
		go func() { done <- in.Apply(ctx, machine.Command, "wait", nil) }()
		require.Eventually(t, func() bool { return len(f.requests("Apply")) == n+1 }, patience, time.Millisecond)
		cancel()
		require.ErrorIs(t, <-done, client.ErrUnknown)
		require.Eventually(t, func() bool { return len(f.requests("KeepSession")) == keeps+1 }, patience, time.Millisecond)
		waited, told := f.requests("Apply")[n].session, f.requests("KeepSession")[keeps]
		require.Equal(t, waited.ID, told.kept)
		require.Equal(t, waited.Seq, told.ack)

		// The next one has nothing to tell.
		require.NoError(t, in.Apply(within(t, patience), machine.Command, 1, nil))
		time.Sleep(200 * time.Millisecond)
		require.Len(t, f.requests("KeepSession"), keeps+1)
	}
}
