package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestQuantilesAreNearTheExactOnes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1, 2, 10, 999, 50_000} {
		var parts [3]histogram
		var exact []time.Duration
		for i := range n {
			d := time.Duration(math.Exp(rng.NormFloat64()*2) * 1e6)
			parts[i%3].add(d)
			exact = append(exact, d)
		}
		var h histogram
		for i := range parts {
			h.merge(&parts[i])
		}
		if h.n != int64(n) {
			t.Fatalf("%d were counted, not %d", h.n, n)
		}
		slices.Sort(exact)
		for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
			want := exact[max(int(q*float64(n)+0.5), 1)-1]
			if got := h.quantile(q); math.Abs(float64(got-want)) > float64(want)/100 {
				t.Errorf("quantile %v of %d: %v, want %v", q, n, got, want)
			}
		}
	}
}

func TestHistogramOfNothing(t *testing.T) {
	var h histogram
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("the median of nothing is %v", got)
	}
	var sum histogram
	sum.merge(&h)
	h.add(-time.Second) // a clock that went back
	h.add(24 * time.Hour)
	sum.merge(&h)
	if got := sum.quantile(0.5); sum.n != 2 || got != 0 {
		t.Errorf("%d, median %v", sum.n, got)
	}
}

func TestHistogramCountsFromAnywhere(t *testing.T) {
	var h, sum histogram
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 1000 {
				h.add(time.Duration(i * j))
			}
		})
	}
	all.Wait()
	if sum.merge(&h); sum.n != 8000 {
		t.Errorf("%d were counted, not 8000", sum.n)
	}
}

func TestKeysAreDifferentAndOfOneLength(t *testing.T) {
	seen := map[string]bool{}
	for i := range 17576 {
		k := keyOf(i)
		if seen[k] || len(k) != 8 {
			t.Fatalf("key %d is %q", i, k)
		}
		seen[k] = true
	}
}

// fake answers each operation after a while, on the clock of synctest.
type fake struct {
	answer func(Op) error
	after  time.Duration
	flush  error

	mu             sync.Mutex
	begun          int
	underWay, most int
	ops            []Op // the first few
}

func (f *fake) Go(op Op, done func(error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun++
	f.underWay++
	f.most = max(f.most, f.underWay)
	if len(f.ops) < 1000 {
		f.ops = append(f.ops, op)
	}
	time.AfterFunc(f.after, func() {
		f.mu.Lock()
		f.underWay--
		f.mu.Unlock()
		var err error
		if f.answer != nil {
			err = f.answer(op)
		}
		done(err)
	})
}

func (f *fake) counts() (begun, underWay int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begun, f.underWay
}

func (f *fake) Flush() error { return f.flush }
func (f *fake) Close() error { return nil }

// half a millisecond keeps the ends of the measured time away from the answers, which come at whole milliseconds.
const half = 500 * time.Microsecond

func TestLoadCountsWhatIsAnsweredInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clients := []*fake{{after: time.Millisecond}, {after: time.Millisecond}}
		start := time.Now()
		var began, ended time.Duration
		m, err := Load{Kind: Put, Window: 5, ValueSize: 7, Keys: 3, Warm: 100*time.Millisecond + half, Time: time.Second}.run(t.Context(),
			[]Client{clients[0], clients[1]}, func() { began = time.Since(start) }, func() { ended = time.Since(start) })
		if err != nil {
			t.Fatal(err)
		}
		if m.Operations != 5000 || m.Failed != 0 || m.Error != "" || m.Took != time.Second || m.Rate() != 5000 {
			t.Errorf("%+v", m)
		}
		for _, p := range []time.Duration{m.P50, m.P99, m.P999} {
			if p < 980*time.Microsecond || p > 1020*time.Microsecond {
				t.Errorf("each takes 1 ms: %+v", m)
			}
		}
		if began != 100*time.Millisecond+half || ended != began+time.Second {
			t.Errorf("measured from %v to %v", began, ended)
		}
		for i, want := range []int{3, 2} {
			if c := clients[i]; c.most != want || c.underWay != 0 {
				t.Errorf("client %d: at most %d under way, want %d; %d now", i, c.most, want, c.underWay)
			}
		}
		keys := map[string]bool{}
		for _, op := range clients[0].ops {
			keys[op.Key] = true
			if op.Kind != Put || string(op.Value) != "vvvvvvv" {
				t.Fatalf("%+v", op)
			}
		}
		if len(keys) != 3 || !keys[keyOf(0)] || !keys[keyOf(2)] {
			t.Errorf("keys %v", keys)
		}
	})
}

func TestLoadReadsWithoutValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fake{after: time.Millisecond}
		if _, err := (Load{Kind: Get, Window: 1, ValueSize: 7, Keys: 3, Time: 10 * time.Millisecond}).run(t.Context(), []Client{c}, func() {}, func() {}); err != nil {
			t.Fatal(err)
		}
		if c.ops[0].Kind != Get || c.ops[0].Value != nil {
			t.Errorf("%+v", c.ops[0])
		}
	})
}

func TestLoadWritesAShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fake{after: time.Millisecond}
		load := Load{Kind: Get, Puts: 0.25, Window: 10, ValueSize: 7, Keys: 3, Time: 100 * time.Millisecond}
		if _, err := load.run(t.Context(), []Client{c}, func() {}, func() {}); err != nil {
			t.Fatal(err)
		}
		puts := 0
		for _, op := range c.ops {
			if op.Kind == Put {
				puts++
			}
			if (op.Kind == Put) != (len(op.Value) == 7) {
				t.Fatalf("%+v", op)
			}
		}
		if puts < len(c.ops)/5 || puts > len(c.ops)/3 || load.what() != "get, 25% put" {
			t.Errorf("%s: %d of %d are Puts", load.what(), puts, len(c.ops))
		}
	})
}

func TestLoadWaitsAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fake{after: time.Millisecond, answer: func(Op) error { return errors.New("no leader") }}
		m, err := Load{Kind: Put, Window: 10, Keys: 3, Warm: half, Time: 110 * time.Millisecond}.run(t.Context(), []Client{c}, func() {}, func() {})
		if err != nil {
			t.Fatal(err)
		}
		// Each fails after 1 ms and is followed 10 ms later.
		if m.Operations != 0 || m.Failed != 100 || m.Error != "no leader" || m.P50 != 0 || c.most != 10 {
			t.Errorf("%+v, at most %d under way", m, c.most)
		}
	})
}

func TestLoadCountsFailuresApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fake{after: time.Millisecond, answer: func(op Op) error {
			if op.Key == keyOf(0) {
				return errors.New("a bad key")
			}
			return nil
		}}
		answered := map[bool]int{}
		inner := c.answer
		c.answer = func(op Op) error {
			err := inner(op)
			c.mu.Lock()
			answered[err == nil]++
			c.mu.Unlock()
			return err
		}
		m, err := Load{Kind: Put, Window: 10, Keys: 5, Time: time.Second + half}.run(t.Context(), []Client{c}, func() {}, func() {})
		if err != nil {
			t.Fatal(err)
		}
		// The last ones were under way when the time was over.
		if good, bad := answered[true], answered[false]; m.Failed == 0 || m.Operations > good || m.Failed > bad || m.Operations+m.Failed < good+bad-10 {
			t.Errorf("%d and %d failed; were %d and %d", m.Operations, m.Failed, good, bad)
		}
	})
}

func TestLoadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second+half, cancel)
		c, start := &fake{after: time.Millisecond}, time.Now()
		_, err := Load{Kind: Put, Window: 10, Keys: 5, Warm: time.Hour, Time: time.Hour}.run(ctx, []Client{c}, func() {}, func() {})
		if took := time.Since(start); !errors.Is(err, context.Canceled) || took > 1100*time.Millisecond {
			t.Errorf("cancelled: %v after %v", err, took)
		}
		before, _ := c.counts()
		time.Sleep(time.Minute) // of the clock of synctest
		if begun, underWay := c.counts(); begun != before || underWay != 0 {
			t.Errorf("%d were begun afterwards, %d are under way", begun-before, underWay)
		}
	})
}

func TestLoadThatIsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, start := &fake{after: 40 * time.Second}, time.Now()
		_, err := Load{Kind: Put, Window: 10, Keys: 5, Time: time.Second}.run(t.Context(), []Client{c}, func() {}, func() {})
		if took := time.Since(start); err == nil || took != 31*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		time.Sleep(time.Minute) // of the clock of synctest
		if begun, underWay := c.counts(); begun != 10 || underWay != 0 {
			t.Errorf("%d were begun, %d are under way", begun, underWay)
		}
	})
}

func TestLoadOnABrokenClient(t *testing.T) {
	broken := errors.New("broken pipe")
	if _, err := (Load{Kind: Put, Window: 1, Keys: 5, Time: time.Hour}).run(t.Context(), []Client{&fake{flush: broken}}, func() {}, func() {}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// request is what lines sends for a kvs.
type request struct {
	Method string
	Params struct {
		Kind  string
		Input map[string]json.RawMessage
	}
	ID *int
}

func readRequest(in *bufio.Reader) (r request, err error) {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(line, &r); err != nil || r.ID == nil {
		return r, fmt.Errorf("%s: %w", line, err)
	}
	return r, nil
}

// serve answers one connection after the other, and returns where.
func serve(t *testing.T, answer func(in *bufio.Reader, out net.Conn) error) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // ends when the listener is closed
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if err := answer(bufio.NewReader(c), c); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return l.Addr().String()
}

func dial(t *testing.T, addr string) Client {
	c, err := dialLines(t.Context(), addr, encodeKVS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) // before the server is waited for
	return c
}

// begin starts n operations, and returns what they end with. An operation that ends twice fails the test.
func begin(t *testing.T, c Client, n int) []chan error {
	ends := make([]chan error, n)
	for i := range ends {
		ends[i] = make(chan error, 1)
		c.Go(Op{Kind: Put, Key: keyOf(i), Value: []byte("value")}, func(err error) {
			select {
			case ends[i] <- err:
			default:
				t.Errorf("operation %d ended twice", i)
			}
		})
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	return ends
}

func TestLinesSendsWhatAStoreTakes(t *testing.T) {
	got := make(chan request, 3)
	c := dial(t, serve(t, func(in *bufio.Reader, out net.Conn) error {
		for {
			r, err := readRequest(in)
			if err != nil {
				return err
			}
			got <- r
		}
	}))
	for _, kind := range []Kind{Put, Get, LocalGet} {
		c.Go(Op{Kind: kind, Key: "k", Value: []byte("v")}, func(error) {})
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{`Command map[Put:["k","v"]]`, `Query map[Get:"k"]`, `LocalQuery map[Get:"k"]`} {
		r := <-got
		if s := fmt.Sprintf("%s %s", r.Params.Kind, r.Params.Input); r.Method != "Apply" || s != want || *r.ID != i {
			t.Errorf("%s %s %d, want %s", r.Method, s, *r.ID, want)
		}
	}
}

func TestLinesTakesAnswersInAnyOrder(t *testing.T) {
	const n = 500
	c := dial(t, serve(t, func(in *bufio.Reader, out net.Conn) error {
		var answers []string
		for range n {
			r, err := readRequest(in)
			if err != nil {
				return err
			}
			if *r.ID%10 == 3 {
				answers = append(answers, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"error":{"code":103,"message":"no %s"}}`+"\n", *r.ID, r.Params.Input["Put"][2:10]))
			} else {
				answers = append(answers, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":null}`+"\n", *r.ID))
			}
		}
		rand.Shuffle(n, func(i, j int) { answers[i], answers[j] = answers[j], answers[i] })
		_, err := out.Write([]byte(strings.Join(answers, "")))
		return errors.Join(err, drain(in))
	}))
	for i, end := range begin(t, c, n) {
		switch err := <-end; {
		case i%10 != 3 && err != nil:
			t.Errorf("operation %d: %v", i, err)
		case i%10 == 3 && (err == nil || !strings.Contains(err.Error(), "no "+keyOf(i))):
			t.Errorf("operation %d: %v, want its own failure", i, err)
		}
	}
}

func drain(in io.Reader) error {
	_, err := io.Copy(io.Discard, in)
	return err
}

func TestLinesSendsWhatIsBegunInAnAnswer(t *testing.T) {
	const window, rounds = 3, 200
	var mu sync.Mutex
	var ids [window + 1]int // how often each was seen
	addr := serve(t, func(in *bufio.Reader, out net.Conn) error {
		for {
			r, err := readRequest(in)
			if err != nil {
				return err
			}
			mu.Lock()
			ids[min(*r.ID, window)]++
			mu.Unlock()
			if _, err := fmt.Fprintf(out, `{"jsonrpc":"2.0","id":%d,"result":"%s"}`+"\n", *r.ID, strings.Repeat("x", rand.IntN(100))); err != nil {
				return err
			}
		}
	})
	c := dial(t, addr)
	ended := make(chan error, window)
	var again func(left int) func(error)
	again = func(left int) func(error) {
		return func(err error) {
			if left == 0 || err != nil {
				ended <- err
				return
			}
			c.Go(Op{Kind: Get, Key: "k"}, again(left-1))
		}
	}
	for range window {
		c.Go(Op{Kind: Get, Key: "k"}, again(rounds))
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	for range window {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	sum := 0
	for _, n := range ids {
		sum += n
	}
	if sum != window*(rounds+1) || ids[window] > 0 {
		t.Errorf("%d requests, want %d; by id, the last for all others: %v", sum, window*(rounds+1), ids)
	}
}

func TestLinesOnAClosedConnection(t *testing.T) {
	c := dial(t, serve(t, func(in *bufio.Reader, out net.Conn) error {
		r, err := readRequest(in)
		if err != nil {
			return err
		}
		for range 2 { // the other requests are read too: a reset would be another error
			if _, err := readRequest(in); err != nil {
				return err
			}
		}
		_, err = fmt.Fprintf(out, `{"jsonrpc":"2.0","id":%d,"result":1}`+"\n"+`{"jsonrpc":"2.0","id"`, *r.ID)
		return err // and closes in the middle of an answer
	}))
	ends := begin(t, c, 3)
	if err := <-ends[0]; err != nil {
		t.Errorf("the one that was answered: %v", err)
	}
	for _, end := range ends[1:] {
		if err := <-end; err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("a lost one: %v", err)
		}
	}
	late := make(chan error)
	c.Go(Op{Kind: Get, Key: "k"}, func(err error) { late <- err })
	if err := <-late; err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("one begun afterwards: %v", err)
	}
}

func TestLinesClosedHere(t *testing.T) {
	c := dial(t, serve(t, func(in *bufio.Reader, _ net.Conn) error { return drain(in) }))
	ends := begin(t, c, 2)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, end := range ends {
		if err := <-end; err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("%v", err)
		}
	}
}

func TestLinesRefusesNonsense(t *testing.T) {
	for _, c := range []struct{ answer, want string }{
		{`{"jsonrpc":"2.0","result":1}`, "without an id"},
		{`{"jsonrpc":"2.0","id":7,"result":1}`, "to nothing"},
		{`{"jsonrpc":"2.0","id":0,"result":1}` + "\n" + `{"jsonrpc":"2.0","id":0,"result":1}`, "to nothing"},
		{``, "without an id"},
		{strings.Repeat("x", 100_000), "without an id"},
	} {
		addr := serve(t, func(in *bufio.Reader, out net.Conn) error {
			for range 2 {
				if _, err := readRequest(in); err != nil {
					return err
				}
			}
			_, err := fmt.Fprintln(out, c.answer)
			return errors.Join(err, drain(in))
		})
		client := dial(t, addr)
		ends := begin(t, client, 2)
		if err := <-ends[1]; err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 300 {
			t.Errorf("%.50s: %.400v", c.answer, err)
		}
		client.Close()
	}
}

func TestLinesTakesAnswersInAnyPieces(t *testing.T) {
	const n = 300
	here, there := net.Pipe() // each Write is read as it is, in pieces no larger
	defer there.Close()
	l := &lines{nc: here, encode: encodeKVS}
	defer l.Close()
	go l.read()
	rng := rand.New(rand.NewPCG(5, 6))
	go func() { // ends when all has been read, or with the pipe
		in := bufio.NewReader(there)
		var answers []byte
		for range n {
			r, err := readRequest(in)
			if err != nil {
				t.Error(err)
				return
			}
			length := rng.IntN(100)
			if rng.IntN(50) == 0 {
				length = 200_000 // more than the first buffer
			}
			answers = fmt.Appendf(answers, `{"jsonrpc":"2.0","id":%d,"result":"%s"}`+"\n", *r.ID, strings.Repeat("é", length/2))
		}
		for len(answers) > 0 {
			most := 40
			if rng.IntN(10) == 0 {
				most = 40_000
			}
			piece := min(1+rng.IntN(most), len(answers))
			if _, err := there.Write(answers[:piece]); err != nil {
				t.Error(err)
				return
			}
			answers = answers[piece:]
		}
	}()
	for i, end := range begin(t, l, n) {
		if err := <-end; err != nil {
			t.Fatalf("operation %d: %v", i, err)
		}
	}
}

func TestLinesDoesNotReachAServer(t *testing.T) {
	if _, err := dialLines(t.Context(), freeAddr(), encodeKVS); err == nil {
		t.Error("connected to nobody")
	}
}
