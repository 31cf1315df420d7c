package wire

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/goccy/go-json"
	"go.etcd.io/raft/v3/raftpb"
)

// Batch is the payload of an ordinary entry: commands that one server proposed in one turn. (From, Boot, Seq) tells
// that server which of its callers wait for them: the command at offset i has the sequence number Seq+i.
type Batch struct {
	From     uint64    `json:"from"`
	Boot     string    `json:"boot"` // random per start of the server
	Seq      uint64    `json:"seq"`
	Time     int64     `json:"time"` // the leader's clock, Unix milliseconds
	Commands []Command `json:"commands"`

	inputs []int // where Encode has put those of the commands
}

// Command is one replicated command: an input of the user's machine, perhaps of a session, or one of the framework's own.
type Command struct {
	Apply   json.RawMessage
	Session *SessionSeq // of Apply; nil: it belongs to none
	System  *System
}

// System is a command of the framework's own; exactly one member is set. On disk and between servers these are members
// of the command itself.
type System struct {
	AddServer    *AddServer    `json:",omitempty"`
	RemoveServer *RemoveServer `json:",omitempty"`
	TakeSnapshot *TakeSnapshot `json:",omitempty"`
	SetVersion   *SetVersion   `json:",omitempty"`
	SetVoter     *SetVoter     `json:",omitempty"`
	CheckState   *CheckState   `json:",omitempty"`
	Timer        *Timer        `json:",omitempty"`
	OpenSession  *OpenSession  `json:",omitempty"`
	KeepSession  *KeepSession  `json:",omitempty"`
	CloseSession *SessionID    `json:",omitempty"`
	Abandon      *Abandon      `json:",omitempty"`
	MoveServer   *MoveServer   `json:",omitempty"`
	Configure    *Configure    `json:",omitempty"`
}

// SessionSeq is a command's place in its session (Raft thesis §6.3): seq names the command, and the client has the answers
// to all commands up to ack.
type SessionSeq struct {
	ID  uint64 `json:"id"`
	Seq uint64 `json:"seq"`
	Ack uint64 `json:"ack"`
}

// Timer makes every server do what is due. At is the moment that the leader saw come, Unix milliseconds.
type Timer struct {
	At int64 `json:"at"`
}

// OpenSession opens a session; the index of its entry becomes its id. It ends TTL milliseconds after its last use.
type OpenSession struct {
	TTL int64 `json:"ttl"`
}

const maxTTL = 1 << 50

// Abandon tells the machines of deferred commands whose answers reach nobody. They were applied before.
type Abandon struct {
	Tickets []Ticket `json:"tickets"`
}

// Ticket is the place of a command in the log.
type Ticket struct {
	Index  uint64 `json:"index"`
	Offset int    `json:"offset"`
}

// KeepSession uses a session. The client has the answers to all commands up to Ack, or has given them up.
type KeepSession struct {
	ID  uint64 `json:"id"`
	Ack uint64 `json:"ack,omitempty"`
}

// SessionID names a session.
type SessionID struct {
	ID uint64 `json:"id"`
}

// AddServer puts the server instance at an address on the member list; the index of its entry becomes its id.
type AddServer struct {
	Addr     string `json:"addr"`
	Instance string `json:"instance"`
	Version  int    `json:"version,omitempty"`  // of its machine
	Nonvoter bool   `json:"nonvoter,omitempty"` // it learns for good
}

// SetVoter tells whether the member at an address is to vote, or to learn for good.
type SetVoter struct {
	Addr  string `json:"addr"`
	Voter bool   `json:"voter"`
}

// RemoveServer takes the server at an address off the member list. With an ID, which a leader gives that has found a member
// dead, it means the member with that id, wherever it is.
type RemoveServer struct {
	Addr string `json:"addr"`
	ID   uint64 `json:"id,omitempty"`
}

// MoveServer puts a member on the list at another address. Whoever is listed there gets its old one.
type MoveServer struct {
	ID       uint64 `json:"id"`
	Instance string `json:"instance"`
	Addr     string `json:"addr"`
}

// Configure sets what holds for the whole cluster.
type Configure struct {
	LeaseReads bool `json:"lease_reads"` // leaders answer queries under a lease
}

// TakeSnapshot makes every server snapshot its state as of this entry.
type TakeSnapshot struct{}

// CheckState makes every server hash its state as of this entry.
type CheckState struct{}

// StateHash is a hash of all that is replicated, as of an entry: the user's state, the member list, the time. Hash is its
// kind and 64 bits in hex.
type StateHash struct {
	Index uint64 `json:"index"`
	Hash  string `json:"hash"`
}

// SetVersion raises the cluster's version of the machine. It counts only while no other than these are members: theirs are as new.
type SetVersion struct {
	Version int      `json:"version"`
	Members []uint64 `json:"members"`
}

// AppendCommand appends a command. Its members hold compact JSON, or plain data that always encodes.
func AppendCommand(dst []byte, c *Command) []byte {
	if c.Apply != nil {
		dst = append(dst, applyOpen...)
		dst = append(dst, c.Apply...)
		if s := c.Session; s != nil {
			dst = append(dst, sessionOpen...)
			dst = strconv.AppendUint(dst, s.ID, 10)
			dst = append(dst, `,"seq":`...)
			dst = strconv.AppendUint(dst, s.Seq, 10)
			dst = append(dst, `,"ack":`...)
			dst = strconv.AppendUint(dst, s.Ack, 10)
			dst = append(dst, '}')
		}
		return append(dst, '}')
	}
	b, err := Marshal(c.System)
	if err != nil {
		panic(fmt.Sprintf("wire: encode a command: %v", err))
	}
	return append(dst, b...)
}

// AppendBatch appends the Data of an ordinary entry. Commands is the encoded array.
func AppendBatch(dst []byte, from uint64, boot string, seq uint64, time int64, commands []byte) []byte {
	dst = append(dst, `{"from":`...)
	dst = strconv.AppendUint(dst, from, 10)
	dst = append(dst, `,"boot":"`...)
	dst = append(dst, boot...)
	dst = append(dst, `","seq":`...)
	dst = strconv.AppendUint(dst, seq, 10)
	dst = append(dst, `,"time":`...)
	dst = strconv.AppendInt(dst, time, 10)
	dst = append(dst, `,"commands":`...)
	dst = append(dst, commands...)
	return append(dst, '}')
}

// Encode appends the Data of an entry with b. Encoded is the array of the commands, where these are no Apply commands.
func (b *Batch) Encode(dst, encoded []byte) []byte {
	from := len(dst)
	if dst = AppendBatch(dst, b.From, b.Boot, b.Seq, b.Time, encoded); len(encoded) > 0 {
		return dst
	}
	dst = append(dst[:len(dst)-1], '[')
	b.inputs = make([]int, len(b.Commands))
	for i := range b.Commands {
		if i > 0 {
			dst = append(dst, ',')
		}
		b.inputs[i] = len(dst) - from + len(applyOpen)
		dst = AppendCommand(dst, &b.Commands[i])
	}
	return append(dst, ']', '}')
}

// MoveTo makes the inputs of b's commands slices of data, which is what Encode has appended: so they are in memory once, and what
// they came with is free.
func (b *Batch) MoveTo(data []byte) {
	for i, from := range b.inputs {
		to := from + len(b.Commands[i].Apply)
		b.Commands[i].Apply = data[from:to:to]
	}
	b.inputs = nil
}

// DecodeBatch decodes the Data of an ordinary entry. The inputs in it may be slices of data.
func DecodeBatch(data []byte) (*Batch, error) {
	if b, ok := decodeShortBatch(data); ok {
		return b, nil
	}
	return decodeAnyBatch(data)
}

func decodeAnyBatch(data []byte) (*Batch, error) {
	var raw struct {
		Batch
		Commands json.RawMessage `json:"commands"` // goes before the Batch's
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("wire: decode batch: %w", err)
	}
	if err := unmarshalKnown(data, &raw, "an entry"); err != nil {
		return nil, err
	}
	b := &raw.Batch
	var err error
	if b.Commands, err = decodeCommands(raw.Commands); err != nil {
		return nil, fmt.Errorf("wire: decode batch: %w", err)
	}
	if !ValidToken(b.Boot) || b.From == 0 {
		return nil, fmt.Errorf("wire: a batch from nobody")
	}
	if err := checkCommands(b.Commands); err != nil {
		return nil, err
	}
	return b, nil
}

func decodeAnyCommands(data []byte) ([]Command, error) {
	if len(data) == 0 {
		return nil, nil // there is no such member
	}
	var raw []struct {
		Apply   json.RawMessage
		Session *SessionSeq
		System
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, err
	}
	if err := unmarshalKnown(data, &raw, "a command"); err != nil {
		return nil, err
	}
	commands := make([]Command, len(raw))
	for i := range raw {
		r := &raw[i]
		commands[i] = Command{Apply: r.Apply, Session: r.Session}
		if r.System != (System{}) {
			commands[i].System = &r.System
		}
	}
	return commands, nil
}

// checkCommands holds the rule that an entry has either any number of Apply commands or one of the others.
func checkCommands(commands []Command) error {
	for i := range commands {
		if !commands[i].valid() || commands[i].Apply == nil && len(commands) > 1 {
			return fmt.Errorf("wire: command %d of %d is none, or must stand alone", i, len(commands))
		}
	}
	if len(commands) == 0 {
		return fmt.Errorf("wire: a batch without commands")
	}
	return nil
}

func (c *Command) valid() bool {
	if c.Session != nil && (c.Apply == nil || c.Session.ID == 0 || c.Session.Seq == 0 || c.Session.Ack >= c.Session.Seq) {
		return false
	}
	n := 0
	if c.Apply != nil {
		n++
	}
	if s := c.System; s != nil {
		if o := s.OpenSession; o != nil && (o.TTL <= 0 || o.TTL > maxTTL) {
			return false
		}
		if a := s.Abandon; a != nil && (len(a.Tickets) == 0 || slices.ContainsFunc(a.Tickets, func(t Ticket) bool { return t.Offset < 0 })) {
			return false
		}
		if m := s.MoveServer; m != nil && (m.ID == 0 || m.Addr == "") {
			return false
		}
		n += s.kinds()
	}
	return n == 1
}

// ValidToken tells whether s can stand between quotes as it is: boot and instance ids, 1 to 64 letters and digits.
func ValidToken(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 64
}

// appendEntries appends the JSON array of a run of entries that follows prev; put appends each one's data.
func appendEntries(put func(dst, data []byte) []byte, dst []byte, prev EntryID, entries []*raftpb.Entry) ([]byte, error) {
	dst = append(dst, '[')
	term := prev.Term
	for i, e := range entries {
		if i > 0 {
			dst = append(dst, ',')
		}
		if want := prev.Index + 1 + uint64(i); e.GetIndex() != want {
			return nil, fmt.Errorf("wire: entry %d stands where %d belongs", e.GetIndex(), want)
		}
		empty := e.GetType() == raftpb.EntryNormal && len(e.GetData()) == 0
		if e.GetTerm() != term && !(empty && e.GetTerm() > term) {
			return nil, fmt.Errorf("wire: entry %d has term %d after term %d and does not start it", e.GetIndex(), e.GetTerm(), term)
		}
		switch {
		case empty && e.GetTerm() > term:
			term = e.GetTerm()
			dst = append(dst, `{"StartTerm":`...)
			dst = strconv.AppendUint(dst, term, 10)
			dst = append(dst, '}')
		case empty:
			dst = append(dst, `{"Empty":`...)
			dst = strconv.AppendUint(dst, term, 10)
			dst = append(dst, '}')
		case e.GetType() == raftpb.EntryNormal:
			dst = put(dst, e.GetData())
		default:
			var err error
			if dst, err = appendConfChange(dst, e); err != nil {
				return nil, err
			}
		}
	}
	return append(dst, ']'), nil
}

// decodeEntries is the inverse of appendEntries. The entries alias the elements of raw.
func decodeEntries(prev EntryID, raw []json.RawMessage) ([]*raftpb.Entry, error) {
	entries := make([]*raftpb.Entry, len(raw))
	term := prev.Term
	for i, b := range raw {
		e := &raftpb.Entry{Index: new(prev.Index + 1 + uint64(i)), Type: raftpb.EntryNormal.Enum()}
		switch {
		case bytes.HasPrefix(b, []byte(`{"from":`)):
			e.Data = b
		case bytes.HasPrefix(b, []byte(`{"StartTerm":`)):
			next, err := decodeTerm(b, "StartTerm")
			if err != nil || next <= term {
				return nil, fmt.Errorf("wire: bad start of a term after term %d: %.64q", term, b)
			}
			term = next
		case bytes.HasPrefix(b, []byte(`{"Empty":`)):
			if t, err := decodeTerm(b, "Empty"); err != nil || t != term {
				return nil, fmt.Errorf("wire: bad empty entry in term %d: %.64q", term, b)
			}
		case bytes.HasPrefix(b, []byte(`{"ConfChange":`)):
			data, err := decodeConfChange(b)
			if err != nil {
				return nil, err
			}
			e.Type, e.Data = raftpb.EntryConfChangeV2.Enum(), data
		default:
			return nil, &UnknownError{What: fmt.Sprintf("%.64q", b), In: "the log"}
		}
		e.Term = new(term)
		entries[i] = e
	}
	return entries, nil
}

func decodeTerm(b []byte, member string) (uint64, error) {
	digits := b[len(`{"`)+len(member)+len(`":`) : len(b)-1]
	return strconv.ParseUint(string(digits), 10, 64)
}
