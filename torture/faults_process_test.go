//go:build unix

package torture

import (
	"fmt"
	"os"
	"time"

	"github.com/stretchr/testify/require"
)

// processFaults are what happens to processes.
func processFaults() []fault {
	return []fault{
		{name: "kill one", inject: func(r *run) func() { return r.kill(1) }},
		{name: "kill the leader", alone: true, inject: func(r *run) func() { return r.killLeader() }},
		{name: "kill a majority", inject: func(r *run) func() { return r.kill(len(r.servers)/2 + 1) }},
		{name: "kill all", inject: func(r *run) func() { return r.kill(len(r.servers)) }},
		{name: "stop in order", inject: func(r *run) func() { return r.stopOne() }},
		{name: "pause one", inject: func(r *run) func() { return r.pause(1) }},
		{name: "pause the leader", alone: true, inject: func(r *run) func() { return r.pauseLeader() }},
		{name: "pause a majority", inject: func(r *run) func() { return r.pause(len(r.servers)/2 + 1) }},
		{name: "torn last line", inject: func(r *run) func() { return r.tear() }},
		{name: "snapshot", inject: func(r *run) func() { r.snapshot(r.up()); return nil }},
		{name: "kill in a snapshot", inject: func(r *run) func() { return r.killInSnapshot() }},
	}
}

// some returns up to n servers that run.
func (r *run) some(n int) []*server {
	up := r.up()
	return up[:min(n, len(up))]
}

func (r *run) kill(n int) func() {
	victims := r.some(n)
	for _, s := range victims {
		require.NoError(r.t, s.kill())
	}
	return r.restart(victims)
}

// restart returns what starts servers again.
func (r *run) restart(victims []*server) func() {
	return func() {
		for _, s := range victims {
			require.NoError(r.t, s.start())
		}
	}
}

func (r *run) killLeader() func() {
	leader, _ := r.leader()
	require.NoError(r.t, leader.kill())
	return r.restart([]*server{leader})
}

func (r *run) stopOne() func() {
	victims := r.some(1)
	for _, s := range victims {
		require.NoError(r.t, s.stop())
	}
	return r.restart(victims)
}

func (r *run) pause(n int) func() { return r.pauseThese(r.some(n)) }

func (r *run) pauseThese(victims []*server) func() {
	for _, s := range victims {
		require.NoError(r.t, s.pause())
	}
	return func() {
		for _, s := range victims {
			require.NoError(r.t, s.resume())
		}
	}
}

func (r *run) pauseLeader() func() {
	leader, _ := r.leader()
	return r.pauseThese([]*server{leader})
}

// tear kills a server and appends the beginning of a line to its file, as a crash in the midst of a write leaves it.
// Nothing of it was acknowledged; so the server must cut it off. NB: Cutting into what is there would not be fair.
func (r *run) tear() func() {
	victims := r.some(1)
	for _, s := range victims {
		require.NoError(r.t, s.kill())
		f, err := os.OpenFile(s.file(), os.O_WRONLY|os.O_APPEND, 0)
		require.NoError(r.t, err)
		line := fmt.Sprintf(`{"HardState":{"term":%d,"vote":1,"commit":%d},"LogEntries":{"prev":{"term":1,"index":7},"entries":[{"StartTerm":2}]},"crc":"00`,
			r.rng.IntN(1000), r.rng.IntN(100000))
		_, err = f.WriteString(line[:1+r.rng.IntN(len(line))])
		require.NoError(r.t, err)
		require.NoError(r.t, f.Close())
	}
	return r.restart(victims)
}

// snapshot asks the first of some servers for a snapshot and does not wait for it.
func (r *run) snapshot(servers []*server) {
	if len(servers) == 0 {
		return
	}
	s := servers[0]
	r.calls.Go(func() { // ends with the answer, or without one in time
		err := s.call(patient, "TakeSnapshot", nil, nil)
		switch code(err) {
		case 0, 102, 106, 107, 108, 110:
		default:
			r.tally.fault(fmt.Errorf("%v: TakeSnapshot: %w", s, err))
		}
	})
}

func (r *run) killInSnapshot() func() {
	victims := r.some(1)
	for _, s := range victims {
		r.snapshot(victims)
		r.pass(r.between(time.Millisecond, 20*time.Millisecond))
		require.NoError(r.t, s.kill())
	}
	return r.restart(victims)
}
