package web_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
	"github.com/raftpico/go/raftpico/web"
)

const patience = time.Minute

// echo answers its input. The input "wait" makes a query wait for what never comes.
type echo struct{}

func (*echo) Apply(ctx *machine.Context, in json.RawMessage) (any, error) {
	if string(in) == `"wait"` && ctx.Kind == machine.Query && !ctx.TimedOut {
		ctx.Wait("never")
	}
	return in, nil
}

func newEcho() machine.Machine { return machine.JSON(&echo{}) }

// site serves HTTP for a server until the test ends.
func site(t *testing.T, s *raftpico.Server, o web.Options) *httptest.Server {
	h := httptest.NewServer(web.Handler(s, o))
	t.Cleanup(h.Close)
	return h
}

func lone(t *testing.T, limits raftpico.Limits) *raftpico.Server {
	s, err := raftpico.Start(newEcho(), raftpico.Options{Addr: "127.0.0.1:0", InMemory: true, Limits: limits})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	_, err = s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	require.NoError(t, s.Ready(t.Context()))
	return s
}

// post sends a body as the console does.
func post(t *testing.T, url, body string, header ...string) (status int, answer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "POST", url+"/rpc", strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	got, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	return got.StatusCode, string(text)
}

// tcp asks over the server's own port, in one line.
func tcp(t *testing.T, addr, line string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	// The first line is JSON, so that a bad one is answered as any other.
	_, err = fmt.Fprintf(conn, "%s\n%s\n", `{"jsonrpc":"2.0","method":"GetServerState","params":{"machines":false}}`, line)
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	return string(answer)
}

// What is asked over HTTP is answered as over TCP, byte for byte.
func TestAnswersAreThoseOfTCP(t *testing.T) {
	s := lone(t, raftpico.Limits{})
	h := site(t, s, web.Options{Manage: true})
	for _, body := range []string{
		`{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":{"a":[1,2]}},"id":7}`,
		`{"jsonrpc":"2.0","method":"Apply","params":["Query",null],"id":"x"}`,
		`{"jsonrpc":"2.0","method":"Apply","params":{"kind":"LocalQuery","input":1}}`,
		`[{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":1},"id":1},{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":2}},3]`,
		`[{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":1}}]`,
		`[]`, `{}`, `{"jsonrpc":"2.0","id":4}`, `nothing`, `{"jsonrpc":"2.0"`, `{} {}`, "\"\xff\"", strings.Repeat("[", 200) + strings.Repeat("]", 200),
		`{"jsonrpc":"2.0","method":"CreateCluster","id":1}`, `{"jsonrpc":"2.0","method":"Nothing","id":1}`,
		`{"jsonrpc":"2.0","method":"AddServer","params":{"addr":":1"},"id":1}`,
		`"` + strings.Repeat("x", 100_000) + `"`,
	} {
		want := tcp(t, s.Addr(), body)
		status, got := post(t, h.URL, body)
		require.Equal(t, want, got, "%.100s", body)
		if want == "" {
			require.Equal(t, http.StatusNoContent, status, body)
		} else {
			require.Equal(t, http.StatusOK, status, "%.100s", body)
		}
	}
}

// A body may have line breaks where JSON may, and is one value all the same.
func TestBodyIsOneValue(t *testing.T) {
	h := site(t, lone(t, raftpico.Limits{}), web.Options{})
	pretty := "\n{\r\n  \"jsonrpc\": \"2.0\",\n\t\"method\": \"Apply\",\n  \"params\": {\"kind\": \"Command\",\n \"input\": \"a\\nb\"},\n  \"id\": 1\n}\n\n"
	_, answer := post(t, h.URL, pretty)
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":"a\nb"}`+"\n", answer)
	for _, body := range []string{"", " \n\t ", "{\"jsonrpc\":\"2.0\",\"method\":\"A\nB\",\"id\":1}",
		"{\"jsonrpc\":\"2.0\",\"method\":\"Apply\",\"params\":[\"Command\",1],\"id\":1}\n{\"jsonrpc\":\"2.0\",\"method\":\"Apply\",\"params\":[\"Command\",1],\"id\":2}"} {
		status, answer := post(t, h.URL, body)
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, answer, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,`, "%q", body)
	}
	status, answer := post(t, site(t, lone(t, raftpico.Limits{MaxLine: 1000}), web.Options{}).URL, `"`+strings.Repeat("x", 1000)+`"`)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, answer, `"line too long"`)
}

// A web page of another origin can't ask for anything, and no other can but by POST.
func TestPagesOfOthersAreKeptOut(t *testing.T) {
	s := lone(t, raftpico.Limits{})
	h := site(t, s, web.Options{Manage: true})
	const body = `{"jsonrpc":"2.0","method":"Apply","params":["Command",1],"id":1}`
	before := s.Metrics()
	for _, refused := range []struct {
		status int
		header []string
	}{
		{http.StatusUnsupportedMediaType, []string{"Content-Type", "text/plain"}},
		{http.StatusUnsupportedMediaType, []string{"Content-Type", ""}},
		{http.StatusUnsupportedMediaType, []string{"Content-Type", "application/x-www-form-urlencoded"}},
		{http.StatusForbidden, []string{"Sec-Fetch-Site", "cross-site"}},
		{http.StatusForbidden, []string{"Sec-Fetch-Site", "same-site"}},
		{http.StatusForbidden, []string{"Origin", "http://example.com"}},
	} {
		status, _ := post(t, h.URL, body, refused.header...)
		require.Equal(t, refused.status, status, refused.header)
	}
	r, err := http.NewRequest("POST", h.URL+"/rpc", strings.NewReader(body))
	require.NoError(t, err)
	r.Host = "rebound.example.com"
	r.Header.Set("Content-Type", "application/json")
	got, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	got.Body.Close()
	require.Equal(t, http.StatusMisdirectedRequest, got.StatusCode)
	got, err = http.Get(h.URL + "/rpc")
	require.NoError(t, err)
	got.Body.Close()
	require.Equal(t, http.StatusMethodNotAllowed, got.StatusCode)
	require.Equal(t, before.LastIndex, s.Metrics().LastIndex, "nothing was carried out")
	status, _ := post(t, h.URL, body, "Sec-Fetch-Site", "same-origin", "Content-Type", "application/json; charset=utf-8")
	require.Equal(t, http.StatusOK, status)
}

// Without Manage only what changes the user's state can be asked for. A server can't come this way at all.
func TestOperatorsMethodsNeedManage(t *testing.T) {
	s := lone(t, raftpico.Limits{})
	h := site(t, s, web.Options{})
	for _, method := range []string{"CreateCluster", "AddServer", "RemoveServer", "SetVoter", "TransferLeader", "Configure", "TakeSnapshot", "CheckState", "BeginBackup", "ReadBackup", "New"} {
		_, answer := post(t, h.URL, `{"jsonrpc":"2.0","method":"`+method+`","id":1}`)
		require.Equal(t, `{"jsonrpc":"2.0","id":1,"error":{"code":113,"message":"Not permitted","data":{"reason":"this server is not managed over HTTP"}}}`+"\n", answer, method)
	}
	_, answer := post(t, h.URL, `{"jsonrpc":"2.0","method":"OpenSession","id":1}`)
	require.Contains(t, answer, `"session"`)
	managed := site(t, s, web.Options{Manage: true})
	_, answer = post(t, managed.URL, `{"jsonrpc":"2.0","method":"TakeSnapshot","id":1}`)
	require.Contains(t, answer, `"snapshot_index"`)
	for _, method := range []string{"raftpico.Hello", "raftpico.Join", "raftpico.Prove", "raftpico.Message", "raftpico.Snapshot", "raftpico.Chunk", "raftpico.Install", "raftpico.Bootstrap"} {
		_, answer := post(t, managed.URL, `{"jsonrpc":"2.0","method":"`+method+`","params":{},"id":1}`)
		require.Contains(t, answer, `"code":-32601`, method)
	}
}

// What Options.Authorize says holds here too.
func TestAuthorizeIsAsked(t *testing.T) {
	s, err := raftpico.Start(newEcho(), raftpico.Options{Addr: "127.0.0.1:0", InMemory: true, Authorize: func(p raftpico.Peer, method string) error {
		if method == "AddServer" {
			return fmt.Errorf("not from %s", p.Addr.(*net.TCPAddr).IP)
		}
		return nil
	}})
	require.NoError(t, err)
	defer s.Close()
	_, answer := post(t, site(t, s, web.Options{Manage: true}).URL, `{"jsonrpc":"2.0","method":"AddServer","params":{"addr":"127.0.0.1:9"},"id":1}`)
	require.Contains(t, answer, `{"code":113,"message":"Not permitted","data":{"reason":"not from 127.0.0.1"}}`)
}

// Whatever is asked for over a connection, it can be used again.
func TestConnectionIsUsedAgain(t *testing.T) {
	s := lone(t, raftpico.Limits{})
	h := site(t, s, web.Options{})
	conn, err := net.Dial("tcp", h.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	in := bufio.NewReader(conn)
	for i := range 20 {
		for body, want := range map[string]int{`{"jsonrpc":"2.0","method":"Apply","params":["Command",1],"id":1}`: 200, `{"jsonrpc":"2.0","method":"Apply","params":["Query",1]}`: 204, `nothing`: 200} {
			_, err := fmt.Fprintf(conn, "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			require.NoError(t, err)
			answer, err := http.ReadResponse(in, nil)
			require.NoError(t, err)
			text, err := io.ReadAll(answer.Body)
			require.NoError(t, err)
			require.Equal(t, want, answer.StatusCode, i)
			require.Equal(t, want == 204, len(text) == 0, i)
		}
		time.Sleep(time.Millisecond) // for what might happen behind the answer
	}
}

// A client that goes gives its requests up, as one whose connection breaks.
func TestClientThatGoesIsForgotten(t *testing.T) {
	s := lone(t, raftpico.Limits{})
	h := site(t, s, web.Options{})
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", h.URL+"/rpc", strings.NewReader(`{"jsonrpc":"2.0","method":"Apply","params":["Query","wait"],"id":1}`))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	gone := make(chan error, 1)
	go func() {
		answer, err := http.DefaultClient.Do(r)
		if err == nil {
			answer.Body.Close()
		}
		gone <- err
	}()
	require.Eventually(t, func() bool { return s.Metrics().Waiting == 1 }, patience, time.Millisecond)
	require.Equal(t, 1, s.Metrics().Connections.Open)
	leave()
	require.ErrorIs(t, <-gone, context.Canceled)
	require.Eventually(t, func() bool { m := s.Metrics(); return m.Waiting == 0 && m.Connections.Open == 0 }, patience, time.Millisecond)
}

// A query that waits is answered by 503 when its server ends, since a connection would break.
func TestRequestThatWaitsIsAnsweredAtTheEnd(t *testing.T) {
	s := lone(t, raftpico.Limits{})
	h := site(t, s, web.Options{})
	answered := make(chan string, 1)
	go func() {
		status, answer := post(t, h.URL, `{"jsonrpc":"2.0","method":"Apply","params":["Query","wait"],"id":1}`)
		answered <- fmt.Sprint(status, answer)
	}()
	require.Eventually(t, func() bool { return s.Metrics().Waiting == 1 }, patience, time.Millisecond)
	require.NoError(t, s.Close())
	require.Contains(t, <-answered, `200{"jsonrpc":"2.0","id":1,"error":{"code":106,`)
	status, answer := post(t, h.URL, `{"jsonrpc":"2.0","method":"Apply","params":["Query",1],"id":1}`)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, answer, `"code":110`, "it certainly was not carried out")
}

// A place that an idle connection would give up is needed for a POST as for a newcomer. Without one, the answer says so.
func TestPostNeedsAPlace(t *testing.T) {
	s := lone(t, raftpico.Limits{MaxConns: 1})
	h := site(t, s, web.Options{})
	conn, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, `{"jsonrpc":"2.0","method":"Apply","params":["Command",1],"id":1}`+"\n")
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 1))
	require.NoError(t, err)
	status, _ := post(t, h.URL, `{"jsonrpc":"2.0","method":"Apply","params":["Command",1],"id":1}`)
	require.Equal(t, http.StatusOK, status, "the idle one gives way")
	require.EqualValues(t, 1, s.Metrics().Connections.GaveWay)
}

// A slow client holds up nobody: its answer is not kept in memory for it.
func TestLargeAnswersArrive(t *testing.T) {
	s := lone(t, raftpico.Limits{Budget: 64 << 20})
	h := site(t, s, web.Options{})
	large := `"` + strings.Repeat("x", 4<<20) + `"`
	status, answer := post(t, h.URL, `{"jsonrpc":"2.0","method":"Apply","params":["Command",`+large+`],"id":1}`)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":`+large+"}\n", answer)
}

func TestStateTellsOfTheServer(t *testing.T) {
	c := memnet.Start(t, 3, newEcho)
	s := c.Leader()
	h := site(t, s, web.Options{Page: func(addr string) string {
		if addr == s.Addr() {
			return ""
		}
		return "http://" + addr + "/"
	}})
	get := func(query string) (state web.State) {
		answer, err := http.Get(h.URL + "/state" + query)
		require.NoError(t, err)
		defer answer.Body.Close()
		require.Equal(t, http.StatusOK, answer.StatusCode)
		require.NoError(t, json.NewDecoder(answer.Body).Decode(&state))
		return state
	}
	state := get("")
	require.Equal(t, "Leader", state.Server.Role)
	require.Len(t, state.Server.Members, 3)
	require.Len(t, state.Pages, 2)
	require.False(t, state.Manage)
	cut := c.Servers[0]
	if cut == s {
		cut = c.Servers[1]
	}
	require.NoError(t, cut.Close())
	down := "the link to " + cut.Addr() + " is down"
	require.Eventually(t, func() bool {
		for _, e := range get("").Events {
			if e.Text == down && e.Bad {
				return true
			}
		}
		return false
	}, patience, 5*time.Millisecond)
	require.Eventually(t, func() bool { // more may come meanwhile
		all := get("").Events
		last := all[len(all)-1].Seq
		return len(get(fmt.Sprintf("?after=%d", last)).Events) == 0 && len(get(fmt.Sprintf("?after=%d", last-1)).Events) == 1 &&
			len(get("?after=1000000").Events) == len(all) // the page has known another server
	}, patience, 5*time.Millisecond)
	answer, err := http.Get(h.URL + "/state?after=x")
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, http.StatusBadRequest, answer.StatusCode)
	require.NoError(t, s.Close())
	require.Eventually(t, func() bool { return get("").Ended }, patience, 5*time.Millisecond)
}

func TestPathsThatThereAre(t *testing.T) {
	s := lone(t, raftpico.Limits{})
	h := site(t, s, web.Options{})
	measured := site(t, s, web.Options{Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "figures") })})
	for url, want := range map[string]string{h.URL + "/health": "200 {\"healthy\":true}", h.URL + "/ready": "200 {\"leader\"", h.URL + "/metrics": "404 ", h.URL + "/x": "404 ",
		measured.URL + "/metrics": "200 figures", h.URL + "/": "200 <!DOCTYPE html>"} {
		answer, err := http.Get(url)
		require.NoError(t, err)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		answer.Body.Close()
		require.True(t, strings.HasPrefix(fmt.Sprint(answer.StatusCode, " ", string(bytes.TrimSpace(body))), want), "%s: %d %.100s", url, answer.StatusCode, body)
		require.Equal(t, "no-store", answer.Header.Get("Cache-Control"))
		require.Contains(t, answer.Header.Get("Content-Security-Policy"), "default-src 'none'")
	}
}
