package jsonrpc

import (
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// bound is how many budgets the heap may take: two, as the collector lets as much garbage gather as there is in use,
// and one more, since it lags behind on a busy machine.
const bound = 3

// peak watches how much memory the heap takes, garbage included. It returns a function that tells the most there was,
// in bytes, beyond what there was at first.
func peak() func() int {
	before, most := heap(), 0
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, int(m.HeapAlloc)-before)
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return func() int {
		close(done)
		<-ended
		return most
	}
}

func (b *budget) look() (held, underway, requests int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held, b.underway, b.requests
}

// Many clients send lines without end, and dial again when they are cut off. What was cut off counts until it is
// freed, so the memory stays within twice the budget (the collector's due), and others are served.
func TestHalfLinesOfClientsThatComeAgainStayWithinTheBudget(t *testing.T) {
	const limit = 16 << 20
	s := &Server{Handler: echo, Limits: Limits{Budget: limit}}
	addr := start(t, s)
	polite := connect(t, addr)
	most := peak()
	block := []byte(strings.Repeat("x", 32<<10))
	var cut atomic.Int32
	var wg sync.WaitGroup
	for range 80 {
		wg.Go(func() {
			for sent := 0; sent < 4<<20; {
				nc, err := net.Dial("tcp", addr)
				if err != nil {
					return
				}
				for err == nil && sent < 4<<20 {
					var n int
					n, err = nc.Write(block)
					sent += n
				}
				if err != nil {
					cut.Add(1)
				}
				nc.Close()
			}
		})
	}
	for range 50 {
		polite.echoes()
		held, _, _ := s.budget.look()
		require.LessOrEqual(t, held, limit/2)
	}
	wg.Wait()
	require.Less(t, most(), bound*limit)
	require.Positive(t, cut.Load())
}

// Clients ask for much and read nothing. The handler answers all at once, as the event loop of a server does: it never
// waits.
func TestUnreadAnswersStayWithinTheBudget(t *testing.T) {
	const limit = 32 << 20
	calls := make(later, 1000)
	s := &Server{Handler: calls.handle, Limits: Limits{Budget: limit}}
	addr := start(t, s)
	most := peak()
	const clients, each = 80, 4
	for range clients {
		connect(t, addr).send(strings.Repeat(echoLine+"\n", each))
	}
	large := []byte(`"` + strings.Repeat("x", 2<<20) + `"`)
	for got := 0; got < clients*each; { // 640 MB
		batch := <-calls
		got += len(batch)
		for i := range batch {
			batch[i].Result(large)
			held, _, _ := s.budget.look()
			require.LessOrEqual(t, held, limit/2*3/2, "also of those that are being cut off")
		}
		batch[0].Conn().Flush()
	}
	require.Less(t, most(), bound*limit)
}

// The memory that small requests take is in their number.
func TestRequestsUnderWayStayWithinTheBudget(t *testing.T) {
	const limit = 16 << 20
	calls := make(later, 10_000)
	s := &Server{Handler: calls.handle, Limits: Limits{Budget: limit}}
	addr := start(t, s)
	most := peak()
	lines := strings.Repeat(`{"jsonrpc":"2.0","method":"m"}`+"\n", 1000)
	var clients []*raw
	for range 40 {
		c := connect(t, addr)
		c.flood(lines)
		clients = append(clients, c)
	}
	require.Eventually(t, func() bool {
		_, underway, _ := s.budget.look()
		s.budget.mu.Lock()
		defer s.budget.mu.Unlock()
		return len(s.budget.entering) > 0 && underway > limit/4
	}, time.Minute, time.Millisecond)
	_, underway, _ := s.budget.look()
	require.LessOrEqual(t, underway, limit/2)
	require.Less(t, most(), bound*limit)
	for _, c := range clients {
		c.Close()
	}
	require.Eventually(t, func() bool { // what is answered gives its memory back, also where nobody is left to read it
		for len(calls) > 0 {
			batch := <-calls
			for i := range batch {
				batch[i].Result(nil)
			}
		}
		_, underway, requests := s.budget.look()
		return underway == 0 && requests == 0
	}, time.Minute, time.Millisecond)
}

// pool is a server's core: it takes so many requests at once, refuses more, and answers one after the other.
type pool struct {
	waiting chan Call
	refused atomic.Int32
}

func newPool(t *testing.T, size int) *pool {
	p := &pool{waiting: make(chan Call, size)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for call := range p.waiting {
			call.Result(call.Params)
			call.Conn().Flush()
		}
	}()
	t.Cleanup(func() {
		close(p.waiting)
		<-ended
	})
	return p
}

func (p *pool) handle(calls []Call) {
	for _, call := range calls {
		select {
		case p.waiting <- call:
		default:
			p.refused.Add(1)
			call.Fail(ErrInternal.Because("busy"))
			call.Conn().Flush()
		}
	}
}

// Greedy clients keep as much under way as they can. None is refused, since they are not read any more where the
// places run short; a polite one is answered as if it were alone, and they go on too.
func TestGreedyClientsLeavePlacesToOthers(t *testing.T) {
	const places = 200
	for _, greedy := range []int{1, 3, 20} {
		p := newPool(t, places)
		s := &Server{Handler: p.handle, Limits: Limits{MaxRequests: places}}
		addr := start(t, s)
		polite := connect(t, addr)
		var answered atomic.Int32
		lines := strings.Repeat(echoLine+"\n", 500)
		batch := "[" + strings.TrimSuffix(strings.Repeat(echoLine+",", places), ",") + "]\n"
		for i := range greedy {
			c := connect(t, addr)
			text := lines
			if i%3 == 2 {
				text = batch
			}
			flooding := c.flood(text)
			go func() {
				for {
					line, err := c.in.ReadString('\n')
					if err != nil {
						return
					}
					answered.Add(int32(strings.Count(line, "here")))
				}
			}()
			defer func() { <-flooding }()
			defer c.Close()
		}
		require.Eventually(t, func() bool { return answered.Load() > places }, time.Minute, time.Millisecond)
		for range 20 {
			before := answered.Load()
			polite.echoes()
			require.Eventually(t, func() bool { return answered.Load() > before }, time.Minute, time.Millisecond)
			_, _, requests := s.budget.look()
			require.LessOrEqual(t, requests, places)
		}
		require.Zero(t, p.refused.Load())
	}
}

func TestOneClientAloneHasHalfOfThePlaces(t *testing.T) {
	calls := make(later, 1000)
	s := &Server{Handler: calls.handle, Limits: Limits{MaxRequests: 100}}
	addr := start(t, s)
	c := connect(t, addr)
	c.send(strings.Repeat(echoLine+"\n", 1000))
	var waiting []Call
	for len(waiting) < 50 {
		waiting = append(waiting, <-calls...)
	}
	other := connect(t, addr) // has the half of what is left
	other.send(strings.Repeat(echoLine+"\n", 1000))
	for len(waiting) < 75 {
		waiting = append(waiting, <-calls...)
	}
	require.Len(t, waiting, 75)
	require.Empty(t, calls)
	for i := 0; i < 2000; i++ { // and all are answered in the end
		if i == len(waiting) {
			waiting = append(waiting, <-calls...)
		}
		waiting[i].Result(nil)
		waiting[i].Conn().Flush()
	}
	for _, c := range []*raw{c, other} {
		for range 1000 {
			c.line()
		}
	}
	_, underway, requests := s.budget.look()
	require.Zero(t, underway)
	require.Zero(t, requests)
}

// Trusted connections wait for nobody: neither for memory nor for places.
func TestTrustedConnectionsWaitForNobody(t *testing.T) {
	calls := make(later, 1000)
	s := &Server{Limits: Limits{Budget: 8 << 20, MaxRequests: 10}}
	s.Handler = func(batch []Call) {
		switch batch[0].Method {
		case "trust":
			batch[0].Conn().Exempt()
			fallthrough
		case "echo":
			echo(batch)
			return
		}
		calls <- batch
	}
	addr := start(t, s)
	trusted := connect(t, addr)
	trusted.send(strings.Replace(echoLine, "echo", "trust", 1) + "\n")
	trusted.line()
	holds := strings.Replace(echoLine, "echo", "hold", 1) + "\n"
	for range 20 {
		c := connect(t, addr)
		done := c.flood(strings.Repeat(holds, 1000))
		defer func() { <-done }()
		defer c.Close()
	}
	require.Eventually(t, func() bool { _, _, n := s.budget.look(); return n == 10 }, time.Minute, time.Millisecond)
	long := strings.Repeat("y", 6<<20)
	go func() { _, _ = io.WriteString(trusted, strings.Replace(echoLine, "here", long, 1)+"\n") }()
	require.Len(t, trusted.line(), len(`{"jsonrpc":"2.0","id":1,"result":[""]}`)+len(long))
	trusted.send(strings.Repeat(echoLine+"\n", 100))
	for range 100 {
		trusted.line()
	}
}

// TestWhatIsNotDecodedAnyMoreCountsForNothing: a connection may end while its reader is in the midst of what it has read. What was
// not decoded then is no request under way; else everybody would wait, in the end, for answers that nobody gives.
func TestWhatIsNotDecodedAnyMoreCountsForNothing(t *testing.T) {
	request := `{"jsonrpc":"2.0","method":"m","id":1}` + "\n"
	for name, sent := range map[string]string{
		"a first line that is no JSON": "nonsense\n" + strings.Repeat(request, 9),
		"a line that is too long":      request + strings.Repeat("x", 200) + "\n" + request,
		"cut off":                      strings.Repeat(request, 9),
	} {
		t.Run(name, func(t *testing.T) {
			calls := make(later)
			s := &Server{Handler: calls.handle, Limits: Limits{MaxLine: 100, MaxUnderway: 2}}
			client := connect(t, start(t, s))
			client.send(sent)
			if name != "a first line that is no JSON" {
				some := <-calls
				if name == "cut off" {
					some[0].Conn().cut(errGreedy)
				}
				for i := range some {
					some[i].Fail(ErrInternal)
				}
			}
			_, _ = io.Copy(io.Discard, client) // to its end
			require.NoError(t, client.Close())
			require.Eventually(t, func() bool {
				held, underway, requests := s.budget.look()
				return held == 0 && underway == 0 && requests == 0
			}, 20*time.Second, time.Millisecond)
		})
	}
}
