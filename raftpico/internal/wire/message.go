package wire

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/goccy/go-json"
	"go.etcd.io/raft/v3/raftpb"
)

// Message is what one member sends another over an authenticated link, one JSON object each. From and To are node
// ids; exactly one of Raft, Propose and Rejected is set:
//
//	{"type":"MsgApp","from":1,"to":5,"term":2,"log_term":2,"index":8,"commit":8,"entries":[…]}
//	{"type":"MsgHeartbeat","from":1,"to":5,"term":2,"commit":8,"lease":71250000000}
//	{"type":"MsgSnap","from":1,"to":5,"term":2,"snapshot":{…}}
//	{"type":"Propose","from":5,"to":1,"term":2,"boot":"k3x9","seq":1017,"commands":[…]}
//	{"type":"Rejected","from":1,"to":5,"term":2,"boot":"k3x9","seq":1017,"code":106,"reason":"…"}
//
// Members that are zero are left out. A Raft message keeps the library's names and meanings; contexts are in hex.
type Message struct {
	From, To uint64
	Raft     *raftpb.Message
	Snapshot *Snapshot // with a MsgSnap: the state, which the library does not carry
	Lease    uint64    // of a Raft message: when a leader sent it, by a clock of its own, or the echo of that; 0: neither
	Propose  *Propose
	Rejected *Rejected

	// Batches holds what the entries of a MsgApp carry, decoded: Batches[i] belongs to Raft.Entries[i] and is nil
	// where that is no batch. Only DecodeMessage sets it; decoding is left to the reader, away from the event loop.
	Batches []*Batch
}

// Propose asks the leader of Term to log commands. The tag makes the fate of the commands decidable: logged they
// have the term Term, or they never will be (DESIGN, fate of a command).
type Propose struct {
	Term     uint64
	Boot     string
	Seq      uint64
	Encoded  json.RawMessage // the JSON array of the commands
	Commands []Command       // the same decoded; only DecodeMessage sets it
}

// Rejected answers a Propose that was not logged.
type Rejected struct {
	Term   uint64
	Boot   string
	Seq    uint64
	Code   int
	Reason string
}

// The Raft messages that travel. The library's other types are local to a server.
var messageTypes = map[string]raftpb.MessageType{
	"MsgApp": raftpb.MsgApp, "MsgAppResp": raftpb.MsgAppResp,
	"MsgVote": raftpb.MsgVote, "MsgVoteResp": raftpb.MsgVoteResp,
	"MsgPreVote": raftpb.MsgPreVote, "MsgPreVoteResp": raftpb.MsgPreVoteResp,
	"MsgSnap": raftpb.MsgSnap, "MsgTimeoutNow": raftpb.MsgTimeoutNow,
	"MsgHeartbeat": raftpb.MsgHeartbeat, "MsgHeartbeatResp": raftpb.MsgHeartbeatResp,
	"MsgReadIndex": raftpb.MsgReadIndex, "MsgReadIndexResp": raftpb.MsgReadIndexResp,
}

// AppendMessage appends m as a JSON object, without a newline.
func AppendMessage(dst []byte, m *Message) ([]byte, error) {
	dst = append(dst, `{"type":"`...)
	number := func(name string, v uint64) {
		if v != 0 {
			dst = append(dst, `,"`...)
			dst = append(dst, name...)
			dst = append(dst, `":`...)
			dst = strconv.AppendUint(dst, v, 10)
		}
	}
	head := func(typ string, term uint64) {
		dst = append(dst, typ...)
		dst = append(dst, '"')
		number("from", m.From)
		number("to", m.To)
		number("term", term)
	}
	attempt := func(boot string, seq uint64) {
		dst = append(dst, `,"boot":"`...)
		dst = append(dst, boot...)
		dst = append(dst, '"')
		number("seq", seq)
	}
	switch {
	case m.Propose != nil:
		head("Propose", m.Propose.Term)
		attempt(m.Propose.Boot, m.Propose.Seq)
		dst = append(dst, `,"commands":`...)
		dst = append(dst, m.Propose.Encoded...)
	case m.Rejected != nil:
		head("Rejected", m.Rejected.Term)
		attempt(m.Rejected.Boot, m.Rejected.Seq)
		number("code", uint64(m.Rejected.Code))
		reason, err := Marshal(m.Rejected.Reason)
		if err != nil {
			return nil, fmt.Errorf("wire: encode rejection: %w", err)
		}
		dst = append(dst, `,"reason":`...)
		dst = append(dst, reason...)
	default:
		r := m.Raft
		head(r.GetType().String(), r.GetTerm())
		number("log_term", r.GetLogTerm())
		number("index", r.GetIndex())
		number("commit", r.GetCommit())
		number("reject_hint", r.GetRejectHint())
		if r.GetReject() {
			dst = append(dst, `,"reject":true`...)
		}
		number("lease", m.Lease)
		context := r.GetContext()
		if isRead(r.GetType()) && len(r.GetEntries()) == 1 {
			context = r.GetEntries()[0].GetData()
		}
		if len(context) > 0 {
			dst = append(dst, `,"context":"`...)
			dst = hex.AppendEncode(dst, context)
			dst = append(dst, '"')
		}
		if r.GetType() == raftpb.MsgApp && len(r.GetEntries()) > 0 {
			dst = append(dst, `,"entries":`...)
			var err error
			if dst, err = appendEntries(appendAll, dst, EntryID{Term: r.GetLogTerm(), Index: r.GetIndex()}, r.GetEntries()); err != nil {
				return nil, err
			}
		}
		if m.Snapshot != nil {
			dst = append(dst, `,"snapshot":`...)
			dst = AppendSnapshot(dst, m.Snapshot)
		}
	}
	return append(dst, '}'), nil
}

// DecodeMessage is the inverse of AppendMessage. Data is valid JSON in UTF-8, as package jsonrpc hands it out. The form is
// checked; whether the sender may say it is for the receiver to judge. A proposal of 32 KiB or more, and
// an entry of so many that is half of data, may alias data, which must not change afterwards. Of any other entry, Data and the
// inputs of its commands share memory of their own.
func DecodeMessage(data []byte) (*Message, error) { return DecodeMessageIn(data, len(data)) }

// DecodeMessageIn is DecodeMessage of data that is a part of so many bytes, which stay in memory with it: an entry that aliases
// data is half of these.
func DecodeMessageIn(data []byte, memory int) (*Message, error) {
	if m, ok := decodeShortMessage(data, memory); ok {
		return m, nil
	}
	return decodeAnyMessage(data)
}

func decodeAnyMessage(data []byte) (*Message, error) {
	var raw struct {
		Type       string            `json:"type"`
		From       uint64            `json:"from"`
		To         uint64            `json:"to"`
		Term       uint64            `json:"term"`
		LogTerm    uint64            `json:"log_term"`
		Index      uint64            `json:"index"`
		Commit     uint64            `json:"commit"`
		RejectHint uint64            `json:"reject_hint"`
		Reject     bool              `json:"reject"`
		Lease      uint64            `json:"lease"`
		Context    string            `json:"context"`
		Entries    []json.RawMessage `json:"entries"`
		Snapshot   *Snapshot         `json:"snapshot"`
		Boot       string            `json:"boot"`
		Seq        uint64            `json:"seq"`
		Commands   json.RawMessage   `json:"commands"`
		Code       int               `json:"code"`
		Reason     string            `json:"reason"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("wire: decode message: %w", err)
	}
	m := &Message{From: raw.From, To: raw.To}
	switch raw.Type {
	case "Propose":
		commands, err := decodeCommands(raw.Commands)
		if err != nil {
			return nil, fmt.Errorf("wire: decode proposal: %v", err) // NB: not %w: who proposes does not lead
		}
		if err := checkCommands(commands); err != nil {
			return nil, err
		}
		if !ValidToken(raw.Boot) {
			return nil, fmt.Errorf("wire: a proposal from nobody")
		}
		m.Propose = &Propose{Term: raw.Term, Boot: raw.Boot, Seq: raw.Seq, Encoded: raw.Commands, Commands: commands}
		return m, nil
	case "Rejected":
		if !ValidToken(raw.Boot) || raw.Code < 0 {
			return nil, fmt.Errorf("wire: a malformed rejection")
		}
		m.Rejected = &Rejected{Term: raw.Term, Boot: raw.Boot, Seq: raw.Seq, Code: raw.Code, Reason: raw.Reason}
		return m, nil
	}
	typ, ok := messageTypes[raw.Type]
	if !ok {
		return nil, fmt.Errorf("wire: message of unknown type %.32q", raw.Type)
	}
	context, err := hex.DecodeString(raw.Context)
	if err != nil {
		return nil, fmt.Errorf("wire: decode context: %w", err)
	}
	r := &raftpb.Message{Type: typ.Enum(), From: new(raw.From), To: new(raw.To), Term: new(raw.Term),
		LogTerm: new(raw.LogTerm), Index: new(raw.Index), Commit: new(raw.Commit), RejectHint: new(raw.RejectHint), Reject: new(raw.Reject)}
	m.Raft, m.Lease = r, raw.Lease
	if isRead(typ) {
		r.Entries = []*raftpb.Entry{{Data: context}}
	} else if len(context) > 0 {
		r.Context = context
	}
	if typ == raftpb.MsgApp {
		if r.Entries, err = decodeEntries(EntryID{Term: raw.LogTerm, Index: raw.Index}, raw.Entries); err != nil {
			return nil, err
		}
		m.Batches = make([]*Batch, len(r.Entries))
		for i, e := range r.Entries {
			if e.GetType() == raftpb.EntryNormal && len(e.GetData()) > 0 {
				if m.Batches[i], err = DecodeBatch(e.GetData()); err != nil {
					return nil, err
				}
			}
		}
	}
	if typ == raftpb.MsgSnap {
		if raw.Snapshot == nil || raw.Snapshot.Machines.System == nil {
			return nil, fmt.Errorf("wire: MsgSnap without a snapshot")
		}
		m.Snapshot = raw.Snapshot
		r.Snapshot = raw.Snapshot.Metadata()
	}
	return m, nil
}

func isRead(t raftpb.MessageType) bool {
	return t == raftpb.MsgReadIndex || t == raftpb.MsgReadIndexResp
}
