package node_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// What comes over a link is fed to a core in every role there is, as lines of a script. An empty line is a turn of the
// loop, a tick later; what stands between two of them comes in one turn.

// FuzzStrangersMoveNothing: a message of a server that is no member, and one that is not its sender's or not to its receiver,
// leaves everything as it was: state, file, callers, and what is under way to others.
func FuzzStrangersMoveNothing(f *testing.F) {
	for _, line := range saidByMembers {
		for role := range roles {
			f.Add(uint8(role), []byte(line))
		}
	}
	servers := make([]*server, len(roles)) // they serve again and again, since nothing may change
	f.Fuzz(func(t *testing.T, role uint8, script []byte) {
		i := int(role) % len(roles)
		if servers[i] == nil {
			servers[i] = inRole(t, i)
		}
		s := servers[i]
		s.w.t = t
		before := s.standing()
		self, applied := s.id(), s.node.State().AppliedIndex
		for line := range bytes.SplitSeq(script, []byte{'\n'}) {
			for _, id := range []uint64{0, 2, 1 << 62, math.MaxUint64} {
				if m := decoded(line, self); m != nil && (id != 2 || applied >= 2) { // above that it may be a lawful newcomer
					setSender(m, id)
					err := s.mustRefuse(id, m)
					require.True(t, err != nil || applied == 0, "a stranger is not told that it is one")
				}
			}
			for _, member := range []uint64{1, 3, 5, 9} {
				if m := decoded(line, self); m != nil {
					if m.From == member {
						setSender(m, member^8)
					}
					_ = s.mustRefuse(member, m) // dropped
				}
				if m := decoded(line, self^8); m != nil { // meant for another
					setSender(m, member)
					_ = s.mustRefuse(member, m)
				}
			}
			s.flush()
		}
		require.Equal(t, before, s.standing())
	})
}

// mustRefuse gives the server a message that it must not take, and returns what Message says.
func (s *server) mustRefuse(from uint64, m *wire.Message) error {
	if m.Snapshot != nil {
		require.Error(s.w.t, s.node.WantSnapshot(from, m))
		require.Error(s.w.t, s.node.Snapshot(from, m, 1))
	}
	return s.node.Message(from, m)
}

// decoded is a message to a server, or nil if the line holds none.
func decoded(line []byte, to uint64) *wire.Message {
	m, err := wire.DecodeMessage(line)
	if err != nil {
		return nil
	}
	m.To = to
	if m.Raft != nil {
		m.Raft.To = new(to)
	}
	return m
}

func setSender(m *wire.Message, id uint64) {
	m.From = id
	if m.Raft != nil {
		m.Raft.From = new(id)
	}
}

// standing is all that can be seen of a server.
func (s *server) standing() string {
	state, err := json.Marshal(s.node.State())
	require.NoError(s.w.t, err)
	file, err := s.fs.ReadFile("log")
	require.NoError(s.w.t, err)
	return fmt.Sprintf("%s\n%s\n%q %v\n%d under way\n%s", state, file, s.m.Applied, s.peers, len(s.w.flight), s.w.out.String())
}

// FuzzMembersBreakNothing: whatever a member says, true or not, the core does not panic; its term and commit never go
// back, and its vote stays within a term; nothing committed is replaced; every caller is answered once; and the file
// opens again to what was promised. It may stop with an error.
func FuzzMembersBreakNothing(f *testing.F) {
	for few := range slices.Chunk(saidByMembers, 5) {
		for role := range roles {
			f.Add(uint8(role), []byte(strings.Join(few, "\n")))
		}
	}
	later := strings.ReplaceAll(strings.Join(saidByMembers, "\n\n"), `"term":2`, `"term":3`)
	for role := range roles {
		f.Add(uint8(role), []byte(later))
	}
	f.Fuzz(func(t *testing.T, role uint8, script []byte) {
		lines := bytes.Split(script[:min(len(script), 64<<10)], []byte{'\n'})
		s := inRole(t, int(role)%len(roles))
		s.withstands(len(lines), func(i int) (m *wire.Message, turn bool) {
			return decoded(lines[i], s.id()), len(lines[i]) == 0
		})
	})
}

// saidByMembers is one message of each kind at least, some of them lies.
var saidByMembers = []string{
	`{"type":"MsgApp","from":1,"to":3,"term":2,"log_term":2,"index":8,"commit":8,"entries":[{"from":3,"boot":"bootb1","seq":0,"time":1700000000200,"commands":[{"Apply":"waiting"}]}]}`,
	`{"type":"MsgApp","from":1,"to":3,"term":2,"log_term":2,"index":8,"commit":10,"entries":[{"from":1,"boot":"boota1","seq":9,"time":1,"commands":[{"Apply":"x"},{"Apply":"bad"},{"Apply":{"not":"text"}}]},{"Empty":2}]}`,
	`{"type":"MsgApp","from":1,"to":3,"term":2,"log_term":2,"index":8,"commit":10,"entries":[{"from":1,"boot":"boota1","seq":9,"time":1,"commands":[{"AddServer":{"addr":"x:1","instance":"x"}}]}]}`,
	`{"type":"MsgApp","from":1,"to":3,"term":2,"log_term":2,"index":8,"commit":9,"entries":[{"from":1,"boot":"boota1","seq":9,"time":1,"commands":[{"RemoveServer":{"addr":"b:1"}}]}]}`,
	`{"type":"MsgApp","from":1,"to":3,"term":2,"log_term":2,"index":8,"commit":9,"entries":[{"from":1,"boot":"boota1","seq":9,"time":1,"commands":[{"TakeSnapshot":{}}]}]}`,
	`{"type":"MsgApp","from":1,"to":3,"term":2,"log_term":2,"index":8,"commit":9,"entries":[{"ConfChange":{"AddLearner":8}}]}`,
	`{"type":"MsgApp","from":5,"to":3,"term":3,"log_term":2,"index":2,"entries":[{"StartTerm":3}]}`,
	`{"type":"MsgApp","from":5,"to":3,"term":4,"log_term":2,"index":8,"commit":9,"entries":[{"StartTerm":4}]}`,
	`{"type":"MsgAppResp","from":3,"to":1,"term":2,"index":9}`,
	`{"type":"MsgAppResp","from":5,"to":1,"term":2,"log_term":1,"index":8,"reject_hint":2,"reject":true}`,
	`{"type":"MsgAppResp","from":3,"to":1,"term":2,"index":4000}`,
	`{"type":"MsgAppResp","from":5,"to":1,"term":2,"index":4000}`,
	`{"type":"MsgHeartbeatResp","from":3,"to":1,"term":2,"context":"0900000000000000"}`,
	`{"type":"MsgHeartbeatResp","from":3,"to":1,"term":2,"context":"01"}`,
	`{"type":"MsgVote","from":5,"to":3,"term":18446744073709551615,"log_term":18446744073709551615,"index":100}`,
	`{"type":"MsgHeartbeat","from":1,"to":3,"term":2,"commit":8}`,
	`{"type":"MsgHeartbeat","from":1,"to":3,"term":2,"commit":8,"context":"0100000000000000"}`,
	`{"type":"MsgHeartbeatResp","from":3,"to":1,"term":2,"context":"0100000000000000"}`,
	`{"type":"MsgReadIndex","from":3,"to":1,"term":2,"context":"ce916eeee9b1d7010000000000000001"}`,
	`{"type":"MsgReadIndexResp","from":1,"to":3,"term":2,"index":9,"context":"ce916eeee9b1d7010000000000000001"}`,
	`{"type":"MsgPreVote","from":5,"to":3,"term":3,"log_term":2,"index":9}`,
	`{"type":"MsgPreVoteResp","from":5,"to":3,"term":3}`,
	`{"type":"MsgVote","from":5,"to":3,"term":3,"log_term":2,"index":9}`,
	`{"type":"MsgVote","from":1,"to":3,"term":3,"log_term":2,"index":9,"context":"43616d706169676e5472616e73666572"}`,
	`{"type":"MsgVoteResp","from":5,"to":3,"term":3}`,
	`{"type":"MsgVoteResp","from":5,"to":3,"term":2,"reject":true}`,
	`{"type":"MsgTimeoutNow","from":1,"to":3,"term":2}`,
	`{"type":"MsgSnap","from":1,"to":3,"term":2,"snapshot":{"last_included":{"term":2,"index":9},"voters":[1,3,5],"learners":[9],"time":1700000000200,"machines":{"system":{"min_election_timeout_ms":300,"max_election_timeout_ms":2000,"members":{"1":{"addr":"a:1","instance":"instancea"},"3":{"addr":"b:1","instance":"instanceb"}},"leaving":{"5":{"addr":"c:1","instance":"instancec"}},"removed":["instancec"]}}}}`,
	`{"type":"Propose","from":3,"to":1,"term":2,"boot":"bootb1","seq":4,"commands":[{"Apply":"theirs"},{"Apply":"bad"}]}`,
	`{"type":"Propose","from":3,"to":1,"term":2,"boot":"bootb1","seq":9,"commands":[{"RemoveServer":{"addr":"a:1"}}]}`,
	`{"type":"Rejected","from":1,"to":3,"term":2,"boot":"bootb1","seq":0,"code":106,"reason":"no"}`,
}
