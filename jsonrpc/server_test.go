package jsonrpc

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves on a free port until the test ends.
func start(t testing.TB, s *Server) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.init() // tests look inside
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.NoError(t, <-served)
		require.Zero(t, s.budget.held, "everything was given back")
	})
	return ln.Addr().String()
}

// raw is a client that can misbehave.
type raw struct {
	net.Conn
	t  testing.TB
	in *bufio.Reader
}

func connect(t testing.TB, addr string) *raw {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(time.Minute))) // only so that a failing test ends
	return &raw{nc, t, bufio.NewReader(nc)}
}

func (r *raw) send(s string) {
	r.t.Helper()
	_, err := io.WriteString(r, s)
	require.NoError(r.t, err)
}

func (r *raw) line() string {
	r.t.Helper()
	s, err := r.in.ReadString('\n')
	require.NoError(r.t, err)
	return strings.TrimSuffix(s, "\n")
}

// gone waits until the server has closed the connection.
func (r *raw) gone() {
	r.t.Helper()
	_, err := io.Copy(io.Discard, r.in)
	nerr, ok := err.(net.Error)
	require.False(r.t, ok && nerr.Timeout(), "still open")
}

func (r *raw) echoes() {
	r.t.Helper()
	r.send(`{"jsonrpc":"2.0","method":"echo","params":["here"],"id":1}` + "\n")
	require.Equal(r.t, `{"jsonrpc":"2.0","id":1,"result":["here"]}`, r.line())
}

// echo answers with the params; the method "fail" with an error.
var echo = Handle(func(r *Request) (any, error) {
	if r.Method == "fail" {
		return nil, ErrMethodNotFound
	}
	return r.Params, nil
})

// later is a handler that leaves the answering to the test.
type later chan []Call

func (l later) handle(calls []Call) { l <- calls }

func TestBadLineGetsItsErrorAndNothingElseChanges(t *testing.T) {
	const (
		parse   = `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error","data":{"reason":"not one whole JSON value in this line"}}}`
		invalid = `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid request","data":{"reason":"a request is an object, or an array of requests"}}}`
		good    = `{"jsonrpc":"2.0","method":"echo","params":[1],"id":"g"}`
		answer  = `{"jsonrpc":"2.0","id":"g","result":[1]}`
	)
	because := func(line, reason string) string {
		if before, _, ok := strings.Cut(line, `,"data"`); ok {
			line = before + "}}"
		}
		return strings.TrimSuffix(line, "}}") + `,"data":{"reason":` + fmt.Sprintf("%q", reason) + `}}}`
	}
	c := connect(t, start(t, &Server{Handler: echo, Limits: Limits{MaxUnderway: 3}}))
	for _, x := range []struct{ line, want, why string }{
		{"{", parse, "not JSON"},
		{"\xff", because(parse, "not UTF-8"), "not UTF-8"},
		{strings.Repeat("[", 129) + strings.Repeat("]", 129), because(parse, "nested too deep"), "nested too deep"},
		{`{"jsonrpc":"2.0","method":"echo","id":1}]`, parse, "a tail"},
		{`[{"jsonrpc":"2.0","method":"echo","id":1}`, parse, "nothing of a batch that is no JSON is done"},
		{"1", invalid, "a scalar"},
		{`{"jsonrpc":"2.0","method":"echo","id":[]}`, because(invalid, `"id" must be a number, a string or null`), "a bad id"},
		{`{"jsonrpc":"2.0","method":"echo","params":null,"id":5}`, strings.Replace(because(invalid,
			`"params" must be an object or an array, not null: leave it out if there are none`), "null", "5", 1), "params null"},
		{"[]", because(invalid, "an array without requests"), "an empty batch"},
		{"[1]", "[" + invalid + "]", "a batch of nothing good"},
		{"[1,2,3,4]", because(invalid, "a batch of more than 3 requests"), "a large batch"},
		{`{"jsonrpc":"2.0","method":"echo","params":[7]}`, "", "a notification is not answered"},
		{`[{"jsonrpc":"2.0","method":"echo","params":[7]}]`, "", "nor is a batch of them"},
		{`{"jsonrpc":"2.0","method":"fail","id":null}`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"Method not found"}}`, "id null is answered"},
		{"", "", "an empty line"},
		{" \t ", "", "white space"},
	} {
		c.send(good + "\n" + x.line + "\r\n" + good + "\n") // one packet
		got := map[string]int{}                             // the server answers bad lines before the handler answers good ones
		want := map[string]int{answer: 2}
		n := 2
		if x.want != "" {
			want[x.want]++
			n++
		}
		for range n {
			got[c.line()]++
		}
		require.Equal(t, want, got, x.why)
	}
	c.send("[" + good + `,1,{"jsonrpc":"2.0","method":"echo"}]` + "\n")
	require.Equal(t, "["+invalid+","+answer+"]", c.line(), "a batch has one answer, for the bad elements too")
	c.send("[" + good + ", " + good + "]\n")
	require.Equal(t, "["+answer+","+answer+"]", c.line())
	c.echoes()
}

func TestAnswersComeInAnyOrderFromAnyGoroutine(t *testing.T) {
	calls := make(later, 100)
	c := connect(t, start(t, &Server{Handler: calls.handle}))
	const n = 500
	for i := range n {
		c.send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"m","id":%d}`+"\n", i))
	}
	var wg sync.WaitGroup
	for got := 0; got < n; {
		batch := <-calls
		got += len(batch)
		for i := range batch {
			wg.Go(func() {
				batch[len(batch)-1-i].Result(nil)
				batch[0].Conn().Flush()
			})
		}
	}
	seen := map[string]bool{}
	for range n {
		seen[c.line()] = true
	}
	require.Len(t, seen, n)
	wg.Wait()
}

func TestCallIsAnsweredOnce(t *testing.T) {
	calls := make(later, 1)
	c := connect(t, start(t, &Server{Handler: calls.handle}))
	c.send(`{"jsonrpc":"2.0","method":"m","id":1}` + "\n")
	call := (<-calls)[0]
	call.Result([]byte("1"))
	require.Panics(t, func() { call.Result([]byte("2")) })
	require.Panics(t, func() { call.Fail(nil) })
	call.Conn().Flush()
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":1}`, c.line())
}

func TestRequestsReadAtOnceAreHandedOverAtOnce(t *testing.T) {
	calls := make(later, 10)
	c := connect(t, start(t, &Server{Handler: calls.handle}))
	c.send(strings.Repeat(`{"jsonrpc":"2.0","method":"m"}`+"\n", 100))
	for n := 0; n < 100; {
		batch := <-calls
		n += len(batch)
		for i := range batch {
			batch[i].Result(nil)
		}
	}
}

func TestClientMayHalfCloseAndStillReadsItsAnswers(t *testing.T) {
	calls := make(later, 10)
	c := connect(t, start(t, &Server{Handler: calls.handle}))
	c.send(`{"jsonrpc":"2.0","method":"m","id":1}`) // no newline
	require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
	(<-calls)[0].Result(nil) // NB: no Flush
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":null}`, c.line())
	c.gone()
}

func TestLineTooLongIsAnsweredAndClosed(t *testing.T) {
	addr := start(t, &Server{Handler: echo, Limits: Limits{MaxLine: 1000}})
	other := connect(t, addr)
	for _, size := range []int{1001, 40_000, 1_000_000, 20_000_000} {
		c := connect(t, addr)
		c.send(`{"jsonrpc":"2.0","method":"echo","id":0}` + "\n")
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			_, _ = io.WriteString(c, strings.Repeat("x", size)+"\n") // and only then reads
		}()
		<-sent
		require.Equal(t, `{"jsonrpc":"2.0","id":0,"result":null}`, c.line())
		require.Equal(t, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid request","data":{"reason":"line too long"}}}`, c.line())
		_, err := c.in.ReadByte()
		require.Equal(t, io.EOF, err, "no reset")
		c.Close()
	}
	other.echoes()
}

func TestSetMaxLineFromTheHandlerHoldsForTheNextLine(t *testing.T) {
	s := &Server{Limits: Limits{MaxLine: 100}}
	s.Handler = func(calls []Call) {
		calls[0].Conn().SetMaxLine(1 << 20)
		echo(calls)
	}
	c := connect(t, start(t, s))
	c.echoes()
	text := strings.Repeat("x", 1<<19)
	c.send(`{"jsonrpc":"2.0","method":"echo","params":["` + text + `"],"id":1}` + "\n")
	require.True(t, `{"jsonrpc":"2.0","id":1,"result":["`+text+`"]}` == c.line())
}

// Beyond MaxConns a newcomer takes the place of a connection that does nothing; where all are busy it is closed.
func TestNewcomerBeyondMaxConnsTakesAnIdleOnesPlace(t *testing.T) {
	held := make(chan *Call, 2)
	s := &Server{Limits: Limits{MaxConns: 2}}
	s.Handler = func(calls []Call) {
		if calls[0].Method == "hold" {
			held <- &calls[0]
			return
		}
		echo(calls)
	}
	addr := start(t, s)
	hold := func(c *raw) *Call {
		c.send(`{"jsonrpc":"2.0","method":"hold","id":1}` + "\n")
		return <-held
	}
	busy, idle := connect(t, addr), connect(t, addr)
	idle.echoes()
	first := hold(busy)
	newcomer := connect(t, addr)
	idle.gone()
	second := hold(newcomer)
	require.Eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.conns) == 2 }, time.Minute, time.Millisecond)
	connect(t, addr).gone()
	for _, call := range []*Call{first, second} {
		call.Result(nil)
		call.Conn().Flush()
	}
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":null}`, busy.line())
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":null}`, newcomer.line())
}

func TestConnCloseDeliversWhatWasAnswered(t *testing.T) {
	var closed atomic.Int32
	s := &Server{Closed: func(*Conn) { closed.Add(1) }}
	s.Handler = func(calls []Call) {
		calls[0].Fail(ErrInternal)
		calls[0].Conn().Close() // NB: no Flush; the other calls stay unanswered
	}
	c := connect(t, start(t, s))
	c.send(strings.Repeat(`{"jsonrpc":"2.0","method":"m","id":1}`+"\n", 10_000)) // bytes unread would make a reset
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"Internal error"}}`, c.line())
	_, err := c.in.ReadByte()
	require.Equal(t, io.EOF, err)
	c.Close()
	require.Eventually(t, func() bool { return closed.Load() == 1 }, time.Minute, time.Millisecond)
}

func TestClosedIsCalledOnceAfterTheLastHandlerCall(t *testing.T) {
	type session struct{ n int }
	closed := make(chan int, 10)
	s := &Server{Closed: func(c *Conn) { closed <- c.Value().(*session).n }}
	s.Handler = func(calls []Call) {
		if calls[0].Conn().Value() == nil {
			calls[0].Conn().SetValue(&session{})
		}
		calls[0].Conn().Value().(*session).n += len(calls) // the race detector would object
		echo(calls)
	}
	c := connect(t, start(t, s))
	c.echoes()
	c.echoes()
	require.NoError(t, c.Close())
	require.Equal(t, 2, <-closed)
	require.Empty(t, closed)
}

func TestServerCloseDeliversAnswersAndWaitsForAll(t *testing.T) {
	calls := make(later, 10)
	s := &Server{Handler: calls.handle}
	addr := start(t, s)
	c, idle := connect(t, addr), connect(t, addr)
	c.send(`{"jsonrpc":"2.0","method":"m","id":1}` + "\n" + `{"jsonrpc":"2.0","method":"m","id":2}` + "\n" + "{")
	batch := <-calls
	batch[0].Result(nil)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "twice does no harm")
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":null}`, c.line())
	c.gone()
	idle.gone()
	for i := range batch[1:] {
		batch[1+i].Result(nil) // nobody is left, nothing happens
	}
	batch[0].Conn().Flush()
	_, err := net.Dial("tcp", addr)
	require.Error(t, err)
	require.NoError(t, s.Serve(failing{}), "after Close")
}

func TestUnusedServerCloses(t *testing.T) {
	require.NoError(t, new(Server).Close())
}

// failing is a listener without sockets.
type failing struct {
	net.Listener
	accept func() (net.Conn, error)
}

func (f failing) Accept() (net.Conn, error) { return f.accept() }
func (f failing) Close() error              { return nil }

func TestServeGoesOnWhenFileDescriptorsRunOut(t *testing.T) {
	n := 0
	err := (&Server{Handler: echo}).Serve(failing{accept: func() (net.Conn, error) {
		if n++; n < 4 {
			return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		return nil, io.ErrUnexpectedEOF
	}})
	require.Equal(t, io.ErrUnexpectedEOF, err)
	require.Equal(t, 4, n)
}

func TestConnectionsThatAreNoSocketsWork(t *testing.T) {
	client, server := net.Pipe()
	s := &Server{Handler: echo}
	conns := make(chan net.Conn, 1)
	conns <- server
	done := make(chan error)
	go func() {
		done <- s.Serve(failing{accept: func() (net.Conn, error) {
			if nc, ok := <-conns; ok {
				return nc, nil
			}
			return nil, net.ErrClosed
		}})
	}()
	c := &raw{client, t, bufio.NewReader(client)}
	for range 100 {
		c.echoes()
	}
	require.NoError(t, client.Close())
	close(conns)
	require.Equal(t, net.ErrClosed, <-done)
	require.NoError(t, s.Close())
}

func TestShutdownAnswersWhatIsOnItsWay(t *testing.T) {
	s := &Server{Handler: echo}
	addr := start(t, s)
	c := connect(t, addr)
	c.echoes()
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(time.Minute) }() // ends with the last connection
	require.Eventually(t, func() bool { return s.ending() }, time.Minute, time.Millisecond)
	c.echoes()
	require.Eventually(t, func() bool {
		late, err := net.Dial("tcp", addr)
		if err == nil {
			late.Close()
		}
		return err != nil
	}, time.Minute, time.Millisecond, "nobody new is let in")
	require.NoError(t, c.Close())
	require.NoError(t, <-ended)
	require.NoError(t, s.Shutdown(time.Minute), "again")
}
