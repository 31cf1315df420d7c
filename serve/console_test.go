package serve

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico"
)

// The console has its paths, and all others go to the service's own handler as they came.
func TestConsoleIsBesideTheServicesOwnHTTP(t *testing.T) {
	say := func(what string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, what+" "+r.URL.Path) })
	}
	s := full()
	s.HTTP = func(*raftpico.Server) http.Handler { return say("own") }
	var config ConsoleConfig
	s.Console = func(_ *raftpico.Server, c ConsoleConfig) http.Handler { config = c; return say("console") }
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		s.handler(nil, ConsoleConfig{Manage: true}).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, w.Body.String() + w.Header().Get("Location")
	}
	for path, want := range map[string]string{"/": "own /", "//a/../b": "own //a/../b", "/raftpicox": "own /raftpicox", "/raftpico/": "console /", "/raftpico/rpc": "console /rpc"} {
		status, body := get(path)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, want, body)
	}
	require.True(t, config.Manage)
	status, _ := get("/raftpico")
	require.Equal(t, http.StatusPermanentRedirect, status)
	s.HTTP = nil
	status, to := get("/")
	require.Equal(t, http.StatusTemporaryRedirect, status)
	require.Contains(t, to, ConsolePath)
	status, _ = get("/other")
	require.Equal(t, http.StatusNotFound, status)
	c, usage, err := s.parse([]string{"-http", ":8000", "-manage", ":4000"})
	require.NoError(t, err)
	require.True(t, c.Manage)
	require.Contains(t, usage, "-manage")
	s.Console = nil
	_, _, err = s.parse([]string{"-manage", ":4000"})
	require.Error(t, err, "there is nothing to manage")
}

func TestDemoTellsWhereTheConsolesAre(t *testing.T) {
	s := full()
	s.Console = func(*raftpico.Server, ConsoleConfig) http.Handler { return http.NotFoundHandler() }
	d := Demo{Addrs: []string{"a:1", "b:2"}, HTTPAddrs: []string{"a:81", "b:82"}}
	require.Contains(t, d.text(s), "\nConsole: http://a:81/raftpico/, http://b:82/raftpico/\n")
	require.Equal(t, "http://b:82/raftpico/", d.pages()("b:2"))
	require.Empty(t, d.pages()("c:3"))
	require.False(t, strings.Contains(d.text(full()), "Console"))
}
