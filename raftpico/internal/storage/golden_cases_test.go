package storage_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// golden is a log file as servers write it, and what happened to it then.
type golden struct {
	name, about     string
	server          string // whose: a, if none
	append          []*wire.Record
	replace, behind []*wire.Record
	then            func(file []byte) []byte
}

func goldens() []golden {
	founded := []*wire.Record{goldenIdentity(1), goldenFounding(), {HardState: hard(1, 0, 1)}}
	started := golden{replace: founded, behind: []*wire.Record{
		{HardState: hard(2, 1, 1)},
		{HardState: hard(2, 1, 1), LogEntries: goldenEntries(1, 1, start, put(0, 123))},
		{HardState: hard(2, 1, 3), LogEntries: goldenEntries(2, 3, put(1, 124))},
	}}
	with := func(name, about string, then func([]byte) []byte) golden {
		g := started
		g.name, g.about, g.then = name, about, then
		return g
	}
	line := func(n int, change func(line []byte) []byte) func([]byte) []byte {
		return func(file []byte) []byte {
			lines := bytes.SplitAfter(file, []byte("\n"))
			lines[n-1] = change(slices.Clone(lines[n-1]))
			return bytes.Join(lines, nil)
		}
	}
	swap := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(old), []byte(new)) }
	}
	nothing := func([]byte) []byte { return nil }
	last := len(founded) + len(started.behind) + 1

	return []golden{
		{name: "fresh", about: "A server that belongs to no cluster."},
		{name: "joined", server: "b", about: "A server that was added, and has voted, and heard nothing else.",
			append: []*wire.Record{goldenIdentity(4), {HardState: hard(2, 1, 0)}}},
		{name: "founded", about: "A server that has just made a cluster.", replace: founded},
		with("one", "A cluster of one: it has begun its first term, and two commands came.", nil),
		{name: "members", about: "A server was added, became a voter, and was removed; the last step is not committed.",
			replace: founded, behind: []*wire.Record{
				{HardState: hard(2, 1, 1), LogEntries: goldenEntries(1, 1, start, put(0, 123), add(4))},
				{HardState: hard(2, 1, 4), LogEntries: goldenEntries(2, 4, step(wire.AddLearner, 4))},
				{HardState: hard(2, 1, 5), LogEntries: goldenEntries(2, 5, step(wire.AddVoter, 4))},
				{HardState: hard(2, 1, 6)},
				{HardState: hard(2, 1, 6), LogEntries: goldenEntries(2, 6, remove(4))},
				{HardState: hard(2, 1, 7), LogEntries: goldenEntries(2, 7, step(wire.RemoveNode, 4))},
			}},
		{name: "learner", server: "b", about: "A snapshot with a learner in its configuration.", append: []*wire.Record{goldenIdentity(4)},
			replace: []*wire.Record{goldenIdentity(4), goldenSnapshot(2, 5, []uint64{1}, []uint64{4}), {HardState: hard(2, 0, 5)}},
			behind:  []*wire.Record{{HardState: hard(2, 0, 5), LogEntries: goldenEntries(2, 5, step(wire.AddVoter, 4))}}},
		{name: "snapshot", about: "A snapshot, entries from before it that others may need, and entries behind it.",
			append: []*wire.Record{goldenIdentity(1)},
			replace: []*wire.Record{goldenIdentity(1), goldenSnapshot(2, 5, []uint64{1, 4}, nil),
				{HardState: hard(2, 1, 5), LogEntries: goldenEntries(2, 3, put(1, 124), put(2, 125))}},
			behind: []*wire.Record{{HardState: hard(2, 1, 5), LogEntries: goldenEntries(2, 5, put(3, 126))}}},
		{name: "sessions", about: "Sessions of clients: in a snapshot, with a result, an error, and one whose answer is deferred; and entries behind it.",
			append: []*wire.Record{goldenIdentity(1)}, replace: []*wire.Record{goldenIdentity(1), goldenSessions(), {HardState: hard(2, 1, 9)}},
			behind: []*wire.Record{
				{HardState: hard(2, 1, 9), LogEntries: goldenEntries(2, 9, batch(1, `{"OpenSession":{"ttl":3600000}}`))},
				{HardState: hard(2, 1, 10), LogEntries: goldenEntries(2, 10, batch(2, `{"Apply":{"Put":["foo",1]},"Session":{"id":10,"seq":1,"ack":0}},{"Apply":{"Put":["foo",2]}},{"Apply":{"Put":["foo",3]},"Session":{"id":7,"seq":6,"ack":2}}`))},
				{HardState: hard(2, 1, 11), LogEntries: goldenEntries(2, 11, batch(5, `{"KeepSession":{"id":10}}`), batch(6, fmt.Sprintf(`{"Timer":{"at":%d}}`, goldenTime+6)), batch(7, `{"CloseSession":{"id":7}}`))},
			}},
		{name: "abandoned", about: "Deferred commands, and an entry that tells that nobody waits for the answers of two.", replace: founded,
			behind: []*wire.Record{
				{HardState: hard(2, 1, 2), LogEntries: goldenEntries(1, 1, start, put(0, 1), put(1, 2))},
				{HardState: hard(2, 1, 4), LogEntries: goldenEntries(2, 4, batch(2, `{"Abandon":{"tickets":[{"index":3,"offset":0},{"index":4,"offset":0}]}}`))},
			}},
		{name: "installed", server: "b", about: "A snapshot that came from the leader: the log begins anew behind it.",
			append: []*wire.Record{goldenIdentity(4), {HardState: hard(1, 1, 0)}},
			replace: []*wire.Record{goldenIdentity(4), goldenSnapshot(3, 40, []uint64{1, 4, 9}, nil),
				{HardState: hard(3, 0, 40)}},
			behind: []*wire.Record{{HardState: hard(3, 0, 41), LogEntries: goldenEntries(3, 40, put(7, 1))}}},
		{name: "overwritten", about: "Entries that were never committed gave way to those of another leader.", replace: founded,
			behind: []*wire.Record{
				{HardState: hard(2, 1, 2), LogEntries: goldenEntries(1, 1, start, put(0, 1), put(1, 2), empty)},
				{HardState: hard(5, 4, 2), LogEntries: goldenEntries(2, 3, start, start, start, put(0, 3))},
			}},

		with("empty", "A file of no bytes is a new one.", nothing),
		with("torn-header", "A crash tore the first line: nothing was ever said by this server.", func(b []byte) []byte { return b[:30] }),
		with("torn", "A crash tore the last line: nothing in it was acknowledged.", func(b []byte) []byte { return b[:len(b)-40] }),
		with("torn-zeros", "A crash: the last line's content did not reach the disk, its length did.", line(last, func(l []byte) []byte { clear(l); return l })),
		with("no-newline", "The last newline is missing; the record is whole.", func(b []byte) []byte { return b[:len(b)-1] }),

		with("changed", "A digit of a command was changed.", line(last-1, swap("123", "124"))),
		with("changed-last", "A digit was changed in the last line, which is whole.", line(last, swap("124", "123"))),
		with("lost-line", "A line is missing.", line(last-1, nothing)),
		with("doubled-line", "A line is there twice.", line(last, func(l []byte) []byte { return append(l, l...) })),
		with("zeros", "A line's content is gone, and another follows.", line(last-1, func(l []byte) []byte { clear(l[:len(l)-1]); return l })),
		with("cr-lf", "An editor has turned LF into CR LF.", swap("\n", "\r\n")),
		with("cr-lf-in-part", "An editor has turned LF into CR LF in one line.", line(3, swap("\n", "\r\n"))),
		with("cr", "An editor has turned LF into CR.", swap("\n", "\r")),
		with("byte-order-mark", "An editor has put a byte order mark at the start.", func(b []byte) []byte { return append([]byte("\xef\xbb\xbf"), b...) }),
		with("utf-16", "An editor has saved it as UTF-16.", func(b []byte) []byte { return inUTF16(binary.LittleEndian, "\ufeff"+string(b)) }),
		with("jq", "jq has formatted it.", func(b []byte) []byte { return indentedLines(b, "  ") }),
		with("spaces", "A program has read a line and written it anew.", line(3, func(l []byte) []byte { return swap(`,"`, `, "`)(swap(`":`, `": `)(l)) })),
		with("empty-line", "An editor has added a newline at the end.", func(b []byte) []byte { return append(b, '\n') }),
		with("joined-lines", "An editor has joined the last two lines.", func(b []byte) []byte {
			at := bytes.LastIndexByte(b[:len(b)-1], '\n')
			return slices.Concat(b[:at], b[at+1:len(b)-1])
		}),
		with("newer", "A later version's file.", line(1, swap(`"format":1`, `"format":2`))),
		with("diary", "A file of somebody else's.", func([]byte) []byte { return []byte("dear diary\n") }),

		with("term-back", "Each crc is right, but the term goes back.", resealed(`{"HardState":{"term":1,"vote":0,"commit":3}`)),
		with("vote-twice", "Each crc is right, but two votes were given in one term.", resealed(`{"HardState":{"term":2,"vote":4,"commit":3}`)),
		with("commit-back", "Each crc is right, but the commit goes back.", resealed(`{"HardState":{"term":2,"vote":1,"commit":2}`)),
		with("commit-ahead", "Each crc is right, but what is committed is not there.", resealed(`{"HardState":{"term":2,"vote":1,"commit":9}`)),
		with("gap", "Each crc is right, but entries are missing before those of the last line.",
			resealed(`{"HardState":{"term":2,"vote":1,"commit":3},"LogEntries":{"prev":{"term":2,"index":8},"entries":[{"Empty":2}]}`)),
		with("committed-replaced", "Each crc is right, but committed entries are replaced.",
			resealed(`{"HardState":{"term":3,"vote":4,"commit":3},"LogEntries":{"prev":{"term":1,"index":1},"entries":[{"StartTerm":3}]}`)),
		with("two-identities", "Each crc is right, but the server would have two places.", resealed(`{"Identity":{"cluster_id":"c1","key":"k","node_id":7}`)),
	}
}

// resealed adds a line whose crc is right.
func resealed(body string) func([]byte) []byte {
	return func(file []byte) []byte {
		var bodies [][]byte
		for l := range bytes.Lines(file) {
			bodies = append(bodies, l[:bytes.LastIndex(l, []byte(`,"crc":`))])
		}
		return chained(append(bodies, []byte(body))...)
	}
}

func indentedLines(file []byte, indent string) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(file) {
		if err := json.Indent(&b, bytes.TrimSuffix(line, []byte("\n")), "", indent); err != nil {
			panic(err)
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func goldenIdentity(id uint64) *wire.Record {
	return &wire.Record{Identity: &wire.Identity{ClusterID: "c1" + strings.Repeat("0", 30), Key: "5ec4e7" + strings.Repeat("0", 58), NodeID: id}}
}

const goldenTime = 1_795_946_217_000 // Unix milliseconds

func goldenMember(id uint64) string {
	return fmt.Sprintf(`{"addr":"127.0.0.1:400%d","instance":"%s"}`, id, goldenInstance(map[uint64]string{1: "a", 4: "b", 9: "c"}[id]))
}

func goldenFounding() *wire.Record {
	r := goldenSnapshot(1, 1, []uint64{1}, nil)
	r.Snapshot.Time, r.Snapshot.Machines.User = 0, []byte(`{"Value":0}`)
	return r
}

func goldenSnapshot(term, index uint64, voters, learners []uint64) *wire.Record {
	var members []string
	for _, id := range slices.Concat(voters, learners) {
		members = append(members, fmt.Sprintf(`"%d":%s`, id, goldenMember(id)))
	}
	return &wire.Record{Snapshot: &wire.Snapshot{LastIncluded: id(term, index), Voters: voters, Learners: learners, Time: goldenTime,
		Machines: wire.Machines{
			System: fmt.Appendf(nil, `{"min_election_timeout_ms":300,"max_election_timeout_ms":2000,"members":{%s}}`, strings.Join(members, ",")),
			User:   []byte(`{"foo":[1,null,"s \u0000 \" ü"]}`),
		}}}
}

// goldenSessions is a snapshot with sessions.
func goldenSessions() *wire.Record {
	r := goldenSnapshot(2, 9, []uint64{1}, nil)
	system := bytes.TrimSuffix(r.Snapshot.Machines.System, []byte("}"))
	r.Snapshot.Machines.System = append(system, fmt.Sprintf(`,"sessions":[{"id":5,"ttl":1000,"last":%[1]d},{"id":7,"ttl":3600000,"last":%[1]d,"acked":2,"outcomes":[`+
		`{"seq":3,"at":{"index":8,"offset":0},"result":{"id":1,"user":"bob"}},{"seq":4,"at":{"index":8,"offset":1}},`+
		`{"seq":5,"at":{"index":9,"offset":0},"error":{"code":1001,"message":"no such key","data":["a","user",{"a":1,"user":2}]}}]}]}`, goldenTime)...)
	return r
}

// An entry's data, but for those without any.
const start, empty = "start", "empty"

func batch(seq int, command string) string {
	return fmt.Sprintf(`{"from":1,"boot":"b000000000000000","seq":%d,"time":%d,"commands":[%s]}`, seq, goldenTime+seq, command)
}

func put(seq, value int) string {
	return batch(seq, fmt.Sprintf(`{"Apply":{"Put":["foo",%d]}}`, value))
}

func add(id uint64) string { return batch(8, `{"AddServer":`+goldenMember(id)+`}`) }

func remove(id uint64) string {
	return batch(9, fmt.Sprintf(`{"RemoveServer":{"addr":"127.0.0.1:400%d"}}`, id))
}

func step(op raftpb.ConfChangeType, id uint64) string {
	data, err := proto.Marshal(wire.ConfChange(op, id))
	if err != nil {
		panic(err)
	}
	return string(data)
}

func goldenEntries(term, index uint64, datas ...string) *wire.LogEntries {
	run := &wire.LogEntries{Prev: id(term, index)}
	for _, data := range datas {
		index++
		e := &raftpb.Entry{Type: raftpb.EntryNormal.Enum(), Index: new(index)}
		switch {
		case data == start:
			term++
		case data == empty:
		case data[0] != '{':
			e.Type, e.Data = raftpb.EntryConfChangeV2.Enum(), []byte(data)
		default:
			e.Data = []byte(data)
		}
		e.Term = new(term)
		run.Entries = append(run.Entries, e)
	}
	return run
}
