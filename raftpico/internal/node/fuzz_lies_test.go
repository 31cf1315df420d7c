package node_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// FuzzLiesBreakNothing holds the same for messages that are made up around what the server has, from a few bytes each.
func FuzzLiesBreakNothing(f *testing.F) {
	var all []byte
	for kind := range lieTypes {
		lie := []byte{byte(kind), 1, 3, 3, 3, 3, 1, 0}
		all = slices.Concat(all, lie, []byte{255, 0, 0, 0, 0, 0, 0, 0}, []byte{byte(kind), 0, 4, 3, 4, 4, 7, 2})
		f.Add(uint8(1), lie)
	}
	for role := range roles {
		f.Add(uint8(role), all)
	}
	f.Fuzz(func(t *testing.T, role uint8, script []byte) {
		lies := slices.Collect(slices.Chunk(script[:min(len(script)&^7, 1<<10)], 8))
		s := inRole(t, int(role)%len(roles))
		s.withstands(len(lies), func(i int) (m *wire.Message, turn bool) {
			if lies[i][0] == 255 {
				return nil, true
			}
			return decoded(s.lie([8]byte(lies[i])), s.id()), false
		})
	})
}

// What lies are made of.
var (
	lieTypes = []string{"MsgApp", "MsgAppResp", "MsgVote", "MsgVoteResp", "MsgPreVote", "MsgPreVoteResp", "MsgSnap", "MsgTimeoutNow", "MsgHeartbeat", "MsgHeartbeatResp", "MsgReadIndex",
		"MsgReadIndexResp", "Propose", "Rejected"}
	lieSenders  = []uint64{1, 3, 5, 9, 900}
	lieContexts = []string{"", "0100000000000000", "0900000000000000", "ce916eeee9b1d7010000000000000001", "43616d706169676e5472616e73666572", "00"}
	lieEntries  = []string{``, `{"Empty":$logterm}`, `{"StartTerm":$term}`, `{"ConfChange":{"AddLearner":8}}`, `{"ConfChange":{"AddVoter":9}}`, `{"ConfChange":{"Remove":3}}`,
		`{"from":3,"boot":"bootb1","seq":0,"time":9,"commands":[{"Apply":"waiting"}]},{"Empty":$logterm}`, `{"from":1,"boot":"x","seq":1,"time":-9,"commands":[{"AddServer":{"addr":"x:1","instance":"x"}}]}`,
		`{"from":1,"boot":"x","seq":1,"time":9,"commands":[{"RemoveServer":{"addr":"b:1"}}]}`, `{"from":1,"boot":"x","seq":1,"time":9,"commands":[{"TakeSnapshot":{}}]}`, `{"StartTerm":$term},{"Empty":$term}`}
	lieServers = []string{`[1,3,5]`, `[]`, `[9]`, `[1]`, `[3,5]`, `[1,3,5,9]`, `[3,3]`, `[700]`}
)

// lie makes a message: its type, sender, term, place, commit, content and flags. Numbers are those of the server and a
// little less or more.
func (s *server) lie(b [8]byte) []byte {
	st := s.node.State()
	near := func(x uint64, by byte) uint64 { return max(x+uint64(by%8), 3) - 3 }
	pick := func(list []string, by byte) string { return list[int(by)%len(list)] }
	term, logTerm, index := near(st.Term, b[2]), near(st.Term, b[3]), near(st.LastIndex, b[4])
	entries := strings.NewReplacer("$logterm", fmt.Sprint(logTerm), "$term", fmt.Sprint(term)).Replace(pick(lieEntries, b[6]))
	return fmt.Appendf(nil, `{"type":%q,"from":%d,"term":%d,"log_term":%d,"index":%d,"commit":%d,"reject_hint":%d,"reject":%t,"context":%q,"entries":[%s],`+
		`"boot":"bootb1","seq":%d,"code":106,"commands":[{"Apply":"lie"}],"snapshot":{"last_included":{"term":%d,"index":%d},"voters":%s,"learners":%s,"time":%d,`+
		`"machines":{"system":{"min_election_timeout_ms":300,"max_election_timeout_ms":2000,"members":{"1":{"addr":"a:1","instance":"instancea"},"3":{"addr":"b:1","instance":"instanceb"}}}}}}`,
		pick(lieTypes, b[0]), lieSenders[int(b[1])%len(lieSenders)], term, logTerm, index, near(st.CommitIndex, b[5]), near(st.CommitIndex, b[6]), b[7]&1 > 0, pick(lieContexts, b[7]/2), entries,
		b[5]%4, logTerm, index, pick(lieServers, b[5]), pick(lieServers, b[6]), int(b[7])-9)
}
