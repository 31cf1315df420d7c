package jsonrpc

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	stdjson "encoding/json"

	"github.com/stretchr/testify/require"
)

// What clients do to a server that must not disturb others, nor make memory grow.

// flood writes until the server closes the connection or takes no more; the test ends it by closing.
func (r *raw) flood(s string) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := io.WriteString(r, s); err != nil {
				return
			}
		}
	}()
	return done
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func (s *Server) look(f func(c *Conn) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.mu.Lock()
		ok := f(c)
		c.mu.Unlock()
		if ok {
			return true
		}
	}
	return false
}

func TestClientThatNeverReadsIsPaused(t *testing.T) {
	s := &Server{Handler: echo, Limits: Limits{MaxUnsent: 1 << 20}}
	addr := start(t, s)
	before := heap()
	c := connect(t, addr)
	line := `{"jsonrpc":"2.0","method":"echo","params":["` + strings.Repeat("x", 1000) + `"],"id":1}` + "\n"
	flooding := c.flood(strings.Repeat(line, 100))
	require.Eventually(t, func() bool {
		return s.look(func(c *Conn) bool { return c.out.unsent() > 1<<18 })
	}, time.Minute, time.Millisecond)
	connect(t, addr).echoes()
	require.Less(t, heap()-before, 64<<20)
	go func() { // now it reads, and everything goes on
		for range 10_000 {
			_, _ = c.in.ReadString('\n')
		}
		c.Close()
	}()
	<-flooding
}

// A greedy client that is cut off may have a thousand requests under way, and be back at once.
func TestAnswersToAConnectionThatIsGoneTakeNoMemory(t *testing.T) {
	const n = 100
	calls := make(later, n)
	c := connect(t, start(t, &Server{Handler: calls.handle}))
	c.send(strings.Repeat(`{"jsonrpc":"2.0","method":"m","id":1}`+"\n", n))
	var batches [][]Call
	for got := 0; got < n; got += len(batches[len(batches)-1]) {
		batches = append(batches, <-calls)
	}
	batches[0][0].Conn().cut(errGreedy)
	result := []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, batch := range batches {
		for i := range batch {
			batch[i].Result(result)
		}
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(len(result)))
}

func TestClientThatNeverReadsAnswersGivenLaterIsClosed(t *testing.T) {
	calls := make(later, 1000)
	closed := make(chan struct{})
	s := &Server{
		Handler: calls.handle,
		Closed:  func(*Conn) { close(closed) },
		Limits:  Limits{MaxUnsent: 1 << 20},
	}
	c := connect(t, start(t, s))
	c.send(strings.Repeat(`{"jsonrpc":"2.0","method":"m","id":1}`+"\n", 1000))
	big := []byte(`"` + strings.Repeat("x", 100_000) + `"`)
	for {
		select {
		case batch := <-calls:
			for i := range batch {
				batch[i].Result(big) // up to 100 MB in all, and never blocks
			}
			batch[0].Conn().Flush()
		case <-closed:
			return
		}
	}
}

func TestClientMayCloseWithAnswersUnread(t *testing.T) {
	addr := start(t, &Server{Handler: echo})
	other := connect(t, addr)
	for range 20 {
		c := connect(t, addr)
		c.send(strings.Repeat(`{"jsonrpc":"2.0","method":"echo","params":[1],"id":1}`+"\n", 1000))
		require.NoError(t, c.Conn.(*net.TCPConn).SetLinger(0)) // a reset
		c.Close()
	}
	other.echoes()
}

func TestRequestsUnansweredPauseTheirConnectionOnly(t *testing.T) {
	calls := make(later, 1000)
	s := &Server{Limits: Limits{MaxUnderway: 10}}
	s.Handler = func(batch []Call) {
		if batch[0].Method == "echo" {
			echo(batch)
			return
		}
		calls <- batch
	}
	addr := start(t, s)
	c := connect(t, addr)
	const n = 1000
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, `{"jsonrpc":"2.0","method":"m","id":%d}`+"\n", i)
	}
	c.send(lines.String())
	answered := 0
	for answered < n {
		var waiting []Call
		for len(waiting) < 6 && answered+len(waiting) < n { // it goes on when half are answered
			waiting = append(waiting, <-calls...)
		}
		require.LessOrEqual(t, len(waiting), 10)
		connect(t, addr).echoes()
		for i := range waiting {
			waiting[i].Result(nil)
		}
		waiting[0].Conn().Flush()
		answered += len(waiting)
	}
	for i := range n {
		require.Equal(t, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":null}`, i), c.line())
	}
}

func TestGreediestHalfLineIsClosedPastTheBudget(t *testing.T) {
	s := &Server{Handler: echo, Limits: Limits{Budget: 1 << 20}}
	addr := start(t, s)
	small := connect(t, addr)
	small.send(`{"jsonrpc":"2.0","method":"echo","params":["` + strings.Repeat("x", 100_000))
	require.Eventually(t, func() bool {
		s.budget.mu.Lock()
		defer s.budget.mu.Unlock()
		return s.budget.held > 100_000
	}, time.Minute, time.Millisecond)
	for range 3 {
		c := connect(t, addr)
		<-c.flood(strings.Repeat("x", 1<<16))
		c.gone()
	}
	small.send(`"],"id":1}` + "\n")
	require.Len(t, small.line(), len(`{"jsonrpc":"2.0","id":1,"result":[""]}`)+100_000)
}

func TestRequestsPastTheBudgetWaitUntilSomeAreAnswered(t *testing.T) {
	calls := make(later, 1000)
	s := &Server{Limits: Limits{Budget: 8 << 20}}
	s.Handler = func(batch []Call) {
		if batch[0].Method == "trusted" {
			batch[0].Conn().Exempt()
			batch[0].Result(nil)
			batch[0].Conn().Flush()
			return
		}
		calls <- batch
	}
	addr := start(t, s)
	trusted := connect(t, addr)
	isTrusted := func() {
		t.Helper()
		trusted.send(`{"jsonrpc":"2.0","method":"trusted","id":1}` + "\n")
		require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":null}`, trusted.line())
	}
	isTrusted()
	line := `{"jsonrpc":"2.0","method":"m","params":["` + strings.Repeat("x", 20_000) + `"],"id":1}` + "\n"
	var clients []*raw
	for range 50 { // 10 MB
		c := connect(t, addr)
		c.send(strings.Repeat(line, 10))
		clients = append(clients, c)
	}
	var waiting []Call
	require.Eventually(t, func() bool {
		s.budget.mu.Lock()
		defer s.budget.mu.Unlock()
		return len(s.budget.entering) > 0
	}, time.Minute, time.Millisecond)
	isTrusted()
	for range 500 {
		if len(waiting) == 0 {
			waiting = <-calls
		}
		call := waiting[0]
		waiting = waiting[1:]
		call.Result(nil)
		call.Conn().Flush()
	}
	for _, c := range clients {
		for range 10 {
			require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":null}`, c.line())
		}
	}
	require.Eventually(t, func() bool {
		s.budget.mu.Lock()
		defer s.budget.mu.Unlock()
		return s.budget.underway == 0
	}, time.Minute, time.Millisecond)
}

func TestLinesWithoutRequestsDoNotFillTheMemory(t *testing.T) {
	s := &Server{Handler: echo, Limits: Limits{MaxUnsent: 1 << 20}}
	addr := start(t, s)
	for _, line := range []string{"\n", "1\n", "{\n", "[]\n", "[" + strings.Repeat("1,", 1000) + "1]\n", `{"jsonrpc":"2.0","method":"m"}` + "\n"} {
		before := heap()
		c := connect(t, addr)
		done := c.flood(strings.Repeat(line, 1+1<<20/len(line)))
		for range 20 {
			connect(t, addr).echoes()
		}
		require.Less(t, heap()-before, 64<<20, "%.10q", line) // with what the flood has made since the collection
		c.Close()
		<-done
	}
}

func TestServerClosesWhateverClientsDo(t *testing.T) {
	calls := make(later, 10_000)
	s := &Server{Handler: calls.handle, Limits: Limits{MaxUnderway: 10, Budget: 1 << 20}}
	addr := start(t, s)
	for _, what := range []string{"{", strings.Repeat("x", 100_000), strings.Repeat(`{"jsonrpc":"2.0","method":"m","id":1}`+"\n", 1000)} {
		c := connect(t, addr)
		go func() { _, _ = io.WriteString(c, what) }()
		half := connect(t, addr)
		go func() {
			_, _ = io.WriteString(half, what)
			_ = half.Conn.(*net.TCPConn).CloseWrite()
		}()
	}
	<-calls
	require.NoError(t, s.Close()) // with requests unanswered
}

// FuzzServer sends anything, in two packets: every answer is JSON, and the connection goes on.
func FuzzServer(f *testing.F) {
	s := &Server{Handler: echo, Limits: Limits{MaxUnderway: 5}}
	addr := start(f, s)
	f.Add([]byte(strings.Join(seeds, "\n")), 30)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		c := connect(t, addr)
		defer c.Close()
		c.echoes() // what begins otherwise is closed
		cut = min(max(cut, 0), len(in))
		c.send(string(in[:cut]))
		c.send(string(in[cut:]) + "\n" + `{"jsonrpc":"2.0","method":"echo","params":["end"],"id":"end"}` + "\n")
		for {
			line := c.line()
			if !stdjson.Valid([]byte(line)) {
				t.Fatalf("%q is answered %q", in, line)
			}
			if line == `{"jsonrpc":"2.0","id":"end","result":["end"]}` {
				return
			}
		}
	})
}
