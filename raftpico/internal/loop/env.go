package loop

import (
	"time"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/uptime"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// env is the core's environment: the parts of the loop, each of which implements its share of node.Env. Owner: the turn.
type env struct {
	*answers
	*links
	*disk
	*receptions
	*snapshots
	turns slowness
	times api.Histogram // of turns
	began time.Time     // the turn, later by the time for which it has waited for the disk

	applies  api.Histogram // of pages of entries
	applying time.Time     // since when
}

var (
	_ node.Env    = (*env)(nil)
	_ node.Stater = (*env)(nil)
	_ node.Timer  = (*env)(nil)
)

func newEnv(s *self) *env {
	d := &disk{self: s, slow: newTimer()}
	r := &receptions{disk: d}
	return &env{answers: &answers{dirty: map[*jsonrpc.Conn]struct{}{}}, links: newLinks(s), disk: d, receptions: r, snapshots: &snapshots{r}}
}

// Send implements node.Env. With a MsgSnap goes the state in the last snapshot.
func (e *env) Send(m *wire.Message) bool {
	link := e.links.to[m.To]
	switch {
	case link == nil:
		return false
	case m.Snapshot == nil:
		return link.Send(m)
	}
	state, ok := e.stateAt(m.Snapshot.LastIncluded)
	return ok && link.SendSnapshot(m, state)
}

// Sent implements node.Env.
func (e *env) Sent() {
	e.links.flush()
	e.answers.flush()
}

// Save implements node.Env.
func (e *env) Save(r *wire.Record) (took time.Duration, err error) {
	took, err = e.disk.Save(r)
	e.began = e.began.Add(took)
	return took, err
}

// Uptime implements node.Env.
func (e *env) Uptime() (d time.Duration, ok bool) { return uptime.Now() }

// Late implements node.Env.
func (e *env) Late() bool { return time.Since(e.began) > turnTime }

// Applying implements node.Timer.
func (e *env) Applying() { e.applying = time.Now() }

// Applied implements node.Timer.
func (e *env) Applied() { e.applies.Observe(time.Since(e.applying)) }

// LoopState implements node.Stater.
func (e *env) LoopState() node.LoopState {
	return node.LoopState{SlowestTurn: e.turns.slowest().Microseconds()}
}

// MemberLog implements node.Stater.
func (e *env) MemberLog(id uint64) (bytes, snapshotBytes int64, known bool) {
	pong, known := e.pongs[id]
	return pong.LogBytes, pong.SnapshotBytes, known
}
