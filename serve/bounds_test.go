package serve

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// dial opens a connection that ends with the test, and sends what is given.
func dial(t *testing.T, addr, sent string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, sent)
	require.NoError(t, err)
	return conn
}

// answerOn reads an answer to its end.
func answerOn(t *testing.T, in *bufio.Reader) string {
	t.Helper()
	answer, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return string(body)
}

func TestBodyThatNeverComesIsNotWaitedFor(t *testing.T) {
	read := make(chan error, 1)
	site := httptest.NewServer(boundBodies(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/read" {
			_, err := io.ReadAll(r.Body)
			read <- err
		}
	}), 20*time.Millisecond))
	defer site.Close()
	for _, head := range []string{"GET /", "POST /", "POST /read"} {
		for _, body := range []string{"Content-Length: 3\r\n\r\n12", "Transfer-Encoding: chunked\r\n\r\n5\r\n12"} {
			conn := dial(t, site.Listener.Addr().String(), head+" HTTP/1.1\r\nHost: x\r\n"+body)
			_, err := io.ReadAll(conn)
			require.NoError(t, err, "%s: the connection is closed", head)
			if head == "POST /read" {
				require.ErrorIs(t, <-read, os.ErrDeadlineExceeded)
			}
		}
	}
}

// Only the body is bounded: not the time until its answer, nor the next request.
func TestRequestThatHasComeMayWait(t *testing.T) {
	const bound = 200 * time.Millisecond
	site := httptest.NewServer(boundBodies(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		select {
		case <-r.Context().Done():
		case <-time.After(3 * bound):
			_, _ = w.Write(body)
		}
	}), bound))
	defer site.Close()
	conn := dial(t, site.Listener.Addr().String(), "")
	in := bufio.NewReader(conn)
	for _, sent := range []string{"Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "Content-Length: 3\r\n\r\nabc"} {
		_, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\n"+sent)
		require.NoError(t, err)
		require.Equal(t, "abc", answerOn(t, in))
		time.Sleep(2 * bound) // idle, for longer than the bound
	}
}

// A large body has more time than a small one.
func TestLongBodyHasItsTime(t *testing.T) {
	const bound, pieces = 2 * time.Second, 4
	site := httptest.NewServer(boundBodies(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n, err)
	}), bound))
	defer site.Close()
	conn := dial(t, site.Listener.Addr().String(), fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", pieces*bodyRate))
	for range pieces { // each of them gives a second more
		_, err := io.WriteString(conn, strings.Repeat("x", bodyRate))
		require.NoError(t, err)
		time.Sleep(bound / 3)
	}
	require.Equal(t, fmt.Sprint(pieces*bodyRate, nil), answerOn(t, bufio.NewReader(conn)))
}

func TestAnswerThatNobodyReadsEnds(t *testing.T) {
	wrote := make(chan error, 1)
	start := func(bound time.Duration) (addr string) {
		site := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, err := w.Write(make([]byte, 64<<20))
			wrote <- err
		}))
		site.Listener = newBounded(site.Listener, newRoom(100), bound)
		site.Start()
		t.Cleanup(site.Close)
		return site.Listener.Addr().String()
	}
	conn := dial(t, start(50*time.Millisecond), request)
	require.ErrorIs(t, <-wrote, os.ErrDeadlineExceeded)
	require.NoError(t, conn.Close())

	conn = dial(t, start(patience), request)
	require.Len(t, answerOn(t, bufio.NewReader(conn)), 64<<20, "who reads gets all of it")
	require.NoError(t, <-wrote)
}
