package node

// Origin is the cluster that a part of the log comes from. A machine may know its cluster's id, and its random numbers
// come from it (machine.Context). So what was carried out under one id is carried out under the same one again, also
// when another cluster goes on from there: entries up to Until are those of Cluster.
type Origin struct {
	Cluster string `json:"cluster_id"`
	Until   uint64 `json:"until"`
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

// outgrow forgets the clusters whose entries are all applied.
func (s *system) outgrow(applied uint64) {
	for len(s.Origins) > 0 && s.Origins[0].Until <= applied {
		s.Origins = s.Origins[1:]
	}
}
