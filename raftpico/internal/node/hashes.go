package node

import (
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// hashes find out when the servers' states have come to differ, which nothing else would tell: a machine that is not
// deterministic, two builds that do not do the same, a bit that flipped in memory. At a CheckState, and at a
// TakeSnapshot, every server hashes its state as of that entry, and tells the others. Each compares theirs with its
// own at the same index.
//
// The leader proposes a CheckState now and then, if a command was applied since the last one: so an idle cluster writes
// nothing.
type hashes struct {
	own     []wire.StateHash          // the last ones, ascending by index
	others  map[uint64]wire.StateHash // the last one of each server that our link is up to
	differs map[uint64]uint64         // servers whose state is another, by the index where that was found

	wanted  uint64    // the index of a CheckState whose hash is still to be made, or 0
	job     *StateJob // makes one, or nil
	callers []hashCaller

	proposing bool          // an entry of ours is under way
	dirty     bool          // something was applied since the last CheckState
	checked   time.Duration // when that was applied
	made      time.Duration // when a hash was begun last
}

// hashCaller waits for a hash at an index or later.
type hashCaller struct {
	stateCaller
	index uint64
}

// maxHashes is how many of its own hashes a server keeps: others tell theirs a second or more later.
const maxHashes = 16

// checkPause is how often CheckStates of clients make a server hash its state at most: a machine that is encoded on
// the loop holds it up. A server that comes back applies many at once, and hashes its state not much more often.
const checkPause = time.Second

var crcTable = crc64.MakeTable(crc64.ECMA)

// maxOnLoop is how large a machine, in bytes of its last snapshot, is encoded on the loop for nothing but a hash
// every few minutes. A larger one is hashed at TakeSnapshots, and when asked.
const maxOnLoop = 16 << 20

// encodesBeside tells whether the loop need not wait while the machine's state is hashed.
func (n *Node) encodesBeside() bool {
	_, captures := n.state.machine.(machine.Snapshotter)
	_, hashes := n.state.machine.(machine.Hasher)
	return captures || hashes
}

// sum hashes a state that is written to it. The system machine and the time are added in the end.
type sum struct {
	index uint64
	kind  string // hashes of another kind can't be compared
	crc   uint64
	rest  []byte
}

func (n *Node) newSum(kind string) *sum {
	return &sum{index: n.state.applied.Index, kind: kind, rest: strconv.AppendInt(n.state.system.alike(), n.state.time, 10)}
}

func (s *sum) Write(p []byte) (int, error) {
	s.crc = crc64.Update(s.crc, crcTable, p)
	return len(p), nil
}

func (s *sum) hash() wire.StateHash {
	return wire.StateHash{Index: s.index, Hash: fmt.Sprintf("%s:%016x", s.kind, crc64.Update(s.crc, crcTable, s.rest))}
}

// The kinds of hashes: of the snapshot, and of what machine.Hasher says.
const (
	ofSnapshot = "snapshot"
	ofHasher   = "machine"
)

// hasherSum is the hash of a machine that keeps one; ok is false for others.
func (n *Node) hasherSum() (h wire.StateHash, ok bool, err error) {
	m, ok := n.state.machine.(machine.Hasher)
	if !ok {
		return wire.StateHash{}, false, nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = panicked("in Hash", p)
		}
	}()
	s := n.newSum(ofHasher)
	_, _ = s.Write(binary.BigEndian.AppendUint64(nil, m.Hash()))
	return s.hash(), true, nil
}

// checkState applies a CheckState.
func (n *Node) checkState(index uint64, caller Caller, deadline time.Duration) {
	h := &n.hashes
	h.dirty, h.checked, h.wanted = false, n.clock.elapsed, index
	switch c := caller.(type) {
	case *errand:
		n.answer(c, nil, nil)
	case *adminOp: // what waits behind it need not wait for the hash
		n.admin.inflight = nil
		h.callers = append(h.callers, hashCaller{stateCaller{c.caller, deadline}, index})
	}
	n.hashState()
}

// hashState makes the hash that is wanted, as long as the state is the one that it is wanted of.
func (n *Node) hashState() {
	h := &n.hashes
	if h.wanted == 0 {
		return
	}
	index := h.wanted
	if index != n.state.applied.Index || n.removed {
		h.wanted = 0
		n.answerHashes(index, nil, n.failure(ErrBusy, "the state was being written meanwhile"))
		return
	}
	hash, kept, err := n.hasherSum()
	early := h.made > 0 && n.clock.elapsed < h.made+checkPause/2 // several servers may have been asked in the same second
	if !kept && (n.captured || early) {
		return // perhaps nothing is applied until a snapshot or another hash is made, or it is time
	}
	h.wanted, h.made = 0, max(n.clock.elapsed, 1)
	if kept {
		n.hashed(index, hash, err)
		return
	}
	encode, err := capture(n.state.machine)
	if err != nil {
		n.hashed(index, hash, err)
		return
	}
	h.job, n.captured = &StateJob{encode: encode, sum: n.newSum(ofSnapshot)}, true
	n.env.Encode(h.job)
}

// hashed takes the hash of a CheckState, or why there is none.
func (n *Node) hashed(index uint64, hash wire.StateHash, err error) {
	if err != nil {
		n.log.Error("no state hash", append(Facts(err), "index", index)...)
		n.answerHashes(index, nil, jsonrpc.ErrInternal.Because("no state hash: "+err.Error()))
		return
	}
	n.noteHash(hash)
	n.answerHashes(index, encodeHash(hash), nil)
}

// answerHashes answers those who wait for the hash at an index.
func (n *Node) answerHashes(index uint64, hash json.RawMessage, lack *jsonrpc.Error) {
	n.hashes.callers = slices.DeleteFunc(n.hashes.callers, func(c hashCaller) bool {
		if c.index <= index {
			n.answer(c.caller, hash, lack)
		}
		return c.index <= index
	})
}

func encodeHash(h wire.StateHash) json.RawMessage {
	b, err := wire.Marshal(h)
	if err != nil {
		panic(fmt.Sprintf("node: encode a hash: %v", err)) // a number and letters: it can't fail
	}
	return b
}

// noteHash keeps a hash of our own, and compares it with those of others that came before.
func (n *Node) noteHash(hash wire.StateHash) {
	h := &n.hashes
	if len(h.own) > 0 && h.own[len(h.own)-1].Index >= hash.Index {
		return // a snapshot that was begun earlier
	}
	if h.own = append(h.own, hash); len(h.own) > maxHashes {
		h.own = slices.Delete(h.own, 0, 1)
	}
	n.log.Info("state hash", "index", hash.Index, "hash", hash.Hash)
	for _, id := range n.state.system.ids() {
		n.compareHash(id)
	}
}

// StateHash is the last hash of this server's state, with an index of 0 if there is none.
func (n *Node) StateHash() (h wire.StateHash) {
	if own := n.hashes.own; len(own) > 0 {
		return own[len(own)-1]
	}
	return h
}

// PeerHash tells the last hash of another server's state.
func (n *Node) PeerHash(id uint64, hash wire.StateHash) {
	if n.hashes.others[id] == hash || len(hash.Hash) > 64 {
		return
	}
	n.hashes.others[id] = hash
	n.compareHash(id)
}

// compareHash compares another server's last hash with ours, if there is one at its index.
func (n *Node) compareHash(id uint64) {
	h := &n.hashes
	its, told := h.others[id]
	i := slices.IndexFunc(h.own, func(own wire.StateHash) bool { return own.Index == its.Index })
	if !told || i < 0 {
		return
	}
	ours, m := h.own[i], n.state.system.Members[id]
	kind, _, _ := strings.Cut(ours.Hash, ":")
	_, known := h.differs[id]
	switch {
	case ours == its && known:
		delete(h.differs, id)
		n.log.Info("the state is that of another server again", "server", id, "addr", m.Addr, "index", its.Index)
	case ours != its && !known && strings.HasPrefix(its.Hash, kind+":"):
		h.differs[id] = its.Index
		n.log.Error("the state differs from another server's: the machine is not deterministic, or the builds are not alike",
			"server", id, "addr", m.Addr, "index", its.Index, "its", its.Hash, "own", ours.Hash)
	}
}

// proposeCheck proposes a CheckState, if it is time for one.
func (n *Node) proposeCheck() {
	h := &n.hashes
	if n.cfg.CheckState <= 0 || !h.dirty || h.proposing || n.clock.elapsed < h.checked+n.cfg.CheckState {
		return
	}
	if n.stopping || n.removed || !n.leading() || len(n.state.system.Members) == 1 {
		return
	}
	if n.compaction.size > maxOnLoop && !n.encodesBeside() {
		return
	}
	n.runErrand(&h.proposing, wire.System{CheckState: &wire.CheckState{}})
}

// checkedJustNow tells whether a client's CheckState comes too early. NB: The last hash would be no answer, also
// where nothing was applied since: others may have applied something.
func (n *Node) checkedJustNow() bool {
	return n.hashes.checked > 0 && n.clock.elapsed < n.hashes.checked+checkPause
}

// expireHashes answers those whose deadline has passed.
func (n *Node) expireHashes() {
	n.hashes.callers = slices.DeleteFunc(n.hashes.callers, func(c hashCaller) bool {
		if !n.expired(c.deadline) {
			return false
		}
		n.answer(c.caller, nil, n.failure(ErrUnknown, "the state is not hashed yet"))
		return true
	})
}
