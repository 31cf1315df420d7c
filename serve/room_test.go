package serve

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

func TestHTTPConnectionsBeyondTheRoomWait(t *testing.T) {
	require.Equal(t, 1, cap(newRoom(0).places))
	require.Equal(t, 750, cap(newRoom(1000).places))
	room := newRoom(1)
	var addrs []string
	for range 2 {
		site := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }))
		site.Listener = newBounded(site.Listener, room, patience)
		site.Start()
		defer site.Close()
		addrs = append(addrs, site.Listener.Addr().String())
	}
	first := dial(t, addrs[0], request)
	require.Equal(t, "here", answerOn(t, bufio.NewReader(first)))
	second := dial(t, addrs[1], request)
	require.NoError(t, second.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := second.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the room is that of both")
	require.NoError(t, first.Close())
	require.NoError(t, second.SetReadDeadline(time.Now().Add(patience)))
	require.Equal(t, "here", answerOn(t, bufio.NewReader(second)))
	require.NoError(t, second.Close())
	require.Eventually(t, func() bool { return len(room.places) == 0 }, patience, time.Millisecond, "no place is lost")
}

func TestBoundedListenerThatWaitsForAPlaceCloses(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	full := newRoom(1)
	require.True(t, full.take(nil))
	l := newBounded(inner, full, patience)
	failed := make(chan error)
	go func() { _, err := l.Accept(); failed <- err }()
	conn := dial(t, inner.Addr().String(), request)
	require.NoError(t, l.Close())
	require.ErrorIs(t, <-failed, net.ErrClosed)
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err, "the connection is closed, too")
}

// Who opens connections and sends nothing, or a part of a header or a body, shuts nobody out. Who waits for an answer gives no way.
func TestQuietHTTPConnectionsGiveWay(t *testing.T) {
	room := newRoom(5) // 4 places
	room.least = 0
	asked, answer, failed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	site := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			close(asked)
			<-answer
		}
		if _, err := io.ReadAll(r.Body); err != nil {
			failed <- err
		}
		_, _ = io.WriteString(w, "here")
	}))
	site.Config.Handler = boundBodies(site.Config.Handler, patience)
	site.Listener = newBounded(site.Listener, room, patience)
	furnish(site.Config)
	site.Start()
	defer site.Close()
	addr := site.Listener.Addr().String()
	waits := dial(t, addr, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
	<-asked
	silent := dial(t, addr, "")
	half := dial(t, addr, "GET / HTTP/1.1\r\nHo")
	body := dial(t, addr, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n12")
	for range 5 {
		require.Equal(t, "here", answerOn(t, bufio.NewReader(dial(t, addr, request))))
	}
	require.ErrorIs(t, <-failed, net.ErrClosed)
	for _, gone := range []net.Conn{silent, half, body} {
		_, err := gone.Read(make([]byte, 1))
		require.Error(t, err)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	close(answer)
	in := bufio.NewReader(waits)
	require.Equal(t, "here", answerOn(t, in), "it had not given way")
	require.Eventually(t, func() bool { room.mu.Lock(); defer room.mu.Unlock(); return len(room.quiet) == 4 }, patience, time.Millisecond)
	require.Len(t, room.places, 4)
}

// A connection that a handler has taken over is the handler's.
func TestHijackedConnectionsGiveNoWay(t *testing.T) {
	room := newRoom(1)
	room.least = 0
	taken := make(chan net.Conn, 1)
	site := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			taken <- conn
		}
	}))
	site.Listener = newBounded(site.Listener, room, patience)
	furnish(site.Config)
	site.Start()
	defer site.Close()
	mine := dial(t, site.Listener.Addr().String(), request)
	conn := <-taken
	second := dial(t, site.Listener.Addr().String(), request)
	require.NoError(t, second.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := second.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	_, err = io.WriteString(conn, "!")
	require.NoError(t, err)
	_, err = mine.Read(make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	(<-taken).Close()
}
