package wire

import (
	"fmt"
	"strconv"

	"github.com/goccy/go-json"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// The single steps in which a Raft configuration changes (Raft thesis §4.1).
const (
	AddLearner = raftpb.ConfChangeAddLearnerNode
	AddVoter   = raftpb.ConfChangeAddNode
	RemoveNode = raftpb.ConfChangeRemoveNode
)

var confChangeNames = map[raftpb.ConfChangeType]string{AddLearner: "AddLearner", AddVoter: "AddVoter", RemoveNode: "Remove"}

// ConfChange is the raftpb form of one step.
func ConfChange(step raftpb.ConfChangeType, id uint64) *raftpb.ConfChangeV2 {
	return &raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{{Type: step.Enum(), NodeId: new(id)}}}
}

func appendConfChange(dst []byte, e *raftpb.Entry) ([]byte, error) {
	cc := new(raftpb.ConfChangeV2)
	if err := proto.Unmarshal(e.GetData(), cc); err != nil || e.GetType() != raftpb.EntryConfChangeV2 || len(cc.GetChanges()) != 1 {
		return nil, fmt.Errorf("wire: entry %d is no configuration change of one step (%v)", e.GetIndex(), err)
	}
	name, ok := confChangeNames[cc.GetChanges()[0].GetType()]
	if !ok {
		return nil, fmt.Errorf("wire: entry %d is no known configuration change", e.GetIndex())
	}
	dst = append(dst, `{"ConfChange":{"`...)
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	dst = strconv.AppendUint(dst, cc.GetChanges()[0].GetNodeId(), 10)
	return append(dst, `}}`...), nil
}

func decodeConfChange(b []byte) ([]byte, error) {
	var raw struct{ ConfChange map[string]uint64 }
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, fmt.Errorf("wire: decode configuration change: %w", err)
	}
	for step, name := range confChangeNames {
		if id := raw.ConfChange[name]; id != 0 && len(raw.ConfChange) == 1 {
			return proto.Marshal(ConfChange(step, id))
		}
	}
	return nil, &UnknownError{What: fmt.Sprintf("%.64q", b), In: "a configuration change"}
}
