package jsonrpc

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

const echoLine = `{"jsonrpc":"2.0","method":"echo","params":["here"],"id":1}`

// counted is echo, and counts what it is given.
func counted(n *atomic.Int32) func([]Call) {
	return func(calls []Call) {
		n.Add(int32(len(calls)))
		echo(calls)
	}
}

// all is what the server says until it closes the connection.
func (r *raw) all() string {
	r.t.Helper()
	b, err := io.ReadAll(r.in)
	require.NoError(r.t, err, "no reset")
	return string(b)
}

func TestNothingIsCarriedOutOfWhatDoesNotBeginWithJSON(t *testing.T) {
	var calls atomic.Int32
	addr := start(t, &Server{Handler: counted(&calls)})
	const (
		badRequest = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 80\r\nConnection: close\r\n\r\n" +
			"This port speaks JSON-RPC 2.0, one JSON value a line, over plain TCP, not HTTP.\n"
		parse = `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error",` +
			`"data":{"reason":"no JSON. This port speaks JSON-RPC 2.0, one JSON value a line, over plain TCP"}}}` + "\n"
	)
	broken := strings.Replace(parse, "no JSON", "not one whole JSON value in this line", 1)
	body := "\r\n" + echoLine + "\n" + echoLine + "\n"
	for _, c := range []struct{ first, want string }{
		{"POST / HTTP/1.1\r\nHost: localhost:4000\r\nContent-Type: text/plain\r\n", badRequest},
		{"post /x HTTP/1.0\r\n", badRequest},
		{"gEt http://localhost/ http/1.1\r\n", badRequest},
		{"OPTIONS * HTTP/1.1\r\n", badRequest},
		{"M-SEARCH * HTTP/1.1\r\n", badRequest},
		{"1 / HTTP/1.1\r\n", badRequest},
		{"null / HTTP/1.1\r\n", badRequest},
		{"GET /\r\n", badRequest},
		{"\r\n\r\nPOST / HTTP/1.1\r\n", badRequest},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n", badRequest},
		{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\x15\x03\x01\x00\x02\x02\x28"},
		{"\x00\x00\x00\x08\x04\xd2\x16\x2f", parse},
		{"\ufeff", parse},
		{"SSH-2.0-OpenSSH_9.6\r\n", parse},
		{"EHLO localhost\r\n", parse},
		{"*1\r\n$4\r\nPING\r\n", parse},
		{"null {}\n", parse},
		{`{"jsonrpc":"2.0","method":"echo","id":1` + "\n", broken},
		{`[` + echoLine + "\n", broken},
		{" " + echoLine + " " + echoLine + "\n", broken},
		{echoLine + " / HTTP/1.1\n", broken},
		{"   \nnonsense\n", parse},
		{" \t\r\n \nPOST / HTTP/1.1\r\n", badRequest},
	} {
		for _, piece := range []int{1, 7, 1 << 20} {
			conn := connect(t, addr)
			require.NoError(t, conn.Conn.(*net.TCPConn).SetNoDelay(true))
			go func() { // the server may close before it has all
				for rest := c.first + body; rest != ""; rest = rest[min(piece, len(rest)):] {
					_, _ = io.WriteString(conn, rest[:min(piece, len(rest))])
				}
			}()
			require.Equal(t, c.want, conn.all(), "%q in pieces of %d", c.first, piece)
		}
	}
	require.Zero(t, calls.Load())
}

func TestBinaryIsRefusedWithoutALine(t *testing.T) {
	addr := start(t, &Server{Handler: echo})
	for _, first := range []string{"\x16", " \x00", "\x80", "\r\n\x7f"} {
		c := connect(t, addr)
		c.send(first)
		require.NotEmpty(t, c.all(), "%q", first)
	}
}

func TestClientsOfOtherProtocolsAreTold(t *testing.T) {
	addr := start(t, &Server{Handler: echo})
	r, err := http.Post("http://"+addr, "text/plain", strings.NewReader(echoLine+"\n"))
	require.NoError(t, err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, 400, r.StatusCode)
	require.Contains(t, string(text), "JSON-RPC")

	_, err = tls.Dial("tcp", addr, nil)
	require.ErrorContains(t, err, "handshake failure")
}

func TestFirstLineOfJSONMayBeNoRequest(t *testing.T) {
	addr := start(t, &Server{Handler: echo})
	for _, first := range []string{"1", `"x"`, "null", "{}", "[]", " \t\r\n \n1", strings.Repeat("[", 200) + strings.Repeat("]", 200)} {
		c := connect(t, addr)
		c.send("\r\n" + first + "\r\n")
		require.Contains(t, c.line(), "error", first)
		c.send("nonsense\n")
		require.Contains(t, c.line(), "-32700", first)
		c.echoes()
	}
}

// A value is taken for a line when nothing follows it for a moment: some clients send no newline.
func TestWholeValueNeedsNoNewline(t *testing.T) {
	c := connect(t, start(t, &Server{Handler: echo}))
	const answer = `{"jsonrpc":"2.0","id":1,"result":["here"]}`
	for _, value := range []string{echoLine, echoLine + "\r", " " + echoLine + " ", "\n" + echoLine + "\n" + echoLine} {
		c.send(value)
		for range strings.Count(value, "echo") {
			require.Equal(t, answer, c.line())
		}
	}
	c.send("\n[" + echoLine + "]")
	require.Equal(t, "["+answer+"]", c.line())
	c.echoes()
}

// lulls is a source in which an empty piece is a lull, if the reader looks for one.
type lulls struct {
	pieces []string
	looks  bool
	seen   int
}

func (l *lulls) lull(on bool) bool {
	l.looks = on
	return true
}

func (l *lulls) Read(b []byte) (int, error) {
	for len(l.pieces) > 0 {
		piece := l.pieces[0]
		if piece != "" {
			n := copy(b, piece)
			if l.pieces[0] = piece[n:]; n == len(piece) {
				l.pieces = l.pieces[1:]
			}
			return n, nil
		}
		l.pieces = l.pieces[1:]
		if l.looks {
			l.seen++
			return 0, os.ErrDeadlineExceeded
		}
	}
	return 0, io.EOF
}

func TestReaderTakesAWholeValueForALineInALull(t *testing.T) {
	long := `["` + strings.Repeat("x", busyBuffer) + `"]`
	for _, c := range []struct {
		pieces []string
		lines  []string
		seen   int
		why    string
	}{
		{[]string{`{"a":1}`, "", "\n", `{}`}, []string{`{"a":1}`, `{}`}, 1, "the newline may come later"},
		{[]string{`{"a":1}`, `{"b":1}` + "\n"}, []string{`{"a":1}{"b":1}`}, 0, "no lull"},
		{[]string{`{"a":{}`, "", "", `}`, "", `[1]` + "\n"}, []string{`{"a":{}}`, `[1]`}, 2, "a brace that ends nothing is looked at once"},
		{[]string{`{"a":"}`, "", `"}`, ""}, []string{`{"a":"}"}`}, 2, "nor one in a string"},
		{[]string{"1", "", "2", "", "\n"}, []string{"12"}, 0, "a number may go on"},
		{[]string{`"x"`, "", "\n"}, []string{`"x"`}, 0, "a string is no request"},
		{[]string{`nonsense}`, "", "x\n"}, []string{`nonsense}x`}, 1, "no JSON"},
		{[]string{"a\n[1] ", "", "b\n"}, []string{"a", "[1] ", "b"}, 1, "behind a line"},
		{[]string{long, "", "\n"}, []string{long}, 0, "not in long lines"},
	} {
		src := &lulls{pieces: c.pieces}
		r := NewReader(src, 0)
		r.lull = src.lull
		got, err := readAll(r)
		require.Equal(t, io.EOF, err, c.why)
		require.Equal(t, c.lines, got, c.why)
		require.Equal(t, c.seen, src.seen, c.why)
	}
}
