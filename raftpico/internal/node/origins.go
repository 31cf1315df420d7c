package node

// Origin is the cluster that a part of the log comes from. A machine may know its cluster's id, and its random numbers
// come from it (machine.Context). So what was carried out under one id is carried out under the same one again, also
// when another cluster goes on from there: entries up to Until are those of Cluster.
//
// So have the sessions that they open the ids of then: what is added to an entry's index, SessionBase of that cluster.
type Origin struct {
	Cluster     string `json:"cluster_id"`
	Until       uint64 `json:"until"`
	SessionBase uint64 `json:"session_base,omitempty"`
}

// originLevel is the wire.Level of the releases that know origins.
const originLevel = 1

// origin is the cluster that an entry comes from, own if it is no other. Origins are ascending by Until.
func (s *system) origin(index uint64, own string) string {
	for _, o := range s.Origins {
		if index <= o.Until {
			return o.Cluster
		}
	}
	return own
}

// sessionID is the id of the session that an entry opens. Clients of another cluster may know ids of sessions that this one
// has never heard of: those that were opened behind a backup, or on servers that were lost. They must not meet a session of
// somebody else, and be answered with its outcomes. So a cluster that goes on from another one has ids of its own.
func (s *system) sessionID(index uint64) uint64 {
	for _, o := range s.Origins {
		if index <= o.Until {
			return o.SessionBase + index
		}
	}
	return s.SessionBase + index
}

// outgrow forgets the clusters whose entries are all applied.
func (s *system) outgrow(applied uint64) {
	for len(s.Origins) > 0 && s.Origins[0].Until <= applied {
		s.Origins = s.Origins[1:]
	}
}
