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
	}
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
