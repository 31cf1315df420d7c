package metrics_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/metrics"
	"github.com/raftpico/go/raftpico/web"
)

// stuck is a machine whose commands wait until the channel is closed.
type stuck struct {
	until chan struct{}
	N     int
}

func (m *stuck) Apply(ctx *machine.Context, in json.RawMessage) (any, error) {
	if ctx.Kind == machine.Command {
		<-m.until
	}
	return in, nil
}

// All who ask at once are answered while the machine hangs: by what was known last, and how old it is.
func TestAllAreAnsweredWhileTheMachineHangs(t *testing.T) {
	m := &stuck{until: make(chan struct{})}
	s, err := raftpico.Start(machine.JSON(m), raftpico.Options{Addr: "127.0.0.1:0", InMemory: true})
	require.NoError(t, err)
	_, err = s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	require.NoError(t, s.Ready(t.Context()))
	require.Equal(t, "Leader", s.Metrics().Role)
	site := httptest.NewServer(web.Handler(s, web.Options{Metrics: metrics.Handler(s)}))
	defer site.Close()
	applied := make(chan error, 1)
	go func() { _, err := s.Apply(context.Background(), machine.Command, 1); applied <- err }()
	require.Eventually(t, func() bool { return s.Metrics().Age > 0 }, 20*time.Second, time.Millisecond)

	paths := []string{"/metrics", "/metrics", "/metrics", "/state", "/state", "/health", "/ready", "/"}
	answers := make(chan [2]string, len(paths))
	for _, path := range paths {
		go func() { answers <- [2]string{path, get(site.URL + path)} }()
	}
	for range paths {
		got := <-answers
		switch path, answer := got[0], got[1]; path {
		case "/metrics":
			require.Contains(t, answer, "raftpico_role{role=\"Leader\"} 1\n")
			require.Regexp(t, `(?m)^raftpico_figures_age_seconds [0-9.]*[1-9]`, answer)
		case "/state":
			require.Contains(t, answer, `"age_ns":`)
		}
		require.Contains(t, got[1], "200 ", got[0])
	}
	require.Empty(t, applied)
	close(m.until)
	require.NoError(t, <-applied)
	require.Contains(t, get(site.URL+"/metrics"), "raftpico_figures_age_seconds 0\n")
	require.NoError(t, s.Close())
}

// get returns the status and the body that a URL answers, or why there is none.
func get(url string) string {
	answer, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(answer.StatusCode, " ", string(body))
}
