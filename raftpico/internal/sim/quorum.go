package sim

import "slices"

// Whether a cluster can go on at all: too many files may have been wiped.

// quorumLost tells whether so many voters were wiped that the cluster can't go on. One that is leaving may be a voter.
func (c *checks) quorumLost(w *world) bool {
	var voters, alive, leaving, leavingAlive int
	for _, m := range c.view {
		here := 0
		if m.alive(w) {
			here = 1
		}
		switch m.Role {
		case "Voter":
			voters, alive = voters+1, alive+here
		case "Leaving", "Demoting":
			leaving, leavingAlive = leaving+1, leavingAlive+here
		}
	}
	return 2*alive <= voters || 2*(alive+leavingAlive) <= voters+leaving || c.outvoted(w) || !c.electable(w)
}

// outvoted tells whether a majority of the voters, by the committed steps, were wiped: one that is a learner since the last step
// may look like a voter that leaves.
func (c *checks) outvoted(w *world) bool {
	voters, alive := []uint64{1}, 0
	c.replay(w.servers[0], uint64(len(c.committed)), func(_ uint64, _ step, after []uint64) { voters = after })
	for _, id := range voters {
		if slices.ContainsFunc(c.view, func(m member) bool { return m.ID == id && m.alive(w) }) {
			alive++
		}
	}
	return 2*alive <= len(voters)
}

// electable tells whether one of the servers could be elected by the configuration that it knows. A step of the configuration that
// none of those who are left has seen committed binds nobody: they need the majority before it. But whoever was told that a server is
// removed may have deleted it: that is no excuse.
func (c *checks) electable(w *world) bool {
	return slices.ContainsFunc(c.members(w), func(s *server) bool {
		st := s.node.State()
		voters, alive := 0, 0
		for _, known := range st.Members {
			if known.Role != "Voter" && known.Role != "Leaving" && known.Role != "Demoting" {
				continue
			}
			voters++
			i := slices.IndexFunc(c.view, func(m member) bool { return m.ID == known.ID })
			here := c.spare[known.ID] || i >= 0 && c.view[i].alive(w)
			if i < 0 { // one that was removed meanwhile must not leave before it can be spared; but it may have been wiped
				here = here || c.seated(w, known.ID) != nil
			}
			if here {
				alive++
			}
		}
		return st.Role == "Leader" || 2*alive > voters
	})
}
