//go:build unix

package torture

import (
	"fmt"
	"time"
)

// memberFaults change the cluster.
func memberFaults() []fault {
	return []fault{
		{name: "replace one", alone: true, inject: func(r *run) func() { return r.replaceOne(r.servers[r.any()]) }},
		{name: "replace the leader", alone: true, inject: func(r *run) func() {
			leader, _ := r.leader()
			return r.replaceOne(leader)
		}},
		{name: "hand over and hear no more", alone: true, inject: func(r *run) func() { return r.handOver() }},
		{name: "leases off and on", inject: func(r *run) func() { return r.configure() }},
	}
}

// handOver lets the leader hand leadership to another, and cuts off what it hears. It may have told the other already.
func (r *run) handOver() func() {
	leader, others := r.leader()
	to := others[0].known
	r.calls.Go(func() { // ends with the answer, or without one in time
		err := leader.call(patient, "TransferLeader", map[string]string{"addr": to}, nil)
		switch code(err) {
		case 0, 106, 107, 108, 110:
		default:
			r.tally.fault(fmt.Errorf("%v: TransferLeader: %w", leader, err))
		}
	})
	r.pass(r.between(0, 20*time.Millisecond))
	return r.change(func(_, to int, w *weather) { w.cut = w.cut || to == leader.id })
}

// configure turns leases off, and on again in the end, if this run is one with leases.
func (r *run) configure() func() {
	if !r.leases {
		return nil
	}
	set := func(on bool) {
		if up := r.up(); len(up) > 0 {
			r.calls.Go(func() { // as above
				err := up[0].call(patient, "Configure", map[string]bool{"lease_reads": on}, nil)
				switch code(err) {
				case 0, 102, 106, 107, 108, 110:
				default:
					r.tally.fault(fmt.Errorf("%v: Configure: %w", up[0], err))
				}
			})
		}
	}
	set(false)
	return func() { set(true) }
}

// replaceOne removes a server, lets the others go on without it for a while, and adds it anew with an empty file.
func (r *run) replaceOne(s *server) func() {
	r.remove(s)
	if r.rng.IntN(2) == 0 { // else it is killed before it knows
		r.eventually("the removed server to know it", func() (bool, error) {
			err := s.call(time.Second, "Apply", map[string]any{"kind": "Query", "input": r.service.query}, nil)
			return code(err) == 102, fmt.Errorf("it answers %w", err)
		})
	}
	return func() {
		r.replace(s)
		r.awaitVoters()
	}
}
