package raftpico_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// insider speaks as a proven member that does as it likes.
type insider struct {
	t        *testing.T
	self     wire.Identity
	instance string
	addr     string
	target   *archivist
	to       peer.Name
	system   json.RawMessage
}

// playing is an insider that plays one member towards another: it knows what is in its file.
func playing(t *testing.T, self, target *archivist) *insider {
	t.Helper()
	p := &insider{t: t, addr: self.Addr(), target: target}
	_, err := storage.Inspect(storage.OS, self.opts.File, func(l *storage.Line) error {
		if r := l.Record; r != nil && r.Header != nil {
			p.instance = r.Header.Instance
		}
		if r := l.Record; r != nil && r.Identity != nil {
			p.self = *r.Identity
		}
		return nil
	})
	require.NoError(t, err)
	p.system = whole(t, target.Server).Machines.System
	return p
}

// connect proves it over a new connection.
func (p *insider) connect() *client {
	p.t.Helper()
	c := dial(p.t, p.target.Server)
	p.hello(c)
	return c
}

func (p *insider) hello(c *client) {
	p.t.Helper()
	var who struct{ Result peer.HelloAnswer }
	require.NoError(p.t, json.Unmarshal([]byte(p.say(c, peer.MethodHello, peer.Hello{Protocol: peer.Protocol})), &who))
	p.to = peer.Name{ID: who.Result.NodeID, Instance: who.Result.Instance}
	h := peer.Hello{Protocol: peer.Protocol, ClusterID: p.self.ClusterID, To: p.to,
		From: peer.Name{ID: p.self.NodeID, Instance: p.instance, Addr: p.addr}, Nonce: peer.NewNonce()}
	require.NoError(p.t, json.Unmarshal([]byte(p.say(c, peer.MethodHello, h)), &who))
	require.Equal(p.t, done, p.say(c, peer.MethodProve, peer.Prove{MAC: peer.MAC(p.self.Key, peer.Dialling, &h, who.Result.Nonce)}))
}

// done is the answer to a step that was taken.
var done = result("1", "{}")

// line is a request of a transfer.
func (p *insider) line(method string, params any) string {
	p.t.Helper()
	b, err := wire.Marshal(params)
	require.NoError(p.t, err)
	return request("1", method, string(b))
}

func (p *insider) say(c *client, method string, params any) string {
	p.t.Helper()
	return c.ask(p.line(method, params))
}

// offer is a MsgSnap of a snapshot so far beyond what the target has committed.
func (p *insider) offer(beyond uint64) *wire.Message {
	p.t.Helper()
	state, err := p.target.State(p.t.Context(), false)
	require.NoError(p.t, err)
	term := state.Term + 1
	return &wire.Message{From: p.self.NodeID, To: p.to.ID, Raft: &raftpb.Message{Type: raftpb.MsgSnap.Enum(), Term: &term},
		Snapshot: &wire.Snapshot{LastIncluded: wire.EntryID{Term: term, Index: state.CommitIndex + beyond}, Voters: []uint64{p.self.NodeID, p.to.ID},
			Learners: []uint64{}, Time: 1, Machines: wire.Machines{System: p.system}}}
}

func (p *insider) announce(c *client, m *wire.Message, bytes int) string {
	p.t.Helper()
	return p.say(c, peer.MethodSnapshot, p.announcement(m, bytes))
}

func (p *insider) announcement(m *wire.Message, bytes int) peer.Snapshot {
	p.t.Helper()
	b, err := wire.AppendMessage(nil, m)
	require.NoError(p.t, err)
	return peer.Snapshot{Message: b, Bytes: int64(bytes)}
}

func (p *insider) chunk(c *client, data string) string {
	p.t.Helper()
	return p.say(c, peer.MethodChunk, peer.Chunk{Data: []byte(data)})
}

func crcOf(data string) peer.Install {
	return peer.Install{CRC: crc32.Checksum([]byte(data), peer.Castagnoli)}
}

const refused = `"error":{"code":`

func TestHostileMemberCantHarmByATransfer(t *testing.T) {
	t.Parallel()
	a, b := pair(t, false)
	a.fill(t, 5, 100)
	sum := b.sum(t)
	await(t, func() bool { sum = b.sum(t); return sum == a.sum(t) })
	p := playing(t, a, b)
	require.NoError(t, a.Close())
	c := p.connect()
	good := `["a","b"]`
	unharmed := func(about string) {
		t.Helper()
		b.gone(t)
		require.Equal(t, sum, b.sum(t), about)
		c.silent()
	}

	for range 2 {
		failed(t, p.chunk(c, good), -32602)
		failed(t, p.say(c, peer.MethodInstall, crcOf(good)), -32602)
	}
	unharmed("steps without a beginning")

	change := func(f func(m *wire.Message)) *wire.Message {
		m := p.offer(50)
		f(m)
		return m
	}
	for name, m := range map[string]*wire.Message{
		"from another":      change(func(m *wire.Message) { m.From = 77 }),
		"to another":        change(func(m *wire.Message) { m.To = 77 }),
		"an old term":       change(func(m *wire.Message) { *m.Raft.Term = 1; m.Snapshot.LastIncluded.Term = 1 }),
		"a term far away":   change(func(m *wire.Message) { *m.Raft.Term = 1 << 60 }),
		"an old index":      change(func(m *wire.Message) { m.Snapshot.LastIncluded.Index -= 50 }),
		"no index":          change(func(m *wire.Message) { m.Snapshot.LastIncluded.Index = 0 }),
		"an index too far":  change(func(m *wire.Message) { m.Snapshot.LastIncluded.Index = 1 << 63 }),
		"a newer term":      change(func(m *wire.Message) { m.Snapshot.LastIncluded.Term++ }),
		"no voters":         change(func(m *wire.Message) { m.Snapshot.Voters = nil }),
		"a voter twice":     change(func(m *wire.Message) { m.Snapshot.Voters = []uint64{1, 1} }),
		"no member list":    change(func(m *wire.Message) { m.Snapshot.Machines.System = json.RawMessage(`{}`) }),
		"a list of another": change(func(m *wire.Message) { m.Snapshot.Machines.System = json.RawMessage(`[1]`) }),
		"a heartbeat":       change(func(m *wire.Message) { m.Raft.Type = raftpb.MsgHeartbeat.Enum() }),
	} {
		require.Contains(t, p.announce(c, m, len(good)), refused, name)
		require.Contains(t, p.chunk(c, good), refused, name)
		unharmed(name)
	}
	for _, params := range []string{`{}`, `[]`, `5`, `{"message":{},"bytes":1}`, `{"message":{"type":"MsgSnap","term":9},"bytes":1}`, `{"message":null}`,
		`{"message":{"type":"Propose","boot":"a","commands":[]},"bytes":1}`, `{"bytes":"x"}`} {
		require.Contains(t, c.ask(request("1", peer.MethodSnapshot, params)), refused, params)
	}
	unharmed("announcements that are none")

	for name, sent := range map[string]struct {
		chunks []string
		bytes  int
		crc    uint32
	}{
		"fewer bytes":   {[]string{good}, len(good) + 1, 0},
		"more bytes":    {[]string{good}, len(good) - 1, 0},
		"less than no":  {[]string{good}, -1, 0},
		"a wrong crc":   {[]string{good}, len(good), 1},
		"nothing":       {nil, 0, 0},
		"empty chunks":  {[]string{"", ""}, 0, 0},
		"no JSON":       {[]string{"nonsense"}, 8, 0},
		"half":          {[]string{`["a`, `"`}, 4, 0},
		"two values":    {[]string{"[]", "[]"}, 4, 0},
		"no UTF-8":      {[]string{"[\"\xff\"]"}, 5, 0},
		"a newline":     {[]string{"[\"\n\"]"}, 5, 0},
		"too deep":      {[]string{strings.Repeat("[", 1<<20)}, 1 << 20, 0},
		"another state": {[]string{`{"no":"list"}`}, 13, 0}, // which the machine refuses
	} {
		require.Equal(t, done, p.announce(c, p.offer(50), sent.bytes), name)
		last := done
		for _, data := range sent.chunks {
			if last = p.chunk(c, data); last != done {
				require.Contains(t, last, refused)
				break
			}
		}
		if last == done {
			install := crcOf(strings.Join(sent.chunks, ""))
			install.CRC += sent.crc
			require.Contains(t, p.say(c, peer.MethodInstall, install), refused, name)
		}
		unharmed(name)
	}
	for _, params := range []string{`{"data":"*"}`, `{"data":"YQ==","data":"YQ=="}`, `[]`, `{"data":"\u0059Q=="}`} {
		require.Equal(t, done, p.announce(c, p.offer(50), 1))
		require.Contains(t, c.ask(request("1", peer.MethodChunk, params)), refused, params)
		unharmed(params)
	}
	require.Equal(t, done, p.announce(c, p.offer(50), len(good)))
	require.Contains(t, c.ask(request("1", peer.MethodInstall, `["now"]`)), refused)
	unharmed("an Install that is none")

	require.Equal(t, done, p.announce(c, p.offer(50), len(good)))
	require.Equal(t, done, p.chunk(c, good))
	p.hello(c)
	failed(t, p.chunk(c, good), -32602)
	unharmed("a Hello in the middle")

	for steps := range 3 { // and then the connection is lost, with a reset or not
		d := p.connect()
		require.Equal(t, done, p.announce(d, p.offer(50), len(good)))
		for range steps {
			require.Equal(t, done, p.chunk(d, ` `))
		}
		if steps == 1 {
			require.NoError(t, d.Conn.(*net.TCPConn).SetLinger(0))
		}
		require.NoError(t, d.Close())
		unharmed("a connection that is lost")
	}

	require.Equal(t, done, p.announce(c, change(func(m *wire.Message) { m.Snapshot.Voters = []uint64{1} }), len(good)))
	require.Equal(t, done, p.chunk(c, good))
	require.Contains(t, p.say(c, peer.MethodInstall, crcOf(good)), refused, "the library ignores what does not name us")
	unharmed("a configuration without the target")

	a.start(t) // with the file as it was
	_, err := b.Apply(t.Context(), machine.Command, "more")
	for errors.Is(err, raftpico.ErrRejected) || errors.Is(err, raftpico.ErrNoLeader) {
		_, err = b.Apply(t.Context(), machine.Command, "more")
	}
	require.NoError(t, err)
	await(t, func() bool { return a.sum(t) == b.sum(t) })
	b.restart(t)
	await(t, func() bool { return a.sum(t) == b.sum(t) })
}

// One at a time: the newer transfer supersedes the older one, whose sender is told.
func TestTwoTransfersAtOnce(t *testing.T) {
	t.Parallel()
	a, b := pair(t, false)
	p := playing(t, a, b)
	require.NoError(t, a.Close())
	first, second := p.connect(), p.connect()
	older, newer := p.offer(50), p.offer(60)
	require.Equal(t, done, p.announce(first, older, 5))
	require.Equal(t, done, p.chunk(first, `["a`))
	require.Equal(t, done, p.announce(second, newer, 5))
	require.Equal(t, done, p.chunk(second, `["b`))
	require.Equal(t, done, p.chunk(first, `"]`), "it writes into a file without a name")
	require.Contains(t, p.say(first, peer.MethodInstall, crcOf(`["a"]`)), refused)
	require.Equal(t, done, p.chunk(second, `"]`))
	require.Equal(t, done, p.say(second, peer.MethodInstall, crcOf(`["b"]`)))
	failed(t, p.say(second, peer.MethodInstall, crcOf(`["b"]`)), -32602)
	failed(t, p.chunk(second, `x`), -32602)
	want := fmt.Sprintf(`"1 inputs, %08x"`, crc32.Checksum([]byte(`"b"`), peer.Castagnoli))
	require.Equal(t, want, b.sum(t))
	require.Contains(t, p.announce(first, older, 5), refused, "it is old by now")
	b.gone(t)
	b.restart(t)
	require.Equal(t, want, b.sum(t))
	require.NoError(t, b.Close())
	b.m.check(t)
}

// The last piece of one transfer and the first of another may reach the loop in the same turn.
func TestTransferThatBeginsAsAnotherEndsHarmsNothing(t *testing.T) {
	a, b := pair(t, false)
	p := playing(t, a, b)
	require.NoError(t, a.Close())
	first, second := p.connect(), p.connect()
	older, newer := p.offer(50), p.offer(60)
	require.Equal(t, done, p.announce(first, older, 5))
	require.Equal(t, done, p.chunk(first, `["a"]`))
	g := newGate(t)
	b.m.nextHold.Store(g)
	go func() { _, _ = b.Apply(context.Background(), machine.LocalQuery, "hold") }() // ends when the gate is open
	g.await(t)                                                                       // the loop takes nothing more
	loads := b.m.loaded()
	first.send(p.line(peer.MethodInstall, crcOf(`["a"]`)))
	await(t, func() bool {
		return b.m.loaded() > loads && goroutines("front.(*session).install(") > 0 && goroutines("loop.(*Reception).load(") == 0
	})
	second.send(p.line(peer.MethodSnapshot, p.announcement(newer, 5)))
	await(t, func() bool { return goroutines("front.(*Front).beginReception(") > 0 })
	g.open()
	first.line() // one of them may be refused
	second.line()
	if _, err := b.State(t.Context(), false); err != nil {
		require.NoError(t, b.Wait(), "the server has failed")
	}
	b.restart(t)
}

// What was not announced is refused before it has filled the disk.
func TestTransferOfMoreThanWasAnnouncedIsRefused(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{"text": strings.Repeat("x", 1<<20), "white space": strings.Repeat(" ", 1<<20)} {
		for _, inMemory := range []bool{false, true} {
			a, b := pair(t, inMemory)
			p := playing(t, a, b)
			require.NoError(t, a.Close())
			c := p.connect()
			require.Equal(t, done, p.announce(c, p.offer(50), 100))
			if name == "text" {
				p.chunk(c, `["`)
			}
			answer := done
			for i := 0; i < 8 && answer == done; i++ {
				answer = p.chunk(c, data)
			}
			require.Contains(t, answer, refused, "8 MiB of %s were taken where 100 bytes were announced; in memory: %v", name, inMemory)
		}
	}
}

// A reception that was superseded leaves nothing open when the server is closed.
func TestSupersededTransferLeavesNoFileOpen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	a, b := pair(t, false)
	p := playing(t, a, b)
	require.NoError(t, a.Close())
	for i := range 3 {
		c := p.connect()
		require.Equal(t, done, p.announce(c, p.offer(50+uint64(i)), 100))
		require.Equal(t, done, p.chunk(c, `["a`))
	}
	require.NoError(t, b.Close())
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, fd := range fds {
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil {
			require.NotContains(t, name, filepath.Dir(b.opts.File))
		}
	}
}
