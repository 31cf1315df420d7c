package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/memnet"
)

// rawAsk sends bytes, ends its half of the connection if told so, and returns the first answer.
func rawAsk(t *testing.T, addr, sent string, end bool) (status int, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = io.WriteString(conn, sent)
	require.NoError(t, err)
	if end {
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(read)
}

// A client that ends its half of the connection behind its request, as nc -N does, looks like one that has gone. What is not done for
// it must not look like success.
func TestHalfClosedConnectionGetsNoFalseSuccess(t *testing.T) {
	c := memnet.Start(t, 3, func() machine.Machine { return machine.JSON(&kvs{}) })
	leader := c.Leader()
	site := httptest.NewServer(newFront(leader, nil))
	defer site.Close()
	c.Isolate(leader.Addr())
	const form = "POST /konsen HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\nk=v"
	for sent, says := range map[string]string{
		form: `"unknown":`, // either: it may wait for others yet, or be in the log
		"DELETE /api/kv?key=k HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n": `"unknown":`,
		"GET /konsen?key=k HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n":    `"unknown":false`,
		"GET /api/keys HTTP/1.0\r\n\r\n":                           `"unknown":false`,
	} {
		status, body := rawAsk(t, site.Listener.Addr().String(), sent, true)
		require.Equal(t, http.StatusServiceUnavailable, status, "%s: %s", sent, body)
		require.Contains(t, body, says, sent)
	}
}

// A client that asks first whether its body is wanted is not waited for when it is not.
func TestBodyThatIsNotWantedIsNotWaitedFor(t *testing.T) {
	s := newSite(t)
	for path, want := range map[string]int{"/konsen": 415, "/nothing": 404, "/api/keys": 405} {
		sent := "POST " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n"
		status, body := rawAsk(t, strings.TrimPrefix(s.http.URL, "http://"), sent, false)
		require.Equal(t, want, status, "%s: %s", path, body)
	}
}
