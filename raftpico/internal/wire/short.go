package wire

import (
	"bytes"
	"encoding/hex"
	"unicode/utf8"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/jsonrpc"
)

// The short way reads JSON in the very form in which this package writes it, in one pass. It is several times as fast as
// the JSON package, which reads whatever does not fit; the fuzz tests hold one to the other.

// cursor reads from data[at:]. What does not fit makes fits false, and all that is read afterwards worthless.
type cursor struct {
	data   []byte
	at     int
	fits   bool
	known  bool   // data was scanned before: it is JSON in UTF-8
	inputs []span // of the commands that applies has taken
	within []int  // those of them that are in sessions; memory of applies
}

// span is a part of a cursor's data.
type span struct{ from, to int }

// shortly begins to read. The JSON package replaces what is not UTF-8, so that does not fit.
func shortly(data []byte) *cursor { return &cursor{data: data, fits: utf8.Valid(data)} }

// all tells whether everything has been read, and fitted.
func (c *cursor) all() bool { return c.fits && c.at == len(c.data) }

// next takes a text if it comes next, and tells whether it did.
func (c *cursor) next(text string) bool {
	ok := c.fits && len(c.data)-c.at >= len(text) && string(c.data[c.at:c.at+len(text)]) == text
	if ok {
		c.at += len(text)
	}
	return ok
}

// must takes a text that comes next.
func (c *cursor) must(text string) { c.fits = c.next(text) }

// number takes a natural number.
func (c *cursor) number() (n uint64) {
	from := c.at
	for ; c.fits && c.at < len(c.data) && '0' <= c.data[c.at] && c.data[c.at] <= '9'; c.at++ {
		n = n*10 + uint64(c.data[c.at]-'0')
	}
	digits := c.at - from
	c.fits = c.fits && 0 < digits && digits <= 18 && (digits == 1 || c.data[from] != '0') // longer ones might not fit into 64 bits
	return n
}

// member takes a number that may be left out, with the text before it.
func (c *cursor) member(text string) uint64 {
	if !c.next(text) {
		return 0
	}
	return c.number()
}

// word takes what stands before the next quote, and that. It has no escapes, for it is a name, a token, or hex.
func (c *cursor) word(limit int) []byte {
	if !c.fits {
		return nil
	}
	rest := c.data[c.at:min(c.at+limit+1, len(c.data))]
	i := bytes.IndexByte(rest, '"')
	if c.fits = i >= 0 && bytes.IndexByte(rest[:i], '\\') < 0; !c.fits {
		return nil
	}
	c.at += i + 1
	return rest[:i]
}

// token takes one, and the quote behind it.
func (c *cursor) token() string {
	t := string(c.word(64))
	c.fits = c.fits && ValidToken(t)
	return t
}

const (
	applyOpen   = `{"Apply":`
	sessionOpen = `,"Session":{"id":`
)

// deepest bounds the recursion. What is deeper goes to the JSON package, which has bounds of its own.
const deepest = 4096

// longProposal is from how many bytes on what is kept of a proposal is not copied: the lines it came with are as long. It is
// copied when it becomes an entry.
const longProposal = 32 << 10

// longEntry is from how many bytes on an entry is not copied out of what it came in, if it is the half of that.
const longEntry = 32 << 10

// maxInputs bounds for how many inputs memory is made before they are seen: most entries have no more.
const maxInputs = 1024

// value takes a value.
func (c *cursor) value() {
	if !c.fits {
		return
	}
	end := -1
	if c.known {
		end = jsonrpc.SkipValue(c.data, c.at)
	} else {
		end = jsonrpc.ScanValue(c.data, c.at, deepest)
	}
	if c.fits = end >= 0; c.fits {
		c.at = end
	}
}

// applies takes [{"Apply":…},{"Apply":…,"Session":{…}},…] without white space between. The inputs are slices of data.
func (c *cursor) applies() []Command {
	began := c.at
	c.must("[" + applyOpen)
	inputs, within := c.inputs[:0], c.within[:0]
	var sessions []SessionSeq
	for first := true; c.fits && (first || c.next(","+applyOpen)); first = false {
		from := c.at
		c.value()
		if cap(inputs) == 0 { // most likely the others are about as long
			inputs = make([]span, 0, min(1+(len(c.data)-began)/(c.at+len(`}`)-began), maxInputs))
		}
		inputs = append(inputs, span{from, c.at})
		if c.next(sessionOpen) {
			if sessions == nil { // most likely the others are in sessions too, and about as long
				sessions = make([]SessionSeq, 0, 1+(len(c.data)-began)/(c.at-began)*len(inputs))
			}
			sessions = append(sessions, c.session())
			within = append(within, len(inputs)-1)
		}
		c.must("}")
	}
	c.must("]")
	if c.inputs, c.within = inputs, within; !c.fits {
		return nil
	}
	commands := make([]Command, len(inputs))
	for i, in := range inputs {
		commands[i].Apply = c.data[in.from:in.to:in.to]
	}
	for i, command := range within {
		commands[command].Session = &sessions[i]
	}
	return commands
}

// keep returns a copy of what has been taken since from, of which the inputs of the commands taken last become slices: what is
// kept of a line is one piece of memory, and no more.
func (c *cursor) keep(from int, commands []Command) []byte {
	kept := bytes.Clone(c.data[from:c.at])
	for i := range commands {
		in := c.inputs[i]
		commands[i].Apply = kept[in.from-from : in.to-from : in.to-from]
	}
	return kept
}

// session takes the rest of one.
func (c *cursor) session() (s SessionSeq) {
	s.ID = c.number()
	c.must(`,"seq":`)
	s.Seq = c.number()
	c.must(`,"ack":`)
	s.Ack = c.number()
	c.must("}")
	c.fits = c.fits && s.ID != 0 && s.Ack < s.Seq
	return s
}

// batch takes a batch of Apply commands as AppendBatch writes it.
func (c *cursor) batch() *Batch {
	b := new(Batch)
	c.must(`{"from":`)
	b.From = c.number()
	c.must(`,"boot":"`)
	b.Boot = c.token()
	c.must(`,"seq":`)
	b.Seq = c.number()
	c.must(`,"time":`)
	b.Time = int64(c.number())
	c.must(`,"commands":`)
	b.Commands = c.applies()
	c.must(`}`)
	c.fits = c.fits && b.From != 0
	return b
}

// decodeShortBatch decodes a batch of Apply commands, whose inputs are slices of data. False means that it is something else,
// or no JSON at all.
func decodeShortBatch(data []byte) (*Batch, bool) {
	c := shortly(data)
	b := c.batch()
	return b, c.all()
}

// decodeCommands decodes an array of commands. Most are the Apply commands of one turn. The inputs may be slices of data.
func decodeCommands(data []byte) ([]Command, error) {
	if commands, ok := decodeApplies(data); ok {
		return commands, nil
	}
	return decodeAnyCommands(data)
}

func decodeApplies(data []byte) ([]Command, bool) {
	c := shortly(data)
	commands := c.applies()
	return commands, c.all()
}

// decodeShortMessage decodes a Propose, or a Raft message but MsgSnap, whose entries and commands are all those of Apply. Data is
// known to be JSON, and a part of so many bytes of memory.
func decodeShortMessage(data []byte, memory int) (*Message, bool) {
	c := &cursor{data: data, fits: true, known: true}
	c.must(`{"type":"`)
	name := c.word(32)
	from, to, term := c.member(`,"from":`), c.member(`,"to":`), c.member(`,"term":`)
	if string(name) == "Propose" {
		p := &Propose{Term: term}
		c.must(`,"boot":"`)
		p.Boot = c.token()
		p.Seq = c.member(`,"seq":`)
		c.must(`,"commands":`)
		began := c.at
		p.Commands = c.applies()
		if p.Encoded = c.data[began:c.at:c.at]; len(data) < longProposal && c.fits {
			p.Encoded = c.keep(began, p.Commands)
		}
		c.must(`}`)
		return &Message{From: from, To: to, Propose: p}, c.all()
	}
	typ, ok := messageTypes[string(name)]
	if !ok || typ == raftpb.MsgSnap {
		return nil, false
	}
	p := &piece{typ: typ, from: from, to: to, term: term}
	p.logTerm, p.index, p.commit = c.member(`,"log_term":`), c.member(`,"index":`), c.member(`,"commit":`)
	p.rejectHint, p.reject = c.member(`,"reject_hint":`), c.next(`,"reject":true`)
	m := p.message()
	m.Lease = c.member(`,"lease":`)
	c.context(m.Raft)
	if typ == raftpb.MsgApp {
		c.entries(m, memory)
	}
	c.must(`}`)
	return m, c.all()
}

// piece is a message and all that the library's one points to, but for what is behind slices: one piece of memory in place of
// eleven, for each message that comes.
type piece struct {
	m                                                  Message
	raft                                               raftpb.Message
	typ                                                raftpb.MessageType
	from, to, term, logTerm, index, commit, rejectHint uint64
	reject                                             bool
}

func (p *piece) message() *Message {
	r := &p.raft
	r.Type, r.From, r.To, r.Term, r.LogTerm, r.Index, r.Commit, r.RejectHint, r.Reject = &p.typ, &p.from, &p.to, &p.term, &p.logTerm, &p.index, &p.commit, &p.rejectHint, &p.reject
	p.m.From, p.m.To, p.m.Raft = p.from, p.to, r
	return &p.m
}

// context takes a message's, which is absent if it is empty.
func (c *cursor) context(r *raftpb.Message) {
	context := []byte{}
	if c.next(`,"context":"`) {
		word := c.word(1 << 10)
		context = make([]byte, hex.DecodedLen(len(word)))
		_, err := hex.Decode(context, word)
		c.fits = c.fits && err == nil
	}
	if isRead(r.GetType()) {
		r.Entries = []*raftpb.Entry{{Data: context}}
	} else if len(context) > 0 {
		r.Context = context
	}
}

// entries takes a MsgApp's, which are absent if there are none.
func (c *cursor) entries(m *Message, memory int) {
	m.Raft.Entries, m.Batches = []*raftpb.Entry{}, []*Batch{}
	if !c.next(`,"entries":[`) {
		return
	}
	for first := true; c.fits && (first || c.next(`,`)); first = false {
		from := c.at
		b := c.batch()
		if !c.fits {
			break
		}
		data := c.data[from:c.at:c.at]
		if len(data) < longEntry || len(data) < memory/2 { // or else what came with the entry is no longer than that
			data = c.keep(from, b.Commands)
		}
		m.Batches = append(m.Batches, b)
		m.Raft.Entries = append(m.Raft.Entries, &raftpb.Entry{Index: new(m.Raft.GetIndex() + uint64(len(m.Batches))), Term: new(m.Raft.GetLogTerm()),
			Type: raftpb.EntryNormal.Enum(), Data: data})
	}
	c.must(`]`)
}
