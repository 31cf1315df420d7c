package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// keepers starts a world of keepers.
func keepers(t *testing.T, lines ...string) *world {
	w := newWorld(t)
	w.told = map[node.Caller]bool{}
	return w.play("keepers").play(lines...)
}

// apply asks a server, without a turn.
func (s *server) apply(kind machine.Kind, in string, change ...func(*node.Request)) caller {
	s.w.serial++
	r := &node.Request{Op: node.Apply, Kind: kind, Input: json.RawMessage(fmt.Sprintf("%q", in))}
	for _, f := range change {
		f(r)
	}
	s.node.Request(caller(s.w.serial), r)
	return caller(s.w.serial)
}

// TestWhatIsDueIsNotHeldUpByQueries: where a slow machine is asked without end, those who wait for a change and those whose
// answer is known have their turn, and so have the queries.
func TestWhatIsDueIsNotHeldUpByQueries(t *testing.T) {
	w := keepers(t, "cluster a")
	a := w.server("a")
	a.late = true
	waiting, deferred := a.apply(machine.LocalQuery, "wait door"), a.apply(machine.Command, "defer lock")
	a.flush()
	a.apply(machine.Command, "put door open")
	a.apply(machine.Command, "answer lock yours")
	var first caller
	for i := range 20 {
		for range 20 {
			c := a.apply(machine.Query, "get window")
			if i == 2 {
				first = c
			}
		}
		a.flush()
	}
	require.True(t, w.told[deferred])
	require.True(t, w.told[waiting])
	require.True(t, w.told[first-30])
	for range 100 {
		a.flush()
	}
	require.Zero(t, a.node.Pending())
}

// TestOverdueTellsThoseWhoHaveBeenWoken: their last run waits for its turn, and the disk hangs.
func TestOverdueTellsThoseWhoHaveBeenWoken(t *testing.T) {
	w := keepers(t, "cluster a")
	a := w.server("a")
	for range 30 {
		a.apply(machine.LocalQuery, "wait door", func(r *node.Request) { r.Deadline = 100 * time.Millisecond })
	}
	a.late = true
	a.apply(machine.Command, "add word")
	looks := 0
	a.atDisk = func(*wire.Record) {
		if looks++; looks > 1 {
			return
		}
		told := map[node.Caller]string{}
		a.node.Overdue(w.now, func(c node.Caller, result json.RawMessage, err *jsonrpc.Error) {
			require.Nil(t, err)
			told[c] = string(result)
		})
		require.Less(t, len(w.told), 25)
		require.Len(t, told, 30-len(w.told))
		a.node.Overdue(w.now, func(node.Caller, json.RawMessage, *jsonrpc.Error) { require.Fail(t, "told again") })
		for c, result := range told {
			require.False(t, w.told[c])
			require.Equal(t, `"timed out"`, result)
		}
	}
	w.now += 150 * time.Millisecond
	a.flush()
	require.NotZero(t, looks)
}

// TestManyWaitForOneTicket: each is answered once, in whatever order they end.
func TestManyWaitForOneTicket(t *testing.T) {
	w := keepers(t, "cluster a", "request a OpenSession")
	a := w.server("a")
	ask := func(deadline time.Duration) caller {
		return a.apply(machine.Command, "defer lock", func(r *node.Request) {
			r.Deadline, r.Session = deadline, wire.SessionSeq{ID: 3, Seq: 1}
		})
	}
	kinds := map[int][]caller{}
	for i := range 90 {
		kinds[i%3] = append(kinds[i%3], ask([]time.Duration{time.Second, 100 * time.Millisecond, time.Second}[i%3]))
	}
	a.flush()
	told := func(kind int) (n int) {
		for _, c := range kinds[kind] {
			if w.told[c] {
				n++
			}
		}
		return n
	}
	for _, c := range kinds[0] {
		a.node.Request(c, &node.Request{Op: node.Cancel})
	}
	a.flush()
	require.Equal(t, []int{30, 0, 0}, []int{told(0), told(1), told(2)})
	w.play("pass 120ms")
	require.Equal(t, []int{30, 30, 0}, []int{told(0), told(1), told(2)})
	w.out.Reset()
	a.apply(machine.Command, "answer lock yours")
	a.flush()
	require.Equal(t, 30, told(2))
	require.Equal(t, 30, strings.Count(w.out.String(), `"yours"`+"\n"))
	require.Zero(t, a.node.Pending())
}

// TestQueryNamesAKeyTwice: it waits for it once, among others that wait, and is woken once.
func TestQueryNamesAKeyTwice(t *testing.T) {
	w := keepers(t, "cluster a")
	a := w.server("a")
	one, two := a.apply(machine.LocalQuery, "wait x y x y x"), a.apply(machine.LocalQuery, "wait y x y")
	a.apply(machine.Command, "wake x y x")
	a.flush()
	require.Equal(t, 2, a.node.State().Waiting)
	a.apply(machine.Command, "put y 1")
	a.flush()
	require.True(t, w.told[one] && w.told[two])
	require.Zero(t, a.node.Pending())
	require.Zero(t, a.node.Keys())
}

// mourner counts the ends of sessions, and what OnSessionEnd is told of.
type mourner struct {
	null
	ended map[uint64]bool
	most  int // in one entry
	index uint64
	count int
}

func (m *mourner) OnSessionEnd(ctx *machine.Context, id uint64) {
	m.ended[id] = true
	if ctx.Index != m.index {
		m.index, m.count = ctx.Index, 0
	}
	m.count++
	m.most = max(m.most, m.count)
}

// TestAsManySessionsAsThereMayBe: one more is refused, and when all end at once, they do so in portions, a turn each.
func TestAsManySessionsAsThereMayBe(t *testing.T) {
	const most, portion = 65536, 1024
	m := &mourner{ended: map[uint64]bool{}}
	e := startCores(t, 1, func(c *node.Config) { c.Machine = m })[0]
	began := e.n.State().AppliedTime
	for range most/1024 + 1 {
		for range 1024 {
			e.n.Request(0, &node.Request{Op: node.OpenSession, TTL: time.Second})
		}
		for e.turn(t); e.n.Backlog(); e.turn(t) {
		}
	}
	require.Equal(t, []int{most + 1024, 1024}, []int{e.answered, e.refused})
	require.Equal(t, most, e.n.State().Sessions)
	index := e.n.State().AppliedIndex

	at, ok := e.n.Wake()
	require.True(t, ok)
	e.n.SetTime(at+2*time.Second, time.UnixMilli(began).Add(3*time.Second))
	e.n.Tick()
	turns := 0
	for before := most; before > 0; turns++ {
		e.turn(t)
		left := e.n.State().Sessions
		require.LessOrEqual(t, before-left, portion)
		before = left
		at, ok := e.n.Wake()
		require.True(t, ok)
		require.True(t, before == 0 || at <= 4*time.Second, "the next turn is due")
		require.Less(t, turns, 2*most/portion)
	}
	require.Len(t, m.ended, most)
	require.Equal(t, portion, m.most)
	require.EqualValues(t, most/portion, e.n.State().AppliedIndex-index)
	require.Zero(t, e.n.Pending())
}

// TestLeaderThatMayNotLogTriesAgainInAWhile: where too much is uncommitted, what is due waits for room, and the loop sleeps
// meanwhile.
func TestLeaderThatMayNotLogTriesAgainInAWhile(t *testing.T) {
	w := keepers(t, "servers a=2000 b c", "request a CreateCluster", "request a AddServer b", "request a AddServer c")
	w.play("pass 900ms")
	a := w.server("a")
	a.apply(machine.Command, "timer 90ms thing")
	a.flush()
	w.play("pass 30ms", "freeze b", "freeze c")
	a.apply(machine.Command, "add "+strings.Repeat("x", 1950))
	a.flush()
	last := a.node.State().LastIndex
	turns := 0
	for until := w.now + 240*time.Millisecond; w.now < until; turns++ {
		require.Less(t, turns, 60)
		at, ok := a.node.Wake()
		require.True(t, ok)
		w.now = min(max(at, w.now), until)
		a.flush()
	}
	require.Equal(t, "Leader", a.node.State().Role)
	require.Equal(t, last, a.node.State().LastIndex)
	w.play("thaw b", "thaw c", "pass 3s")
	require.Contains(t, strings.Join(a.applied(), " "), "timer_thing")
	require.Zero(t, a.node.Pending())
}
