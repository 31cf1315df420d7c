package node

// Commands wait where they came in, so that only so many are on their way: clients within their limits are slowed down, and not
// refused (110).

// ahead is how many bytes of commands may be logged, or handed to the leader, and not yet applied. The rest waits: more would get
// no further, for the followers may have Config.Inflight bytes under way, and snapshots would have to write it.
func (n *Node) ahead() uint64 { return 2 * n.cfg.Inflight }

// handed is how many bytes of commands the leader of a term has got from this server that are not applied, as far as they got
// there.
func (n *Node) handed(lead, term uint64) (bytes uint64) {
	if n.commands.bytes < n.ahead() {
		return 0 // not so many, mostly
	}
	for _, b := range n.commands.sent {
		if b.to == lead && b.tag == term && !b.astray {
			bytes += b.bytes
		}
	}
	return bytes
}
