package peer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	local = Local{Identity: wire.Identity{ClusterID: "c1", Key: "secret", NodeID: 1}, Instance: "i1", Addr: "a:1"}
	other = Name{ID: 5, Instance: "i5", Addr: "b:1"}
)

// acceptor is the other server of these tests. Its functions are called in the order of a handshake.
type acceptor struct {
	instance  string
	clusterID string // empty: it belongs to none until it is told
	nodeID    uint64
	key       string
	prove     func(valid bool) error // answers Prove
	deaf      bool                   // answers no pings

	mu       sync.Mutex // connections come one after the other, but by several goroutines
	joined   *Join
	heard    []string // methods
	messages []string
	snapshot []string // of transfers: what was announced, and the crc; the state is in between
	state    []byte
	pongs    []Pong // as the link told of them
	refuse   string // a method that is answered with an error
	mute     string // one that is never answered
}

// serve answers one connection until it ends.
func (a *acceptor) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 8<<20)
	answers := make(chan []byte, 100) // a pipe has no buffer, and a dialler may not be reading
	defer close(answers)
	go func() {
		for out := range answers {
			if _, err := conn.Write(out); err != nil {
				conn.Close()
			}
		}
	}()
	var hello Hello
	var nonce string
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		request, err := jsonrpc.ParseRequest(line)
		if err != nil {
			return
		}
		a.mu.Lock()
		a.heard = append(a.heard, strings.TrimPrefix(request.Method, "raftpico."))
		var result any = struct{}{}
		var failure error
		switch request.Method {
		case MethodHello:
			hello = Hello{}
			if failure = json.Unmarshal(request.Params, &hello); failure != nil {
				break
			}
			nonce = NewNonce()
			answer := &HelloAnswer{Protocol: Protocol, Instance: a.instance, ClusterID: a.clusterID, NodeID: a.nodeID}
			if a.clusterID != "" {
				answer.Nonce, answer.MAC = nonce, MAC(a.key, Accepting, &hello, nonce)
			}
			result = answer
		case MethodJoin:
			a.joined = new(Join)
			failure = json.Unmarshal(request.Params, a.joined)
			a.clusterID, a.nodeID, a.key = a.joined.Identity.ClusterID, a.joined.Identity.NodeID, a.joined.Identity.Key
		case MethodProve:
			var p Prove
			if failure = json.Unmarshal(request.Params, &p); failure == nil && a.prove != nil {
				failure = a.prove(ValidMAC(p.MAC, MAC(a.key, Dialling, &hello, nonce)))
			}
		case MethodPing:
			if a.deaf {
				a.mu.Unlock()
				continue
			}
			result = &Pong{LogBytes: 7, SnapshotBytes: 3}
		case MethodSnapshot, MethodInstall:
			a.snapshot = append(a.snapshot, string(request.Params))
		case MethodChunk:
			var c Chunk
			failure = json.Unmarshal(request.Params, &c)
			a.state = append(a.state, c.Data...)
		case MethodMessage:
			a.messages = append(a.messages, string(request.Params))
			a.mu.Unlock()
			continue
		}
		if request.Method == a.refuse {
			failure = jsonrpc.ErrInternal
		}
		a.mu.Unlock()
		if request.Method == a.mute {
			continue
		}
		var out []byte
		if failure != nil {
			e, ok := failure.(*jsonrpc.Error)
			if !ok {
				e = jsonrpc.ErrInvalidParams
			}
			out = jsonrpc.AppendError(nil, request.ID, e)
		} else {
			encoded, _ := wire.Marshal(result)
			out = jsonrpc.AppendResult(nil, request.ID, encoded)
		}
		answers <- append(out, '\n')
	}
}

func (a *acceptor) pong(p Pong) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pongs = append(a.pongs, p)
}

// run keeps a link to an acceptor for a while of virtual time, and returns what happened to it.
func run(t *testing.T, a *acceptor, d time.Duration, during func(*Link)) (events []Event) {
	synctest.Test(t, func(t *testing.T) {
		dial := func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go a.serve(there) // ends with the connection
			return here, nil
		}
		var mu sync.Mutex
		l := Start(Options{Pong: func(_ *Link, p Pong) { a.pong(p) }, Local: local, Dial: dial, MaxQueue: 1000, Event: func(_ *Link, what Event) { mu.Lock(); defer mu.Unlock(); events = append(events, what) },
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}, Target{Name: other})
		time.Sleep(d) // virtual
		synctest.Wait()
		if during != nil {
			during(l)
			synctest.Wait()
		}
		l.Close()
		synctest.Wait()
	})
	return events
}

func vote(term uint64) *wire.Message {
	m, err := wire.DecodeMessage([]byte(`{"type":"MsgVote","from":1,"to":5,"term":` + json.Number(strings.Repeat("1", int(term))).String() + `}`))
	if err != nil {
		panic(err)
	}
	return m
}

func TestLinkIntroducesItselfAndSendsInOrder(t *testing.T) {
	a := &acceptor{instance: "i5", clusterID: "c1", nodeID: 5, key: "secret", prove: func(valid bool) error {
		if !valid {
			return jsonrpc.ErrInvalidParams
		}
		return nil
	}}
	events := run(t, a, 10*time.Second, func(l *Link) {
		require.True(t, l.Send(vote(1)))
		require.True(t, l.Send(vote(2)))
		l.Flush()
	})
	require.Equal(t, []Event{Up, Down}, events)
	require.Equal(t, []string{"Hello", "Prove", "Ping"}, a.heard[:3])
	require.Equal(t, []string{`{"type":"MsgVote","from":1,"to":5,"term":1}`, `{"type":"MsgVote","from":1,"to":5,"term":11}`}, a.messages)
}

func TestServerWithoutAClusterIsToldItsPlace(t *testing.T) {
	a := &acceptor{instance: "i5"}
	require.Equal(t, []Event{Up, Down}, run(t, a, time.Second, nil))
	require.Equal(t, &Join{Identity: wire.Identity{ClusterID: "c1", Key: "secret", NodeID: 5}, Instance: "i5"}, a.joined)
	require.Equal(t, []string{"Hello", "Join", "Hello", "Prove"}, a.heard[:4])
}

func TestWhoIsNotTheOneMeantIsToldNothing(t *testing.T) {
	for name, a := range map[string]*acceptor{
		"another instance, in the cluster":   {instance: "other", clusterID: "c1", nodeID: 5, key: "secret"},
		"another instance, without one":      {instance: "other"}, // the file was deleted: it must not get the id
		"another cluster":                    {instance: "i5", clusterID: "c2", nodeID: 5, key: "secret"},
		"another id":                         {instance: "i5", clusterID: "c1", nodeID: 6, key: "secret"},
		"one that does not know the key":     {instance: "i5", clusterID: "c1", nodeID: 5, key: "guess"},
		"one that says we were removed, but": {instance: "i5", clusterID: "c1", nodeID: 5, key: "guess", prove: func(bool) error { return ErrRemoved }},
	} {
		t.Run(name, func(t *testing.T) {
			require.Empty(t, run(t, a, 5*time.Second, nil))
			require.NotContains(t, a.heard, "Prove", "a proof is only for who has proved himself")
			require.Nil(t, a.joined, "the key is only for the instance meant")
			require.Greater(t, len(a.heard), 5, "it tries again")
			require.Less(t, len(a.heard), 30, "but not in a hurry")
		})
	}
}

func TestRemovalIsBelievedFromAMember(t *testing.T) {
	a := &acceptor{instance: "i5", clusterID: "c1", nodeID: 5, key: "secret", prove: func(bool) error { return ErrRemoved }}
	require.Contains(t, run(t, a, time.Second, nil), Removed)
	a.prove = func(bool) error { return &jsonrpc.Error{Code: 102, Message: "Not a cluster member"} }
	require.Empty(t, run(t, a, time.Second, nil), "the code alone does not say it")
}

func TestPongsAreTold(t *testing.T) {
	a := &acceptor{instance: "i5", clusterID: "c1", nodeID: 5, key: "secret"}
	require.Equal(t, []Event{Up, Down}, run(t, a, 3500*time.Millisecond, nil))
	require.Equal(t, []Pong{{LogBytes: 7, SnapshotBytes: 3}, {LogBytes: 7, SnapshotBytes: 3}, {LogBytes: 7, SnapshotBytes: 3}}, a.pongs)
}

func TestSilentConnectionIsGivenUp(t *testing.T) {
	a := &acceptor{instance: "i5", clusterID: "c1", nodeID: 5, key: "secret", deaf: true}
	events := run(t, a, 9*time.Second, nil)
	require.Equal(t, []Event{Up, Down, Up, Down}, events, "given up after 5 s, and dialled anew")
}

// held is a state that tells whether it was closed.
type held struct {
	*bytes.Reader
	closed *atomic.Int32
}

func (h held) Close() error { h.closed.Add(1); return nil }

func snapshotMessage(t *testing.T) *wire.Message {
	m, err := wire.DecodeMessage([]byte(`{"type":"MsgSnap","from":1,"to":5,"term":2,"snapshot":{"last_included":{"term":1,"index":7},"voters":[1],"learners":[5],"time":3,"machines":{"system":{"a":1}}}}`))
	require.NoError(t, err)
	return m
}

func TestSnapshotTravelsInChunksOverAConnectionOfItsOwn(t *testing.T) {
	state := make([]byte, 7*chunkSize+123)
	_, _ = rand.NewChaCha8([32]byte{}).Read(state)
	m, closed := snapshotMessage(t), new(atomic.Int32)
	a := &acceptor{instance: "i5", clusterID: "c1", nodeID: 5, key: "secret"}
	events := run(t, a, 500*time.Millisecond, func(l *Link) {
		require.True(t, l.SendSnapshot(m, held{bytes.NewReader(state), closed}))
		require.True(t, l.SendSnapshot(m, held{bytes.NewReader(state), closed}), "it is the one that is under way")
		for _, change := range []func(*wire.Message){
			func(m *wire.Message) { m.Snapshot.LastIncluded.Index++ },
			func(m *wire.Message) { m.Raft.Term = new(uint64(3)) },
		} {
			other := snapshotMessage(t)
			change(other)
			require.False(t, l.SendSnapshot(other, held{bytes.NewReader(state), closed}), "one at a time")
		}
		require.True(t, l.Send(vote(1)))
		time.Sleep(time.Second) // virtual
		synctest.Wait()
		require.Equal(t, string(state), string(a.state))
		require.Equal(t, []string{
			fmt.Sprintf(`{"message":{"type":"MsgSnap","from":1,"to":5,"term":2,"snapshot":{"last_included":{"term":1,"index":7},"voters":[1],"learners":[5],"time":3,"machines":{"system":{"a":1}}}},"bytes":%d}`, len(state)),
			fmt.Sprintf(`{"crc":%d}`, crc32.Checksum(state, Castagnoli)),
		}, a.snapshot)
		require.True(t, l.SendSnapshot(m, held{bytes.NewReader(nil), closed}), "the first is through")
		time.Sleep(time.Second) // virtual
		synctest.Wait()
	})
	require.Equal(t, []Event{Up, Delivered, Delivered, Down}, events)
	require.Len(t, a.messages, 1)
	require.EqualValues(t, 5, closed.Load())
	require.Equal(t, []string{"Hello", "Prove", "Hello", "Prove"}, slices.DeleteFunc(a.heard, func(m string) bool { return m != "Hello" && m != "Prove" })[:4])
}

func TestLostSnapshotIsReported(t *testing.T) {
	for _, refuse := range []string{MethodProve, MethodSnapshot, MethodChunk, MethodInstall} {
		a, closed := &acceptor{instance: "i5", clusterID: "c1", nodeID: 5, key: "secret"}, new(atomic.Int32)
		events := run(t, a, 500*time.Millisecond, func(l *Link) {
			a.refuse = refuse
			require.True(t, l.SendSnapshot(snapshotMessage(t), held{bytes.NewReader(make([]byte, 9*chunkSize)), closed}))
			time.Sleep(time.Second) // virtual
			synctest.Wait()
		})
		require.Equal(t, []Event{Up, Lost, Down}, events, refuse)
		require.EqualValues(t, 1, closed.Load())
	}
}

func TestSnapshotEndsWithItsLink(t *testing.T) {
	a, closed := &acceptor{instance: "i5", clusterID: "c1", nodeID: 5, key: "secret", deaf: true, mute: MethodInstall}, new(atomic.Int32)
	events := run(t, a, 500*time.Millisecond, func(l *Link) {
		require.True(t, l.SendSnapshot(snapshotMessage(t), held{bytes.NewReader(nil), closed}))
		time.Sleep(7 * time.Second) // virtual: pings are not answered, the link is given up
		synctest.Wait()
		require.EqualValues(t, 1, closed.Load())
	})
	require.ElementsMatch(t, []Event{Up, Down, Lost}, events[:3])
}

func TestFullQueueTakesNothingAndDeadLinkDropsIt(t *testing.T) {
	l := &Link{opts: Options{MaxQueue: 1000}, wake: make(chan struct{}, 1)}
	require.False(t, l.Send(vote(1)), "no connection yet")
	l.setUp(t.Context(), nil, "", new(exchange))
	taken := 0
	for l.Send(vote(1)) {
		taken++
	}
	require.Equal(t, 3, taken, "of 256 bytes each")
	l.setDown()
	l.setUp(t.Context(), nil, "", new(exchange))
	require.Empty(t, l.queue, "nothing is sent over two connections")
	big := vote(1)
	big.Propose = &wire.Propose{Encoded: make([]byte, 5000)}
	require.True(t, l.Send(big), "alone, a message of any size is taken")
}

// TestBytesBeingWrittenCount: a peer that takes nothing holds MaxQueue bytes here, and not as many again in the writer's hands.
func TestBytesBeingWrittenCount(t *testing.T) {
	l := &Link{opts: Options{MaxQueue: 4 * maxWrite}, wake: make(chan struct{}, 1)}
	l.setUp(t.Context(), nil, "", new(exchange))
	queue := func() (n int) {
		m := vote(1)
		for m.Propose = (&wire.Propose{Encoded: make([]byte, maxWrite/2)}); l.Send(m); n++ {
		}
		return n
	}
	require.Equal(t, 7, queue(), "a message is a little more than half of maxWrite")
	_, messages := l.take(false)
	require.Len(t, messages, 2)
	require.Equal(t, 2, queue())
	for left := 7; left > 0; left -= len(messages) {
		_, messages = l.take(false)
		require.NotEmpty(t, messages)
	}
	require.Zero(t, l.queued)
	require.True(t, l.writing)
	_, messages = l.take(false)
	require.Empty(t, messages)
	require.False(t, l.writing)
}

func TestProbeTellsWhoIsThere(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(net.Conn)
		want  string
	}{
		"a server": {(&acceptor{instance: "i5"}).serve, ""},
		"a web server": {func(c net.Conn) {
			go io.Copy(io.Discard, c)
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			c.Close()
		}, "none of this protocol"},
		"one that hangs up":  {func(c net.Conn) { c.Close() }, "peer: "},
		"one that is silent": {func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, "was not answered"},
		"one that floods": {func(c net.Conn) {
			go io.Copy(io.Discard, c)
			for {
				if _, err := c.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}, "longer than"},
		"another JSON-RPC": {(&stranger{}).serve, "Method not found"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				a, err := Probe(ctx, func(context.Context, string, string) (net.Conn, error) {
					here, there := net.Pipe()
					go c.serve(there) // ends with the connection
					return here, nil
				}, nil, "b:1")
				if c.want == "" {
					require.NoError(t, err)
					require.Equal(t, "i5", a.Instance)
				} else {
					require.EqualError(t, err, "no raftpico server answers there; why, the log of the server asked tells")
					require.ErrorContains(t, errors.Unwrap(err), c.want)
				}
			})
		})
	}
	_, err := Probe(t.Context(), func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") }, nil, "b:1")
	require.EqualError(t, err, "nobody can be reached there")
	require.ErrorContains(t, errors.Unwrap(err), "refused")
}

// stranger speaks JSON-RPC, and none of our methods.
type stranger struct{}

func (*stranger) serve(c net.Conn) {
	in := bufio.NewReader(c)
	if _, err := in.ReadSlice('\n'); err == nil {
		_, _ = c.Write(append(jsonrpc.AppendError(nil, json.RawMessage("0"), jsonrpc.ErrMethodNotFound), '\n'))
	}
	c.Close()
}

// A reason that changes with each try only in its numbers, such as a port or a time of day, is logged once.
func TestLinkLogsEachReasonOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var tries atomic.Int64
		l := Start(Options{
			Local: local, MaxQueue: 1000, Event: func(*Link, Event) {},
			Dial: func(context.Context, string, string) (net.Conn, error) {
				n := tries.Add(1)
				if n > 20 {
					return nil, errors.New("nobody is there")
				}
				return nil, fmt.Errorf("read tcp 127.0.0.1:%d->127.0.0.1:4000: connection reset by peer", 40000+n)
			},
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		}, Target{Name: other})
		time.Sleep(30 * time.Second) // virtual
		l.Close()
		synctest.Wait()
		require.Greater(t, tries.Load(), int64(20))
		require.Equal(t, 2, strings.Count(log.String(), "no link"), log.String())
	})
}
