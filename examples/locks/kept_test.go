package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// head is a request that is ours, with some headers more.
func head(length int, more ...string) string {
	return fmt.Sprintf("POST /db/t HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%s\r\n", length, strings.Join(append(more, ""), "\r\n"))
}

func TestWhatIsOurs(t *testing.T) {
	for in, want := range map[string]verdict{
		"":                      short,
		"PO":                    short,
		"POST /db/t":            short,
		head(7)[:40]:            short,
		head(7):                 ours,
		head(7) + `{"a":1}POST`: ours,
		head(0):                 ours,
		head(keptBody):          ours,
		head(keptBody + 1):      foreign,
		head(7, "User-Agent: x", "content-TYPE: text/plain", "Accept: */*", "Connection: Keep-Alive"): ours,
		head(7, "Connection: close"):                                   foreign,
		head(7, "Content-Length: 7"):                                   foreign,
		head(7, "Host: b"):                                             foreign,
		head(7, "Transfer-Encoding: chunked"):                          foreign,
		head(7, "Expect: 100-continue"):                                foreign,
		head(7, "Origin: http://a"):                                    foreign,
		head(7, "Sec-Fetch-Site: cross-site"):                          foreign,
		head(7, "Accept: a", " b"):                                     foreign,
		head(7, "Accept : a"):                                          foreign,
		head(7, "Accept"):                                              foreign,
		head(7, "Accept: a\rb"):                                        foreign,
		head(7, "Accept: a\nTransfer-Encoding: chunked"):               foreign,
		head(7, "Accept: a\x10"):                                       foreign,
		head(7, "Accept: a\x7f"):                                       foreign,
		"GET /db/t HTTP/1.1\r\n\r\n":                                   foreign,
		"G":                                                            foreign,
		"\x16\x03\x01":                                                 foreign,
		strings.Replace(head(7), "1.1", "1.0", 1):                      foreign,
		strings.Replace(head(7), "/db/t", "/db/%74", 1):                foreign,
		strings.Replace(head(7), "/db/t", "/db/t?x=1", 1):              foreign,
		strings.Replace(head(7), "/db/t", "/db/../t", 1):               foreign,
		strings.Replace(head(7), "/db/t", "//db/t", 1):                 foreign,
		strings.Replace(head(7), "/db/t ", "/db/t  ", 1):               foreign,
		strings.Replace(head(7), "Host: a\r\n", "", 1):                 foreign,
		strings.Replace(head(7), "Length: 7", "Length: +7", 1):         foreign,
		strings.Replace(head(7), "Length: 7", "Length: 7, 7", 1):       foreign,
		strings.Replace(head(7), "Length: 7", "Length: ", 1):           foreign,
		strings.Replace(head(7), "Length: 7", "Length: 4294967303", 1): foreign,
		strings.Replace(head(7), "Content-Length: 7\r\n", "", 1):       foreign,
		strings.ReplaceAll(head(7), "\r\n", "\n"):                      foreign,
		"POST /db/t HTTP/1.1\r\nHost: a\n":                             foreign,
		"POST /db/t HTTP/1.1\r\nHost: a\r":                             short,
	} {
		_, _, _, got := parsePost([]byte(in))
		require.Equal(t, want, got, "%q", in)
	}
	path, header, body, _ := parsePost([]byte(head(7) + `{"a":1}`))
	require.Equal(t, "/db/t", path)
	require.Equal(t, len(head(7)), header)
	require.Equal(t, 7, body)
}

// FuzzParsePost compares what is ours with what net/http makes of it.
func FuzzParsePost(f *testing.F) {
	for _, seed := range []string{head(7) + `{"a":1}`, head(0), head(3, "Accept: a", "Connection: keep-alive") + "abc", head(1, "Expect: x"), "POST / HTTP/1.1\r\n\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		path, header, body, v := parsePost(in)
		if v != ours {
			return
		}
		rest := bytes.NewReader(append(in[:header:header], make([]byte, body)...))
		from := bufio.NewReader(rest)
		r, err := http.ReadRequest(from)
		require.NoError(t, err)
		require.Equal(t, path, r.URL.Path)
		require.Equal(t, path, r.RequestURI)
		require.Equal(t, http.MethodPost, r.Method)
		require.EqualValues(t, body, r.ContentLength)
		require.Empty(t, r.TransferEncoding)
		require.False(t, r.Close)
		_, err = io.Copy(io.Discard, r.Body)
		require.NoError(t, err)
		require.Zero(t, from.Buffered()+rest.Len())
	})
}

// startKept serves a kept listener, and an http.Server behind it that tells which one answers.
func startKept(t *testing.T, post postFunc) (addr string, web *http.Server) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	web = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "behind %s %s", r.URL.Path, body)
	})}
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(keep(listener, post)) }()
	t.Cleanup(func() {
		_ = web.Close()
		require.ErrorIs(t, <-ended, http.ErrServerClosed)
	})
	return listener.Addr().String(), web
}

func echo(_ context.Context, path string, body []byte) (int, []byte) {
	return http.StatusAccepted, fmt.Appendf(nil, "kept %s %s", path, body)
}

// talk is a connection that a test writes to by hand.
type talk struct {
	net.Conn
	t  *testing.T
	in *bufio.Reader
}

func dial(t *testing.T, addr string) *talk {
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	t.Cleanup(func() { _ = conn.Close() })
	return &talk{conn, t, bufio.NewReader(conn)}
}

func (k *talk) say(text string) {
	k.t.Helper()
	_, err := k.Write([]byte(text))
	require.NoError(k.t, err)
}

// hear reads an answer, and returns its body.
func (k *talk) hear() string {
	k.t.Helper()
	got, err := http.ReadResponse(k.in, nil)
	require.NoError(k.t, err)
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	require.NoError(k.t, err)
	_, err = http.ParseTime(got.Header.Get("Date"))
	require.NoError(k.t, err)
	return string(body)
}

func TestAKeptConnectionGoesOverToTheServerBehind(t *testing.T) {
	addr, _ := startKept(t, echo)
	k := dial(t, addr)
	k.say(head(1) + "a")
	require.Equal(t, "kept /db/t a", k.hear())
	k.say(head(1) + "b" + head(2)) // in pieces, and several at once
	require.Equal(t, "kept /db/t b", k.hear())
	k.say("c")
	k.say("d" + head(1, "Origin: http://a") + "e" + head(1) + "f")
	require.Equal(t, "kept /db/t cd", k.hear())
	require.Equal(t, "behind /db/t e", k.hear())
	require.Equal(t, "behind /db/t f", k.hear())
	k.say("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
	require.Equal(t, "behind /health ", k.hear())

	first := dial(t, addr)
	first.say("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
	require.Equal(t, "behind /health ", first.hear())
	long := dial(t, addr)
	long.say(head(1, "User-Agent: "+strings.Repeat("x", keptBuffer)) + "a")
	require.Equal(t, "behind /db/t a", long.hear())
	large := dial(t, addr)
	large.say(head(keptBody) + strings.Repeat("x", keptBody) + head(keptBody+1) + strings.Repeat("x", keptBody+1))
	require.Equal(t, "kept /db/t "+strings.Repeat("x", keptBody), large.hear())
	require.Equal(t, "behind /db/t "+strings.Repeat("x", keptBody+1), large.hear())
}

// TestWhoGoesWhileItWaits: the context ends when the client does.
func TestWhoGoesWhileItWaits(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	addr, _ := startKept(t, func(ctx context.Context, _ string, _ []byte) (int, []byte) {
		close(began)
		<-ctx.Done()
		close(ended)
		return http.StatusOK, nil
	})
	k := dial(t, addr)
	k.say(head(1) + "a")
	<-began
	require.NoError(t, k.Close())
	<-ended
}

// pipe is a connection that is served without a listener, for bubbles of synctest.
func pipe(t *testing.T, post postFunc) net.Conn {
	here, there := net.Pipe()
	k := &kept{post: post, conns: map[*keptConn]bool{}, closed: make(chan struct{}), empty: make(chan struct{})}
	c := newKeptConn(k, there)
	require.True(t, k.mark(c, false))
	go c.serve()
	return here
}

// TestALargeAnswerThatNobodyReadsIsDropped with its connection: it would be held for ever.
func TestALargeAnswerThatNobodyReadsIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large := bytes.Repeat([]byte("x"), keptBody+1)
		here := pipe(t, func(_ context.Context, _ string, body []byte) (int, []byte) {
			if string(body) == "a" {
				return http.StatusOK, large
			}
			time.Sleep(keptIdle)
			return http.StatusOK, body
		})
		for range 2 {
			for ask, want := range map[string]string{"a": string(large), "b": "b"} {
				_, err := here.Write([]byte(head(1) + ask))
				require.NoError(t, err)
				time.Sleep(keptIdle - 1) // one that is slow gets all
				got, err := http.ReadResponse(bufio.NewReader(here), nil)
				require.NoError(t, err)
				body, err := io.ReadAll(got.Body)
				require.NoError(t, err)
				require.Equal(t, want, string(body))
			}
		}
		_, err := here.Write([]byte(head(1) + "a"))
		require.NoError(t, err)
		time.Sleep(keptIdle)
		synctest.Wait()
		_, err = here.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	})
}

// TestARequestThatIsUnderWayIsNotIdle, whatever comes behind it: neither is it cut off, nor for ever what comes so slowly.
func TestARequestThatIsUnderWayIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here := pipe(t, func(ctx context.Context, path string, body []byte) (int, []byte) {
			select {
			case <-time.After(time.Hour):
				return echo(ctx, path, body)
			case <-ctx.Done():
				return http.StatusServiceUnavailable, nil
			}
		})
		_, err := here.Write([]byte(head(1) + "a" + head(2) + "b")) // half of the second one
		require.NoError(t, err)
		in := bufio.NewReader(here)
		got, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusAccepted, got.StatusCode)
		_, err = io.Copy(io.Discard, got.Body)
		require.NoError(t, err)
		answered := time.Now()
		_, err = in.ReadByte()
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, keptIdle, time.Since(answered))
	})
}

// TestKeptConnectionsEnd: the idle ones at once, the busy ones with their answer.
func TestKeptConnectionsEnd(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	began, answer := make(chan struct{}), make(chan struct{})
	addr, web := startKept(t, func(ctx context.Context, path string, body []byte) (int, []byte) {
		if string(body) == "w" {
			close(began)
			<-answer
		}
		return echo(ctx, path, body)
	})
	silent, idle, busy := dial(t, addr), dial(t, addr), dial(t, addr)
	idle.say(head(1) + "a")
	require.Equal(t, "kept /db/t a", idle.hear())
	busy.say(head(1) + "w")
	<-began
	ended := make(chan error, 1)
	go func() { ended <- web.Shutdown(t.Context()) }()
	for _, k := range []*talk{silent, idle} {
		_, err := k.in.ReadByte()
		require.ErrorIs(t, err, io.EOF)
	}
	close(answer)
	require.Equal(t, "kept /db/t w", busy.hear())
	_, err := busy.in.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, <-ended)
	_, err = net.Dial("tcp", addr)
	require.Error(t, err)
}
