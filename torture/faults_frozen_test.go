//go:build unix

package torture

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
)

const (
	thawsAfter = 30 * time.Second // whatever happens to this test
	prompt     = 2 * time.Second  // for an answer that needs no disk, on a busy machine
	grace      = 2 * time.Second  // past a deadline, on a busy machine
)

// freezeDisk lets a server's disk hang. What needs no disk is answered all the time; everything else by its deadline; and the others
// go on. The clients of the load hold the server to its deadline too, since nothing of this is noted as trouble.
func (r *run) freezeDisk() func() {
	s := r.servers[r.any()]
	if leader, _ := r.leader(); r.rng.IntN(2) == 0 {
		s = leader
	}
	require.NoError(r.t, s.disk.freeze(thawsAfter))
	r.t.Cleanup(func() { _ = s.disk.thaw() }) // before it is unmounted, and its server killed
	began, deadline := time.Now(), r.service.deadline
	frozenFor := deadline + 3*time.Second // so that whoever asks at once sees his deadline pass
	var wg sync.WaitGroup
	var mu sync.Mutex
	var faults []error
	ask := func(within time.Duration, method string, params any, good func(error) bool) {
		asked := time.Now()
		err := s.call(within, method, params, nil)
		if mu.Lock(); !good(err) {
			faults = append(faults, fmt.Errorf("%s %v, %v after the disk froze: %w after %v", method, params, asked.Sub(began), err, time.Since(asked)))
		}
		mu.Unlock()
	}
	apply := func(kind string, input any) map[string]any { return map[string]any{"kind": kind, "input": input} }
	for method, params := range map[string]any{
		"Apply": apply("Command", r.service.command), "AddServer": map[string]string{"addr": s.known},
		"RemoveServer": map[string]string{"addr": "127.0.0.1:9"}, "TakeSnapshot": nil, "CreateCluster": nil,
	} {
		wg.Go(func() { ask(deadline+grace, method, params, isAnswer) })
	}
	wg.Go(func() { ask(deadline+grace, "Apply", apply("Query", r.service.query), isAnswer) })
	wg.Go(func() {
		for time.Since(began) < frozenFor && r.ctx.Err() == nil {
			ask(prompt, "Apply", apply("LocalQuery", r.service.query), isNil)
			ask(prompt, "GetServerState", map[string]bool{"machines": false}, isNil)
			r.pass(100 * time.Millisecond)
		}
	})
	gap := r.progress(frozenFor)
	wg.Wait()
	r.t.Logf("         %v: %v without a write", s, gap.Round(time.Millisecond))
	require.NoError(r.t, errors.Join(faults...), "%v, of which the disk hangs", s)
	require.Less(r.t, gap, frozenFor-time.Second, "the others don't go on")
	r.checkAlive()
	return func() { require.NoError(r.t, s.disk.thaw()) }
}

func isNil(err error) bool { return err == nil }

// isAnswer tells whether a call got an answer, be it an error.
func isAnswer(err error) bool {
	var answer *jsonrpc.Error
	return err == nil || errors.As(err, &answer)
}
