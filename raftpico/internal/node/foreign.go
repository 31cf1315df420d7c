package node

import "github.com/raftpico/go/raftpico/internal/wire"

// Proposals from other servers wait in commands.foreign until this server, the leader, takes them or refuses them.

func (n *Node) rejectForeign(reason string) {
	for len(n.commands.foreign) > 0 {
		taken := n.takeForeign()
		for _, m := range taken {
			n.reject(m, ErrRejected.Code, reason)
		}
		clear(taken)
	}
}

func (n *Node) clearForeign() {
	for len(n.commands.foreign) > 0 {
		clear(n.takeForeign())
	}
}

// takeForeign takes proposals of other servers, in order: as much as a turn may, or one. They are the caller's to
// clear, before more come.
func (n *Node) takeForeign() (taken []*wire.Message) {
	c, size := &n.commands, 0
	for len(taken) < len(c.foreign) && size < maxTurn {
		taken = c.foreign[:len(taken)+1]
		p := taken[len(taken)-1].Propose
		size += len(p.Encoded)
		c.gathered.count -= len(p.Commands)
	}
	c.gathered.bytes -= uint64(size)
	c.asked -= uint64(size)
	n.spent += size
	if c.foreign = c.foreign[len(taken):]; len(c.foreign) == 0 {
		c.foreign = taken[:0]
	}
	return taken
}
