package web_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/web"
)

// A body that has not come whole is told so, and nothing of it is carried out, even if what has come is a whole request.
func TestCutBodyIsNotCarriedOut(t *testing.T) {
	s := lone(t, raftpico.Limits{})
	h := site(t, s, web.Options{})
	const request = `{"jsonrpc":"2.0","method":"Apply","params":["Command",1],"id":1}`
	before := s.Metrics().LastIndex
	for _, rest := range []string{
		"Content-Length: 1000\r\n\r\n" + request,
		"Content-Length: 1000\r\n\r\n" + request + "\n",
		"Content-Length: 1000\r\n\r\n",
		fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(request), request),
		fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\nno number\r\n", len(request), request),
	} {
		conn, err := net.Dial("tcp", h.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = io.WriteString(conn, "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"+rest)
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, "%q", rest)
		text, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusBadRequest, answer.StatusCode, "%q", rest)
		require.Equal(t, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error","data":{"reason":"the body has not come whole"}}}`+"\n", string(text))
	}
	require.Equal(t, before, s.Metrics().LastIndex)
}

// A body that is still coming when the server ends was certainly not carried out. One that was due is told so.
func TestBodyThatDoesNotComeIsNotCarriedOut(t *testing.T) {
	s := lone(t, raftpico.Limits{})
	handler := web.Handler(s, web.Options{})
	due := time.Time{}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(due)
		handler.ServeHTTP(w, r)
	}))
	defer h.Close()
	ask := func() (int, string) {
		body, more := io.Pipe()
		defer more.Close()
		go func() { _, _ = io.WriteString(more, `{"jsonrpc":"2.0","method":"Apply",`) }()
		answer, err := http.Post(h.URL+"/rpc", "application/json", body)
		require.NoError(t, err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return answer.StatusCode, string(text)
	}
	due = time.Now().Add(50 * time.Millisecond)
	status, answer := ask()
	require.Equal(t, http.StatusRequestTimeout, status)
	require.Contains(t, answer, `"reason":"the body has not come in time"`)
	due = time.Time{}
	go func() {
		require.Eventually(t, func() bool { return s.Metrics().Connections.Open == 1 }, patience, time.Millisecond)
		require.NoError(t, s.Close())
	}()
	status, answer = ask()
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, answer, `"code":110`)
}
