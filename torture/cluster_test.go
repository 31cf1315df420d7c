//go:build unix

package torture

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"
)

// form makes the servers a cluster, each known to the others by the address that leads through the network.
func (r *run) form() {
	r.t.Helper()
	for _, s := range r.servers {
		require.NoError(r.t, s.start())
	}
	first := r.servers[0]
	require.NoError(r.t, first.call(patience, "CreateCluster", map[string]bool{"lease_reads": r.leases}, nil))
	for _, s := range r.servers[1:] {
		r.add(s)
	}
	r.awaitVoters()
}

// eventually tries until it is done. The error tells why it is not.
func (r *run) eventually(what string, try func() (bool, error)) {
	r.t.Helper()
	for began := time.Now(); ; {
		done, err := try()
		if done {
			return
		}
		if time.Since(began) > patience || r.ctx.Err() != nil {
			require.FailNow(r.t, "waited in vain", "for %s: %v\n%s", what, err, r.describe())
		}
		r.pass(5 * time.Millisecond)
	}
}

// pass lets time pass: a fault's, or that between two tries.
func (r *run) pass(d time.Duration) {
	select {
	case <-r.ctx.Done():
	case <-time.After(d):
	}
}

// between draws a time.
func (r *run) between(from, to time.Duration) time.Duration {
	return from + time.Duration(r.rng.Int64N(int64(to-from)))
}

// describe tells what the servers say of themselves.
func (r *run) describe() (text string) {
	for _, s := range r.servers {
		st, err := s.state(false)
		text += fmt.Sprintf("%v, %s: running %v, paused %v: %+v %v\n", s, s.known, s.proc != nil, s.paused, st, err)
	}
	return text
}

// addrs are those of all servers, as package client takes them.
func (r *run) addrs() (addrs []string) {
	for _, s := range r.servers {
		addrs = append(addrs, s.known)
	}
	return addrs
}

// up returns the servers that run and are not paused, in a random order.
func (r *run) up() (up []*server) {
	for _, i := range r.rng.Perm(len(r.servers)) {
		if r.servers[i].running() {
			up = append(up, r.servers[i])
		}
	}
	return up
}

// checkAlive holds against the servers that none has ended unasked.
func (r *run) checkAlive() {
	r.t.Helper()
	for _, s := range r.servers {
		if s.proc != nil && !s.proc.running() {
			require.FailNow(r.t, "a server has ended by itself", "%v: %s", s, s.proc.tail())
		}
	}
}

// leader returns the server that leads, and the others in a random order.
func (r *run) leader() (leader *server, others []*server) {
	r.t.Helper()
	r.eventually("a leader", func() (bool, error) {
		var term uint64
		leader, others = nil, nil
		for _, s := range r.up() {
			st, err := s.state(false)
			if err == nil && st.Role == "Leader" && st.Term > term {
				if leader != nil {
					others = append(others, leader)
				}
				leader, term = s, st.Term
			} else {
				others = append(others, s)
			}
		}
		return leader != nil, fmt.Errorf("none of %v leads", others)
	})
	return leader, others
}

// ask makes a call through any other server until it is done, which done tells from the answer.
func (r *run) ask(but *server, method, addr string, done func(error) bool) {
	r.t.Helper()
	r.eventually(method+" "+addr, func() (bool, error) {
		for _, s := range r.up() {
			if s != but {
				err := s.call(patient, method, map[string]string{"addr": addr}, nil)
				return done(err), err
			}
		}
		return false, fmt.Errorf("no other server")
	})
}

// add adds a server that runs.
func (r *run) add(s *server) {
	r.t.Helper()
	r.ask(s, "AddServer", s.known, func(err error) bool { return err == nil || code(err) == 101 })
}

// remove removes a server.
func (r *run) remove(s *server) {
	r.t.Helper()
	r.ask(s, "RemoveServer", s.known, func(err error) bool { return err == nil || code(err) == 102 })
}

// replace starts a removed server with a new file and adds it again.
func (r *run) replace(s *server) {
	r.t.Helper()
	if s.proc != nil {
		require.NoError(r.t, s.kill())
	}
	require.NoError(r.t, s.wipe())
	require.NoError(r.t, s.start())
	r.add(s)
}

// awaitVoters waits until the servers are the cluster, each with a vote.
func (r *run) awaitVoters() {
	r.t.Helper()
	r.eventually("all to be voters", func() (bool, error) {
		for _, s := range r.servers {
			st, err := s.state(false)
			if err != nil {
				return false, err
			}
			voters := 0
			for _, m := range st.Members {
				if m.Role == "Voter" {
					voters++
				}
			}
			if voters != len(r.servers) || len(st.Members) != voters {
				return false, fmt.Errorf("%v knows %v", s, st.Members)
			}
		}
		return true, nil
	})
}

// awaitWrite waits until a client's write is answered. Everything must be healed.
func (r *run) awaitWrite() {
	r.t.Helper()
	began := r.tally.now()
	r.eventually("a write to be answered", func() (bool, error) { return r.tally.lastWrite() > began, nil })
	r.wait = max(r.wait, time.Duration(r.tally.now()-began))
}

// progress lets time pass, and returns the longest part of it without an answered write.
func (r *run) progress(d time.Duration) (gap time.Duration) {
	for began, last := time.Now(), r.tally.now(); time.Since(began) < d && r.ctx.Err() == nil; {
		r.pass(5 * time.Millisecond)
		last = max(last, r.tally.lastWrite())
		gap = max(gap, time.Duration(r.tally.now()-last))
	}
	return gap
}

// level waits until all servers have applied the same log to its end, with the same result. It returns its length.
func (r *run) level() (commit uint64) {
	r.t.Helper()
	states := make([]state, len(r.servers))
	r.eventually("the servers to be level", func() (bool, error) {
		for i, s := range r.servers {
			var err error
			if states[i], err = s.state(true); err != nil {
				return false, err
			}
			st, first := states[i], states[0]
			if st.Commit != st.Last || st.Applied != st.Last || st.Last != first.Last || st.Term != first.Term {
				return false, fmt.Errorf("%v is at %d of %d", s, st.Applied, st.Last)
			}
			if st.Machines.User == nil { // while its disk is slow a server tells all but the machines
				return false, fmt.Errorf("%v does not tell its machines", s)
			}
		}
		return true, nil
	})
	for i, st := range states {
		require.Equal(r.t, string(states[0].Machines.User), string(st.Machines.User), "the machines of servers 0 and %d differ", i)
	}
	r.final = states[0].Machines.User
	return states[0].Commit
}
