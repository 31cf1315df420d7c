package wire

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/jsonrpc"
)

// The examples of the package comments, and one of every form there is. What is decoded and encoded again is the same.
var messages = []string{
	`{"type":"MsgApp","from":1,"to":5,"term":2,"log_term":2,"index":8,"commit":8,"entries":[{"from":5,"boot":"k3x9","seq":1017,"time":1795258645723,"commands":[{"Apply":{"Put":["foo",123]}},{"Apply":null}]}]}`,
	`{"type":"MsgApp","from":1,"to":5,"term":4,"log_term":2,"index":8,"entries":[{"Empty":2},{"StartTerm":4},{"Empty":4},{"ConfChange":{"AddLearner":5}},{"ConfChange":{"AddVoter":5}},{"ConfChange":{"Remove":1}}]}`,
	`{"type":"MsgApp","from":1,"to":5,"term":2,"log_term":2,"index":8,"entries":[{"from":1,"boot":"b","seq":0,"time":-1,"commands":[{"AddServer":{"addr":"<a&b>:1","instance":"i"}}]},{"from":1,"boot":"b","seq":1,"time":0,"commands":[{"RemoveServer":{"addr":"a:1"}}]},{"from":1,"boot":"b","seq":2,"time":0,"commands":[{"TakeSnapshot":{}}]}]}`,
	`{"type":"MsgApp","from":1,"to":5,"term":2,"log_term":2,"index":8,"entries":[{"from":1,"boot":"b","seq":0,"time":7,"commands":[{"OpenSession":{"ttl":3600000}}]},{"from":1,"boot":"b","seq":1,"time":7,"commands":[{"KeepSession":{"id":9}}]},{"from":1,"boot":"b","seq":2,"time":7,"commands":[{"KeepSession":{"id":9,"ack":4}}]},{"from":1,"boot":"b","seq":2,"time":8,"commands":[{"Timer":{"at":8}}]},{"from":5,"boot":"b","seq":0,"time":8,"commands":[{"CloseSession":{"id":9}}]}]}`,
	`{"type":"Propose","from":5,"to":1,"term":2,"boot":"k3x9","seq":1017,"commands":[{"Abandon":{"tickets":[{"index":9,"offset":0},{"index":9,"offset":3}]}}]}`,
	`{"type":"MsgAppResp","from":5,"to":1,"term":2,"log_term":1,"index":8,"reject_hint":4,"reject":true}`,
	`{"type":"MsgHeartbeat","from":1,"to":5,"term":2,"commit":8,"context":"0100000000000000"}`,
	`{"type":"MsgReadIndex","from":5,"to":1,"term":2,"context":"ce916eeee9b1d7010000000000000001"}`,
	`{"type":"MsgReadIndexResp","from":1,"to":5,"term":2,"index":9,"context":"ce916eeee9b1d7010000000000000001"}`,
	`{"type":"MsgVote","from":1,"to":5,"term":2,"log_term":1,"index":8,"context":"43616d706169676e5472616e73666572"}`,
	`{"type":"MsgTimeoutNow","from":1,"to":5,"term":2}`,
	`{"type":"MsgSnap","from":1,"to":5,"term":2,"snapshot":{"last_included":{"term":1,"index":7},"voters":[1],"learners":[5],"time":3,"machines":{"system":{"a":1},"user":"<&>"}}}`,
	`{"type":"Propose","from":5,"to":1,"term":2,"boot":"k3x9","seq":1017,"commands":[{"Apply":{"Put":["<html>&",123456789012345678901234567890]}},{"Apply":1e400}]}`,
	`{"type":"Rejected","from":1,"to":5,"term":2,"boot":"k3x9","seq":1017,"code":106,"reason":"the \"leader\" <changed>"}`,
}

func TestMessagesKeepTheirForm(t *testing.T) {
	for _, line := range messages {
		m, err := DecodeMessage([]byte(line))
		require.NoError(t, err, line)
		again, err := AppendMessage(nil, m)
		require.NoError(t, err, line)
		require.Equal(t, line, string(again))
	}
}

var records = []string{
	`{"Header":{"format":1,"instance":"i1"}}`,
	`{"Identity":{"cluster_id":"c","key":"k","node_id":5}}`,
	`{"Snapshot":{"last_included":{"term":1,"index":7},"voters":[1],"learners":[],"time":0,"machines":{"system":{"members":{}},"user":{"<k>":[1,null,"s"]}}}}`,
	`{"HardState":{"term":2,"vote":1,"commit":9},"LogEntries":{"prev":{"term":1,"index":7},"entries":[{"StartTerm":2},{"from":5,"boot":"k3x9","seq":1017,"time":1795258645723,"commands":[{"Apply":{"Put":["foo",123]}}]}]}}`,
	`{"HardState":{"term":18446744073709551615,"vote":0,"commit":9}}`,
}

func TestRecordsKeepTheirForm(t *testing.T) {
	for _, line := range records {
		r, err := DecodeRecord([]byte(line))
		require.NoError(t, err, line)
		again, err := AppendRecord(nil, r)
		require.NoError(t, err, line)
		require.Equal(t, line, string(again))
	}
}

// sameRecord holds the short way of decoding a record against the long one.
func sameRecord(t *testing.T, line []byte) (ok bool) {
	t.Helper()
	short, ok := decodeShortRecord(line)
	if ok {
		long, err := decodeAnyRecord(line)
		require.NoError(t, err, "%q", line)
		require.Equal(t, long, short, "%q", line)
	}
	return ok
}

func TestRecordOfTheShortWay(t *testing.T) {
	empty := `{"HardState":{"term":2,"vote":1,"commit":9},"LogEntries":{"prev":{"term":1,"index":7},"entries":[]},"crc":"01234567"}`
	conf := `{"HardState":{"term":2,"vote":1,"commit":9},"LogEntries":{"prev":{"term":2,"index":7},"entries":[{"Empty":2},{"ConfChange":{"AddVoter":5}}]},"crc":"01234567"}`
	for _, line := range append([]string{empty, conf, `{"HardState":{"term":2,"vote":0,"commit":9},"crc":"01234567"}`}, records...) {
		own := strings.HasPrefix(line, `{"HardState":{"term":2,`)
		require.Equal(t, own, sameRecord(t, []byte(line)), line)
		for i := range line {
			require.False(t, sameRecord(t, []byte(line[:i])), line[:i])
			sameRecord(t, []byte(line[:i]+line[i+1:]))
			sameRecord(t, []byte(line[:i]+`"`+line[i:]))
			sameRecord(t, []byte(line[:i]+"\xff"+line[i:]))
		}
	}
}

func FuzzRecord(f *testing.F) {
	for _, line := range records {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) { sameRecord(t, []byte(line)) })
}

func TestTermsAndIndexesFollowFromPrev(t *testing.T) {
	r, err := DecodeRecord([]byte(records[3]))
	require.NoError(t, err)
	require.Equal(t, EntryID{Term: 1, Index: 7}, r.LogEntries.Prev)
	e := r.LogEntries.Entries
	require.Equal(t, []uint64{8, 2, 9, 2}, []uint64{e[0].GetIndex(), e[0].GetTerm(), e[1].GetIndex(), e[1].GetTerm()})
	require.Empty(t, e[0].GetData())
}

func TestEntriesOutOfPlaceAreNotEncoded(t *testing.T) {
	entry := func(term, index uint64, data string) *raftpb.Entry {
		return &raftpb.Entry{Term: new(term), Index: new(index), Data: []byte(data)}
	}
	for name, entries := range map[string][]*raftpb.Entry{
		"a gap":                      {entry(1, 9, "{}")},
		"a term that does not start": {entry(2, 8, "{}")},
		"a term that goes back":      {entry(2, 8, ""), entry(1, 9, "{}")},
	} {
		_, err := AppendRecord(nil, &Record{LogEntries: &LogEntries{Prev: EntryID{1, 7}, Entries: entries}})
		require.Error(t, err, name)
	}
}

func TestBadMessagesAreRefused(t *testing.T) {
	for _, line := range []string{
		``, `1`, `{}`, `{"type":"MsgHup"}`, `{"type":"MsgApp","entries":[1]}`, `{"type":"MsgApp","entries":[{"StartTerm":0}]}`,
		`{"type":"MsgApp","log_term":3,"entries":[{"StartTerm":3}]}`, `{"type":"MsgApp","entries":[{"from":0,"boot":"b","commands":[{"Apply":1}]}]}`,
		`{"type":"MsgApp","entries":[{"from":1,"boot":"B!","commands":[{"Apply":1}]}]}`, `{"type":"MsgApp","entries":[{"from":1,"boot":"b","commands":[{}]}]}`,
		`{"type":"MsgApp","entries":[{"ConfChange":{"AddVoter":0}}]}`, `{"type":"MsgApp","entries":[{"ConfChange":{"AddVoter":1,"Remove":2}}]}`,
		`{"type":"MsgHeartbeat","context":"zz"}`, `{"type":"MsgSnap"}`, `{"type":"Propose","boot":"b"}`, `{"type":"Propose","boot":"","commands":[{"Apply":1}]}`,
		`{"type":"MsgApp","term":-1}`, `{"type":"MsgApp","term":"1"}`,
	} {
		_, err := DecodeMessage([]byte(line))
		require.Error(t, err, line)
	}
}

// FuzzDecodeMessage: nothing that comes over a link may panic, and what is accepted is encoded and decoded the same.
func FuzzDecodeMessage(f *testing.F) {
	for _, line := range messages {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if jsonrpc.Valid([]byte(line), deepest) != nil || strings.ContainsAny(line, "\n") {
			return // the reader of the connection refuses it before
		}
		m, err := DecodeMessage([]byte(line))
		if err != nil {
			return
		}
		first, err := AppendMessage(nil, m)
		if err != nil {
			return // such as terms that do not fit its entries
		}
		m, err = DecodeMessage(first)
		require.NoError(t, err, "%s", first)
		second, err := AppendMessage(nil, m)
		require.NoError(t, err)
		require.Equal(t, string(first), string(second))
	})
}

// TestEntryIsInMemoryOnce: the inputs are a part of the entry. Of the line that a message came in nothing is kept, or else, where the
// entry is most of it, nothing is copied.
func TestEntryIsInMemoryOnce(t *testing.T) {
	logged := &Batch{From: 5, Boot: "k3x9", Seq: 7, Time: 9, Commands: []Command{{Apply: []byte(`"aa"`)}, {Apply: []byte(`"bb"`), Session: &SessionSeq{9, 3, 1}}, {Apply: []byte(`"cc"`)}}}
	buf := logged.Encode([]byte("before"), nil)
	data := bytes.Clone(buf[len("before"):])
	logged.MoveTo(data)
	clear(buf)
	require.Equal(t, string(AppendBatch(nil, 5, "k3x9", 7, 9, []byte(`[{"Apply":"aa"},{"Apply":"bb","Session":{"id":9,"seq":3,"ack":1}},{"Apply":"cc"}]`))), string(data))
	line, err := AppendMessage(nil, &Message{From: 1, To: 2, Raft: &raftpb.Message{Type: raftpb.MsgApp.Enum(), Term: new(uint64(1)), LogTerm: new(uint64(1)), Index: new(uint64(4)),
		Entries: []*raftpb.Entry{{Index: new(uint64(5)), Term: new(uint64(1)), Type: raftpb.EntryNormal.Enum(), Data: data}}}})
	require.NoError(t, err)
	m, err := DecodeMessage(line)
	require.NoError(t, err)
	clear(line)
	for _, e := range []struct {
		data  []byte
		batch *Batch
	}{{data, logged}, {m.Raft.Entries[0].Data, m.Batches[0]}} {
		require.Equal(t, string(data), string(e.data))
		for i, c := range e.batch.Commands {
			at := bytes.Index(e.data, c.Apply)
			require.Positive(t, at)
			require.Same(t, &e.data[at], &c.Apply[0], "input %d", i)
			require.Equal(t, len(c.Apply), cap(c.Apply))
		}
	}

	long := &Batch{From: 5, Boot: "k3x9", Seq: 7, Time: 9, Commands: []Command{{Apply: []byte(`"` + strings.Repeat("l", longEntry) + `"`)}}}
	for count, copied := range map[int]bool{1: false, 3: true} {
		r := &raftpb.Message{Type: raftpb.MsgApp.Enum(), Term: new(uint64(1)), LogTerm: new(uint64(1)), Index: new(uint64(4))}
		for i := range count {
			r.Entries = append(r.Entries, &raftpb.Entry{Index: new(uint64(5 + i)), Term: new(uint64(1)), Type: raftpb.EntryNormal.Enum(), Data: long.Encode(nil, nil)})
		}
		line, err := AppendMessage(nil, &Message{From: 1, To: 2, Raft: r})
		require.NoError(t, err)
		m, err := DecodeMessage(line)
		require.NoError(t, err)
		clear(line)
		for i, e := range m.Raft.Entries {
			require.Equal(t, copied, e.Data[0] == '{', "entry %d of %d", i, count)
			require.Equal(t, copied, m.Batches[i].Commands[0].Apply[0] == '"', "entry %d of %d", i, count)
		}
	}
	line, err = AppendMessage(nil, &Message{From: 1, To: 2, Raft: &raftpb.Message{Type: raftpb.MsgApp.Enum(), Term: new(uint64(1)), LogTerm: new(uint64(1)), Index: new(uint64(4)),
		Entries: []*raftpb.Entry{{Index: new(uint64(5)), Term: new(uint64(1)), Type: raftpb.EntryNormal.Enum(), Data: long.Encode(nil, nil)}}}})
	require.NoError(t, err)
	m, err = DecodeMessageIn(line, 3*len(line))
	require.NoError(t, err)
	clear(line)
	require.EqualValues(t, '{', m.Raft.Entries[0].Data[0], "it came with other messages, which it would keep in memory")
	require.EqualValues(t, '"', m.Batches[0].Commands[0].Apply[0])
}

// sameCommands holds the short way of decoding commands against the long one.
func sameCommands(t *testing.T, data []byte) {
	t.Helper()
	short, ok := decodeApplies(data)
	if !ok {
		return
	}
	long, err := decodeAnyCommands(data)
	require.NoError(t, err, "%q", data)
	require.Equal(t, long, short, "%q", data)
}

// sameBatch holds the short way of decoding a batch against the long one.
func sameBatch(t *testing.T, data []byte) {
	t.Helper()
	short, ok := decodeShortBatch(data)
	if !ok {
		return
	}
	long, err := decodeAnyBatch(data)
	require.NoError(t, err, "%q", data)
	require.Equal(t, long, short, "%q", data)
}

// sameMessage holds the short way of decoding a message against the long one.
func sameMessage(t *testing.T, data []byte) (ok bool) {
	t.Helper()
	if jsonrpc.Valid(data, deepest) != nil {
		return false // the reader of the connection refuses it before
	}
	short, ok := decodeShortMessage(data, len(data))
	if ok {
		long, err := decodeAnyMessage(data)
		require.NoError(t, err, "%q", data)
		require.Equal(t, long, short, "%q", data)
	}
	return ok
}

func TestMessageOfTheShortWay(t *testing.T) {
	for _, line := range append(messages, shortMessages...) {
		own := strings.Contains(line, "ConfChange") || strings.Contains(line, "StartTerm") || strings.Contains(line, "AddServer") || strings.Contains(line, "Timer") || strings.Contains(line, "Abandon") ||
			strings.Contains(line, "MsgSnap") || strings.Contains(line, "Rejected")
		require.Equal(t, !own, sameMessage(t, []byte(line)), line)
		for i := range line {
			require.False(t, sameMessage(t, []byte(line[:i])), line[:i])
			sameMessage(t, []byte(line[:i]+line[i+1:]))
			sameMessage(t, []byte(line[:i]+`"`+line[i:]))
		}
	}
}

var shortMessages = []string{
	`{"type":"MsgApp","from":1,"to":5,"term":2,"log_term":2,"index":8,"commit":8}`,
	`{"type":"MsgApp","from":1,"to":5,"term":2,"log_term":2,"index":8,"commit":8,"entries":[{"from":5,"boot":"k3x9","seq":7,"time":3,"commands":[{"Apply":[{"Apply":1}]},{"Apply":"]}"}]},{"from":1,"boot":"b","seq":0,"time":3,"commands":[{"Apply":null}]}]}`,
	`{"type":"MsgApp","from":1,"to":5,"term":2,"log_term":2,"index":8,"commit":8,"entries":[{"from":5,"boot":"k3x9","seq":7,"time":3,"commands":[{"Apply":1,"Session":{"id":9,"seq":2,"ack":1}},{"Apply":{"Session":{"id":0}}},{"Apply":2,"Session":{"id":9,"seq":3,"ack":0}}]}]}`,
	`{"type":"Propose","from":5,"to":1,"term":2,"boot":"k3x9","commands":[{"Apply":0,"Session":{"id":9007199254740991,"seq":9007199254740991,"ack":9007199254740990}}]}`,
	`{"type":"MsgHeartbeatResp","from":1,"to":5,"term":2}`,
	`{"type":"MsgReadIndex"}`,
	`{"type":"Propose","from":5,"to":1,"term":2,"boot":"k3x9","commands":[{"Apply":0}]}`,
}

func FuzzMessage(f *testing.F) {
	for _, line := range append(messages, shortMessages...) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) { sameMessage(t, []byte(line)) })
}

func TestBatchOfTheShortWay(t *testing.T) {
	good := string(AppendBatch(nil, 5, "k3x9", 1017, 1_700_000_000_000, []byte(`[{"Apply":1},{"Apply":{"commands":[]}}]`)))
	for _, text := range []string{good, strings.Replace(good, "1017", "0", 1), strings.Replace(good, "1017", "999999999999999999", 1)} {
		_, ok := decodeShortBatch([]byte(text))
		require.True(t, ok, text)
		sameBatch(t, []byte(text))
	}
	for _, text := range []string{
		"", "{", good[:len(good)-1], good[1:], good + " ", " " + good, strings.Replace(good, "k3x9", "", 1), strings.Replace(good, "k3x9", `k\"9`, 1), strings.Replace(good, "k3x9", "K", 1),
		strings.Replace(good, "k3x9", strings.Repeat("k", 65), 1), strings.Replace(good, "1017", "01017", 1), strings.Replace(good, "1017", "", 1), strings.Replace(good, "1017", "-1", 1),
		strings.Replace(good, "1017", "1e3", 1), strings.Replace(good, "1017", "9999999999999999999", 1), strings.Replace(good, `"from":5`, `"from":0`, 1), strings.Replace(good, "Apply", "Other", 1),
	} {
		_, ok := decodeShortBatch([]byte(text))
		require.False(t, ok, text)
	}
	for i := range good { // whatever is cut off
		sameBatch(t, []byte(good[:i]))
	}
}

func FuzzBatch(f *testing.F) {
	f.Add(string(AppendBatch(nil, 5, "k3x9", 1017, 1_700_000_000_000, []byte(`[{"Apply":1,"Session":{"id":9,"seq":3,"ack":1}},{"Apply":2}]`))))
	f.Add(string(AppendBatch(nil, 5, "k3x9", 1017, 1_700_000_000_000, []byte(`[{"Timer":{"at":1700000000000}}]`))))
	f.Add(string(AppendBatch(nil, 5, "k3x9", 1017, 1_700_000_000_000, []byte(`[{"OpenSession":{"ttl":3600000}}]`))))
	f.Add(string(AppendBatch(nil, 5, "k3x9", 1017, 1_700_000_000_000, []byte(`[{"Apply":1}]`))))
	f.Fuzz(func(t *testing.T, data string) { sameBatch(t, []byte(data)) })
}

func TestCommandsOfTheShortWay(t *testing.T) {
	for _, text := range []string{`[{"Apply":1}]`, `[{"Apply":{"Put":["a",[1,{}]]}},{"Apply":"{\"Apply\":"},{"Apply":null}]`, `[{"Apply":{"Apply":[{"Apply":1}]}}]`} {
		_, ok := decodeApplies([]byte(text))
		require.True(t, ok, text)
		sameCommands(t, []byte(text))
	}
	for _, text := range []string{``, `[`, `[]`, `[{"Apply":`, `[{"Apply":1`, `[{"Apply":1}`, `[{"Apply":1},`, `[{"Apply":1},]`, `[{"Apply":1}]x`, `[{"Apply":1}]]`, `[{"Apply":}]`, `[{"Apply": 1}]`,
		`[{"Apply":1,"Apply":2}]`, `[{"apply":1}]`, `[{"Apply":1} ]`, `[{"TakeSnapshot":{}}]`, `[{"Apply":01}]`, "[{\"Apply\":\"\xff\"}]", `[{"Apply":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}]`} {
		_, ok := decodeApplies([]byte(text))
		require.False(t, ok && text != `[{"Apply": 1}]`, text)
	}
}

// oddSessions are what a server never writes. The short way leaves them to the long one, or takes them as that does.
var oddSessions = []string{
	`{"seq":2,"id":9,"ack":1}`, `{"id":9,"seq":2}`, `{"id":9,"ack":1}`, `{"seq":2}`, `{}`, `null`, `[]`, `9`, `"9"`, `{"id":9,"seq":2,"ack":1,"more":0}`, `{"id":9,"seq":2,"ack":1,"ack":0}`,
	`{"id":9,"id":8,"seq":2,"ack":1}`, `{"id": 9,"seq":2,"ack":1}`, `{"id":9,"seq":2,"ack":1 }`, `{"ID":9,"seq":2,"ack":1}`, `{"id":09,"seq":2,"ack":1}`, `{"id":9.0,"seq":2,"ack":1}`,
	`{"id":9,"seq":2e0,"ack":1}`, `{"id":-9,"seq":2,"ack":1}`, `{"id":9,"seq":2,"ack":-1}`, `{"id":"9","seq":2,"ack":1}`, `{"id":null,"seq":2,"ack":1}`, `{"id":9,"seq":2,"ack":null}`,
	`{"id":18446744073709551615,"seq":18446744073709551615,"ack":18446744073709551614}`, `{"id":18446744073709551616,"seq":2,"ack":1}`, `{"id":999999999999999999999999,"seq":2,"ack":1}`,
}

// badSessions must not be applied.
var badSessions = []string{`{"id":0,"seq":2,"ack":1}`, `{"id":9,"seq":0,"ack":0}`, `{"id":9,"seq":2,"ack":2}`, `{"id":9,"seq":2,"ack":3}`, `{"id":9,"seq":2,"ack":18446744073709551615}`}

func TestSessionsOfTheShortWay(t *testing.T) {
	good := `[{"Apply":1,"Session":{"id":9,"seq":2,"ack":1}},{"Apply":[{"Apply":1}]},{"Apply":{"Session":{"id":1}},"Session":{"id":9,"seq":3,"ack":0}}]`
	commands, ok := decodeApplies([]byte(good))
	require.True(t, ok)
	require.Equal(t, []*SessionSeq{{9, 2, 1}, nil, {9, 3, 0}}, []*SessionSeq{commands[0].Session, commands[1].Session, commands[2].Session})
	sameCommands(t, []byte(good))
	encoded := []byte{'['}
	for i := range commands {
		encoded = append(AppendCommand(encoded, &commands[i]), ',')
	}
	require.Equal(t, good, string(encoded[:len(encoded)-1])+"]")
	for i := range good {
		sameCommands(t, []byte(good[:i]))
		sameCommands(t, []byte(good[:i]+good[i+1:]))
		sameCommands(t, []byte(good[:i]+`"`+good[i:]))
	}
	for _, session := range slices.Concat(oddSessions, badSessions) {
		for _, text := range []string{`[{"Apply":1,"Session":` + session + `}]`, `[{"Session":` + session + `,"Apply":1}]`, `[{"Apply":1,"Session":` + session + `,"Session":{"id":9,"seq":2,"ack":1}}]`} {
			sameCommands(t, []byte(text))
			batch := AppendBatch(nil, 5, "k3x9", 7, 3, []byte(text))
			sameBatch(t, batch)
			b, err := DecodeBatch(batch)
			if slices.Contains(badSessions, session) && !strings.HasSuffix(text, `,"ack":1}}]`) {
				require.Error(t, err, text)
			}
			if err == nil {
				require.True(t, b.Commands[0].valid(), text)
			}
		}
	}
	for _, text := range []string{`[{"TakeSnapshot":{},"Session":{"id":9,"seq":2,"ack":1}}]`, `[{"Session":{"id":9,"seq":2,"ack":1}}]`, `[{"OpenSession":{"ttl":0}}]`, `[{"OpenSession":{"ttl":-1}}]`,
		`[{"OpenSession":{"ttl":9223372036854775807}}]`, `[{"OpenSession":{"ttl":1000}},{"Apply":1}]`, `[{"Timer":{"at":1},"Apply":1}]`, `[{"Abandon":{}}]`, `[{"Abandon":{"tickets":[]}}]`, `[{"Abandon":{"tickets":[{"index":1,"offset":-1}]}}]`, `[{"Abandon":{"tickets":[{"index":1,"offset":0}]},"Apply":1}]`, `[{"Timer":{"at":1}},{"Timer":{"at":1}}]`, `[{"KeepSession":{"id":1},"CloseSession":{"id":1}}]`} {
		_, err := DecodeBatch(AppendBatch(nil, 5, "k3x9", 7, 3, []byte(text)))
		require.Error(t, err, text)
	}
}

func FuzzApplies(f *testing.F) {
	for _, session := range slices.Concat(oddSessions, badSessions) {
		f.Add([]byte(`[{"Apply":1,"Session":` + session + `},{"Apply":2,"Session":{"id":9,"seq":3,"ack":1}}]`))
	}
	for _, text := range []string{`[{"Apply":{"Put":["foo",123]}},{"Apply":null}]`, `[{"Apply":"\u00e4"}]`, `[{"Apply":-1.5e7},{"Apply":[]}]`} {
		f.Add([]byte(text))
	}
	f.Fuzz(sameCommands)
}

func BenchmarkDecodeMessage(b *testing.B) {
	apply := `{"Apply":{"Put":["foo",123]}}`
	head := `{"type":"MsgApp","from":1,"to":5,"term":2,"log_term":2,"index":8,"commit":8,"entries":[{"from":5,"boot":"k3x9","seq":1017,"time":1700000000000,"commands":[`
	for _, message := range []struct{ name, line string }{
		{"proposal of 300", `{"type":"Propose","from":5,"to":1,"term":2,"boot":"k3x9","seq":1017,"commands":[` + apply + strings.Repeat(`,`+apply, 299) + `]}`},
		{"entry of one", head + apply + `]}]}`},
		{"entry of 300", head + apply + strings.Repeat(`,`+apply, 299) + `]}]}`},
		{"entry of 64 KiB", head + `{"Apply":{"Put":["foo","` + strings.Repeat("v", 64<<10) + `"]}}]}]}`},
		{"acknowledgement", `{"type":"MsgAppResp","from":5,"to":1,"term":2,"index":9}`},
	} {
		b.Run(message.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(message.line)))
			for b.Loop() {
				if _, err := DecodeMessage([]byte(message.line)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
