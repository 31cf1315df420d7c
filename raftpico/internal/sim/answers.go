package sim

import (
	"slices"
	"strings"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// result checks the answer to a command or a query.
func (c *checks) result(r *request) {
	s, w := r.server, r.server.w
	if r.request.Kind == machine.LocalQuery {
		if r.version < s.answered {
			w.fail("%s sees version %d, and %d was answered before", r, r.version, s.answered)
		}
	}
	if r.watch != "" {
		c.watched(r)
	}
	s.answered = max(s.answered, r.version)
	if r.request.Kind == machine.Query {
		c.fresh(r)
	}
	if r.request.Kind != machine.Command {
		return
	}
	if known, ok := c.outcome(r.id); !ok || known.output != r.output {
		w.fail("%s has the result %q, applied it was with %v", r, r.output, known)
	}
	if r.tag != 0 {
		c.ledger.claim(r, nil)
	}
	if r.tag != 0 || r.err != nil || c.done[r.id].output == deferred { // it has the version of another time
		return
	}
	for _, other := range s.told { // all clients might share a connection
		if (other.called < r.called) != (other.version < r.version) {
			w.fail("%s was applied as number %d, and %s as number %d", r, r.version, other, other.version)
		}
	}
	s.told = append(s.told, r)
}

// fresh checks that a Query sees all that was applied anywhere when it was called. That is more than linearizability asks for,
// which knows of no entries without commands; and it is seen at once, also if nobody has written to the key.
func (c *checks) fresh(r *request) {
	if at := r.server.node.Applied().Index; at < r.least {
		r.server.w.fail("Illegal: %s is answered %q by the state at %d, and %d was applied before it was called", r, r.output, at, r.least)
	}
}

// outcome is what has become of a command: its output, or the one that it was given later.
func (c *checks) outcome(id int) (done, bool) {
	if g, ok := c.grants[id]; ok {
		return g, true
	}
	known, ok := c.done[id]
	return known, ok
}

// granted is called when the machine has answered a ticket.
func (c *checks) granted(s *server, id int, at spot, output string, size int) {
	known, again := c.grants[id]
	if again && (known.spot != at || known.output != output) {
		s.w.fail("%s answers request %d with %s at %v, and it was answered with %v", s, id, output, at, known)
	}
	c.grants[id] = done{spot: at, output: output}
	if at.index > uint64(len(c.committed)) && !again {
		c.ledger.answers[at.index] = append(c.ledger.answers[at.index], reply{at.offset, id, size})
	}
	s.w.result.Seen["ticket answered"]++
}

// must tells whether a server that has applied an index must have answered a request.
func (c *checks) must(r *request, index uint64) bool {
	known, ok := c.done[r.id]
	if r.tag != 0 {
		v, applied := c.ledger.attempts[r.tag]
		if !applied || v.index > index || v.code != 0 {
			return applied && v.index <= index
		}
	}
	if !ok || known.index > index {
		return false
	}
	if known.output != deferred {
		return true
	}
	g, ok := c.grants[r.id]
	return ok && g.index <= index
}

// conversed checks the answer to what is asked about a session.
func (c *checks) conversed(r *request, result json.RawMessage) {
	if r.err != nil && !slices.Contains([]int{102, 106, 107, 108, 110}, r.err.Code) && (r.err.Code != errSessionEnded || r.request.Op == node.OpenSession) {
		r.server.w.fail("%s was answered %v", r, r.err)
	}
	if r.err == nil || r.err.Code == errSessionEnded {
		c.ledger.claim(r, result)
	}
}

// refusal checks the error of a command or a query.
func (c *checks) refusal(r *request) {
	w, code := r.server.w, r.err.Code
	bad := strings.HasSuffix(string(r.request.Input), ` bad"`) || w.upgrades.rng != nil && isCas(r.request.Input)
	switch {
	case code == 107 && r.request.Kind == machine.Command:
		return
	case code == errSessionEnded && r.tag != 0:
		c.ledger.claim(r, nil)
		return
	case code == 103 && bad, code == 102, code == 106, code == 108, code == 110:
	default:
		w.fail("%s was answered %v", r, r.err)
	}
	if r.tag != 0 {
		if known, ok := c.ledger.attempts[r.tag]; ok && known.code != code {
			w.fail("%s was answered %v, and was applied: %+v", r, r.err, known)
		}
		c.ledger.never[r.tag] = code
		return
	}
	if known, ok := c.done[r.id]; ok {
		w.fail("%s was answered %v, and was applied at %v", r, r.err, known.spot)
	}
	c.never[r.id] = code
}

// described checks the answer to a GetServerState.
func (c *checks) described(r *request, result json.RawMessage) {
	s := r.server
	if r.err != nil && r.err.Code == 106 && (s.disk.broken || s.outdated) {
		return // it has failed, in this very turn
	}
	var told node.ServerState
	if err := json.Unmarshal(result, &told); err != nil || r.err != nil || told.AppliedIndex > s.node.State().AppliedIndex {
		s.w.fail("%s was answered %s %v", r, result, r.err)
	}
	s.disk.described(s, &told)
	if told.Machines == nil {
		if r.request.Machines && told.Lack == "" {
			s.w.fail("%s was answered %s, without a machine", r, result)
		}
		return
	}
	if _, err := s.m.decode(told.Machines.User); err != nil {
		s.w.fail("%s was answered %s: %v", r, result, err)
	}
}

// mayFail tells whether the disk is why a request was answered that something failed.
func mayFail(r *request) bool {
	return r.err.Code == jsonrpc.ErrInternal.Code && r.server.disk.broken && (isSnapshot(r) || r.request.Op == node.CreateCluster)
}

// changed checks the answer to a request of the operator.
func (c *checks) changed(r *request, result json.RawMessage) {
	if r.request.Op == node.GetServerState {
		c.described(r, result)
		return
	}
	if r.err != nil {
		if isSnapshot(r) && r.err.Code == 107 {
			r.server.overdue = r.server.run
		}
		if r.request.Op == node.TransferLeader && r.err.Code == jsonrpc.ErrInvalidParams.Code {
			return // no such voter
		}
		if !slices.Contains([]int{100, 101, 102, 106, 107, 108, 109, 110, 112}, r.err.Code) && !mayFail(r) {
			r.server.w.fail("%s was answered %v", r, r.err)
		}
		return
	}
	if isSnapshot(r) {
		c.snapshotTaken(r, result)
		return
	}
	if r.request.Op == node.TransferLeader {
		if r.request.Addr != "" && r.server.w.moves.rng != nil {
			return // another server may have been there when it was asked
		}
		id := r.request.NodeID
		for _, m := range r.server.node.State().Members {
			if m.Addr == r.request.Addr {
				id = m.ID
			}
		}
		if self := id == r.server.disk.identity.NodeID; !self && c.led[id] <= r.term || self && c.led[id] != r.term {
			r.server.w.fail("%s was answered %s, and server %d led term %d last; it was asked in term %d", r, result, id, c.led[id], r.term)
		}
		return
	}
	if s := r.server.w.net.byAddr(r.request.Addr); r.request.Op == node.AddServer && s != nil && s.since < r.at && s.disk.identity.ClusterID != "" && s.cluster() != c && s.joined < r.at {
		r.server.w.fail("%s was answered %s, and %s is of another cluster since %v", r, result, s, s.joined)
	}
	if r.request.Op == node.SetVoter {
		c.set(r)
	}
	listed := strings.Contains(string(result), `"`+r.request.Addr+`"`)
	if op := r.request.Op; op == node.AddServer && !listed || op == node.RemoveServer && listed {
		r.server.w.fail("%s was answered %s", r, result)
	}
	if id := c.newest(r.request.Addr); r.request.Op == node.RemoveServer && id != 0 {
		c.spared(r.server, id, wire.RemoveNode)
		c.spare[id] = true
		r.server.w.faults.discard(c, id, "removed server deleted")
	}
}

// isSnapshot tells whether a request asks for a snapshot.
func isSnapshot(r *request) bool {
	return r.request.Op == node.TakeSnapshot || r.request.Op == node.Backup
}

// snapshotTaken checks what was answered: the snapshot is in the file. One for a backup has all that was acknowledged
// before it was asked for.
func (c *checks) snapshotTaken(r *request, result json.RawMessage) {
	w := r.server.w
	var taken struct {
		Index uint64 `json:"snapshot_index"`
	}
	if err := json.Unmarshal(result, &taken); err != nil || taken.Index == 0 || taken.Index > r.server.disk.snapshot {
		w.fail("%s was answered %s, and the snapshot in the file is at %d", r, result, r.server.disk.snapshot)
	}
	if r.request.Op != node.Backup {
		return
	}
	w.result.Seen["backup"]++
	if r.request.Stale || r.server.overdue == r.server.run { // it may have joined one that was under way
		return
	}
	for _, h := range c.history {
		if h.request.Kind == machine.Command && h.answered && h.err == nil && h.returned < r.called && c.done[h.id].index > taken.Index {
			w.fail("%s was answered %s, without %s at %d, which was acknowledged before", r, result, h, c.done[h.id].index)
		}
	}
}
