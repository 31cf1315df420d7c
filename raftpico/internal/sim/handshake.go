package sim

import (
	"errors"
	"time"

	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// hello is what a dialler says in a handshake.
type hello struct {
	identity wire.Identity
	from, to node.Peer
	listed   bool // the other side is where the list says
}

var errMistaken = errors.New("another server than the one meant")

// accept answers a handshake, as raftpico/internal/front/handshake.go and peer's introduce do together; but that of the two introduce compares
// instances too is left out: the core must hold without.
func (s *server) accept(h hello) (node.Verdict, error) {
	identity, ok := s.node.Identity()
	if !ok && !h.listed {
		return 0, errMistaken
	}
	if !ok {
		place := h.identity
		place.NodeID = h.to.ID
		if err := s.node.Join(place, h.to.Instance); err != nil {
			return 0, err
		}
		identity = place
	}
	if identity.ClusterID != h.identity.ClusterID || identity.NodeID != h.to.ID || identity.Key != h.identity.Key {
		return 0, errMistaken
	}
	verdict := s.node.Hello(h.identity.ClusterID, h.from, h.to)
	if verdict == node.Removed {
		s.tells(s.node.State().AppliedIndex)
	}
	return verdict, nil
}

// probe asks who is at an address, for s.
func (n *network) probe(s *server, addr string, answer func(node.Who, error)) {
	w, run, over := n.w, s.run, false
	reply := func(who node.Who, err error) {
		s.postTo(run, func() {
			if !over {
				over = true
				answer(who, err)
			}
		})
	}
	w.after(n.latency(), func() {
		to := n.byAddr(addr)
		switch {
		case to == nil || n.cut(s, to) || to.paused:
		case to.node == nil:
			reply(node.Who{}, errAway)
		default:
			who := node.Who{Instance: to.instance, Version: to.build, Level: to.level}
			if identity, ok := to.node.Identity(); ok {
				who.ClusterID, who.NodeID = identity.ClusterID, identity.NodeID
			}
			w.after(n.latency(), func() {
				if !n.cut(to, s) {
					reply(who, nil)
				}
			})
		}
	})
	w.after(min(w.clients.deadline/2, 3*time.Second), func() { reply(node.Who{}, errors.New("timeout")) })
}
