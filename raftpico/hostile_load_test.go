package raftpico_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico"
)

// heap is how many bytes are in use, roughly.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func TestManyBadLinesAreAnsweredOneByOne(t *testing.T) {
	t.Parallel()
	s := kvsCluster(t, 1, nil)[0]
	c := dial(t, s)
	require.Equal(t, result(`"good"`, "[]"), c.ask(list)) // what begins otherwise is closed
	const n = 100_000
	go func() { // ends when all is sent, or the connection is closed
		_, _ = io.WriteString(c, strings.Repeat("?\n", n)+list)
	}()
	want := c.line()
	failed(t, want, -32700)
	for range n - 1 {
		if got := c.line(); got != want {
			require.Equal(t, want, got)
		}
	}
	require.Equal(t, result(`"good"`, "[]"), c.line())
	c.silent()
	well(t, s)
}

func TestClientThatSendsAndNeverReads(t *testing.T) {
	servers := kvsCluster(t, 3, func(o *raftpico.Options) {
		o.Limits = raftpico.Limits{MaxUnsent: 4 << 20, MaxUnderway: 1000, Budget: 16 << 20}
	})
	dial(t, servers[0]).ask(apply("1", "Command", `{"Put":["big","`+strings.Repeat("x", 4<<10)+`"]}`))
	before := heap()
	var sent atomic.Int64
	var stops []func()
	for _, s := range servers {
		stops = append(stops, flood(t, s, &sent, apply("1", "LocalQuery", `{"Get":"big"}`)+apply("2", "Query", `{"Get":"big"}`)+apply("3", "Command", `{"Put":["x",1]}`)))
	}
	waitFor(t, func() bool { return sent.Load() > 5000 }) // their answers are 40 MB
	well(t, servers...)
	require.Less(t, heap()-before, 3*(16+16)<<20, "the budget of each server, and what else there is")
	for _, stop := range stops {
		stop()
	}
	well(t, servers...)
}

// flood sends lines without end and reads no answer. It counts how often it has, and returns what ends it.
func flood(t *testing.T, s *raftpico.Server, sent *atomic.Int64, lines string) (stop func()) {
	c := dial(t, s)
	done := make(chan struct{})
	go func() { // ends when its connection is closed, by the server or by stop
		defer close(done)
		hundred := strings.Repeat(lines, 100)
		for {
			if _, err := io.WriteString(c, hundred); err != nil {
				return
			}
			sent.Add(100)
		}
	}()
	return func() {
		_ = c.Close()
		<-done
	}
}

// The loop goes on ticking and hearing the others, whatever one client asks for: the leader stays the leader.
func TestFloodOfLargeAnswersStallsNobody(t *testing.T) {
	t.Parallel()
	servers := startKVS(t, 3, func(o *raftpico.Options) { o.Limits.MaxUnderway = 2000 })
	joinAll(t, servers, calm)
	dial(t, servers[0]).ask(apply("1", "Command", `{"Put":["big","`+strings.Repeat("x", 64<<10)+`"]}`))
	for _, kind := range []string{"LocalQuery", "Query"} {
		kept := false
		for attempt := 0; attempt < 3 && !kept; attempt++ { // the machine may stall by itself, but not each time
			leader := leaderOf(t, servers)
			term := string(state(t, leader, `[false]`)["current_term"])
			var sent atomic.Int64
			stop := flood(t, leader, &sent, apply("1", kind, `{"Get":"big"}`))
			waitFor(t, func() bool { return sent.Load() > 1000 })
			well(t, servers...)
			stop()
			kept = string(state(t, leader, `[false]`)["current_term"]) == term
		}
		require.True(t, kept, "the leader was lost in each flood of %s", kind)
	}
}

func TestClientThatClosesWithAnswersUnread(t *testing.T) {
	t.Parallel()
	servers := kvsCluster(t, 3, nil)
	for i := range 60 {
		c := dial(t, servers[i%3])
		c.send(strings.Repeat(list+apply("1", "Command", fmt.Sprintf(`{"Put":["k",%d]}`, i))+"nonsense\n"+request("2", "GetServerState", ""), 50))
		if i%2 == 0 {
			require.NoError(t, c.Conn.(*net.TCPConn).SetLinger(0)) // a reset
		}
		if i%4 > 1 {
			c.line() // the server is at its answers
		}
		require.NoError(t, c.Close())
	}
	well(t, servers...)
}

// What a handshake makes a server remember is no way around its budget.
func TestHugeHandshakesAreNotKept(t *testing.T) {
	s := kvsCluster(t, 1, nil)[0]
	var who struct {
		Result struct {
			Instance  string `json:"instance"`
			ClusterID string `json:"cluster_id"`
			NodeID    uint64 `json:"node_id"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(dial(t, s).ask(request("1", "raftpico.Hello", `{"protocol":1}`))), &who))
	before := heap()
	huge := strings.Repeat("0", 2<<20)
	for _, format := range []string{
		`{"protocol":1,"cluster_id":"%[1]s","to":{"id":%[2]d,"instance":"%[3]s"},"nonce":"%[4]s"}`,
		`{"protocol":1,"cluster_id":"%[1]s","to":{"id":%[2]d,"instance":"%[3]s"},"nonce":"00","from":{"id":9,"instance":"%[4]s","addr":"127.0.0.1:1"}}`,
		`{"protocol":1,"cluster_id":"%[1]s","to":{"id":%[2]d,"instance":"%[3]s"},"nonce":"00","from":{"id":9,"instance":"a","addr":"%[4]s"}}`,
		`{"protocol":1,"cluster_id":"%[1]s","to":{"id":%[2]d,"instance":"%[3]s","addr":"%[4]s"},"nonce":"00"}`,
	} {
		hello := request("1", "raftpico.Hello", fmt.Sprintf(format, who.Result.ClusterID, who.Result.NodeID, who.Result.Instance, huge))
		for range 8 {
			dial(t, s).ask(hello) // refused or not; the connection stays open
		}
		require.Less(t, heap()-before, 10<<20, "%.300s", format)
	}
	well(t, s)
}

func TestLineLongerThanTheLimit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		max, limit int
		endings    []string
	}{{"of options", 64 << 10, 64 << 10, []string{"\n", "", "\n" + list}}, {"by default", 16 << 20, 0, []string{""}}} {
		t.Run(tt.name, func(t *testing.T) {
			s := kvsCluster(t, 1, func(o *raftpico.Options) { o.Limits.MaxLine = tt.limit })[0]
			max := tt.max
			frame := len(apply("1", "Command", `{"Put":["k",""]}`)) - 1
			c := dial(t, s)
			require.Equal(t, result("1", "null"), c.ask(apply("1", "Command", `{"Put":["k","`+strings.Repeat("x", max-frame)+`"]}`)), "the longest")
			require.Equal(t, result("1", "null"), c.ask(apply("1", "Command", `{"Put":["l",1]}`)))

			for _, ending := range tt.endings {
				c := dial(t, s)
				_, err := io.WriteString(c, list+apply("1", "Command", `{"Put":["k","`+strings.Repeat("x", max)+`"]}`)[:max+2]+ending)
				require.NoError(t, err)
				good, bad := 0, 0
				for {
					line, err := c.readLine()
					if err != nil {
						require.False(t, errors.Is(err, net.ErrClosed) || isTimeout(err), "the server did not close the connection: %v", err)
						break
					}
					if strings.Contains(line, `"id":"good","result":`) {
						good++
					} else {
						require.Contains(t, line, `{"jsonrpc":"2.0","id":null,"error":{"code":-32`)
						bad++
					}
				}
				require.Equal(t, []int{1, 1}, []int{good, bad}, "one error, then the end; ending %.10q", ending)
			}
			well(t, s)
		})
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestHalfALineAndSilence(t *testing.T) {
	t.Parallel()
	servers := kvsCluster(t, 3, nil)
	line := apply("1", "Command", `{"Put":["k",1]}`)
	var halves []*client
	for i := range 300 {
		c := dial(t, servers[i%3])
		c.send(line[:1+i%(len(line)-1)])
		halves = append(halves, c)
	}
	well(t, servers...)
	for i, c := range halves[:150] {
		require.Contains(t, c.ask(line[1+i%(len(line)-1):]), `{"jsonrpc":"2.0","id":1,"result":`)
	}
	for _, c := range halves {
		require.NoError(t, c.Close())
	}
	well(t, servers...)
}

func TestAThousandConnectionsAtOnce(t *testing.T) {
	t.Parallel()
	servers := kvsCluster(t, 3, nil)
	clients := make([]*client, 1000)
	for i := range clients {
		clients[i] = dial(t, servers[i%3])
	}
	for i, c := range clients {
		c.send(apply("1", "Command", fmt.Sprintf(`{"Put":["%d",%d]}`, i, i)), apply("2", "LocalQuery", `{"Get":"nobody"}`))
	}
	for _, c := range clients {
		lines := []string{c.line(), c.line()}
		require.ElementsMatch(t, []string{result("1", "null"), result("2", "null")}, lines)
	}
	for i, c := range clients {
		c.send(apply("1", "Query", fmt.Sprintf(`{"Get":"%d"}`, i)))
	}
	for i, c := range clients {
		require.Equal(t, result("1", strconv.Itoa(i)), c.line())
		require.NoError(t, c.Close())
	}
	well(t, servers...)
}

func TestMoreConnectionsThanAllowed(t *testing.T) {
	t.Parallel()
	servers := kvsCluster(t, 3, func(o *raftpico.Options) { o.Limits.MaxConns = 20 })
	for range 200 {
		dial(t, servers[0]) // and stays, if it may
	}
	well(t, servers...)
}

func TestSlowReaderGetsAllItsAnswers(t *testing.T) {
	t.Parallel()
	servers := kvsCluster(t, 3, nil)
	value := `"` + strings.Repeat("x", 256<<10) + `"`
	require.Equal(t, result("1", "null"), dial(t, servers[1]).ask(apply("1", "Command", `{"Put":["big",`+value+`]}`)))
	c := dial(t, servers[1])
	const n = 60 // 15 MB of answers
	for i := range n {
		c.send(apply(strconv.Itoa(i), []string{"Query", "LocalQuery"}[i%2], `{"Get":"big"}`))
	}
	seen := map[string]bool{}
	for i := range n {
		line := c.line()
		seen[strings.TrimSuffix(strings.TrimPrefix(line, `{"jsonrpc":"2.0","id":`), `,"result":`+value+"}")] = true
		if i%30 == 0 {
			well(t, servers...) // meanwhile
		}
	}
	for i := range n {
		require.True(t, seen[strconv.Itoa(i)], "answer %d", i)
	}
	c.silent()
}

func TestMemoryStaysWithinTheBudget(t *testing.T) {
	s := kvsCluster(t, 1, func(o *raftpico.Options) { o.Limits.Budget = 16 << 20 })[0]
	before := heap()
	half := strings.Repeat(" ", 768<<10)
	var closed atomic.Int64
	var readers sync.WaitGroup
	const n = 60 // 45 MB of half lines
	clients := make([]*client, n)
	for i := range clients {
		clients[i] = dial(t, s)
		readers.Go(func() { // ends when the connection does
			_, _ = io.WriteString(clients[i], half)
			_, _ = io.Copy(io.Discard, clients[i])
			closed.Add(1)
		})
	}
	waitFor(t, func() bool { return closed.Load() > n/3 }) // the greediest had to go
	waitFor(t, func() bool { return heap()-before < 40<<20 })
	well(t, s)
	for _, c := range clients {
		_ = c.Close()
	}
	readers.Wait()
	well(t, s)
}
