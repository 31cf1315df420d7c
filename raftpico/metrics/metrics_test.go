package metrics_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
	"github.com/raftpico/go/raftpico/metrics"
)

type sums struct{ Value int }

func (s *sums) Apply(ctx *machine.Context, add int) (any, error) {
	if ctx.Kind == machine.Command {
		s.Value += add
	}
	return s.Value, nil
}

func newSums() machine.Machine { return machine.JSON(&sums{}) }

// busy is a cluster whose leader has done something of each kind. Where another one leads in the end, a new one is made.
func busy(t *testing.T) *memnet.Cluster {
	for {
		c := memnet.Start(t, 3, newSums)
		s := c.Leader()
		term := s.Status().Term
		var errs []error
		for _, kind := range []machine.Kind{machine.Command, machine.Query, machine.LocalQuery} {
			_, err := s.Apply(t.Context(), kind, 1)
			errs = append(errs, err)
		}
		_, wrong := s.Apply(t.Context(), machine.Command, "no number")
		_, err := s.TakeSnapshot(t.Context())
		errs = append(errs, err)
		if c.Leader() != s || s.Status().Term != term {
			continue
		}
		require.NoError(t, errors.Join(errs...))
		require.ErrorIs(t, wrong, raftpico.ErrInvalidInput)
		return c
	}
}

func registry(t *testing.T, c ...prometheus.Collector) *prometheus.Registry {
	r := prometheus.NewPedanticRegistry()
	for _, c := range c {
		require.NoError(t, r.Register(c))
	}
	return r
}

func TestMetricsFollowTheConventions(t *testing.T) {
	c := busy(t)
	for _, s := range c.Servers {
		problems, err := testutil.GatherAndLint(registry(t, metrics.New(s)))
		require.NoError(t, err)
		require.Empty(t, problems)
	}
}

func TestMetricsSayWhatTheServerSays(t *testing.T) {
	c := busy(t)
	s := c.Leader()
	r := registry(t, metrics.New(s, metrics.Labels(map[string]string{"service": "sums"})))
	require.NoError(t, testutil.GatherAndCompare(r, strings.NewReader(`
# HELP raftpico_role 1 for the role that the server has, 0 for the others.
# TYPE raftpico_role gauge
raftpico_role{role="Candidate",service="sums"} 0
raftpico_role{role="Follower",service="sums"} 0
raftpico_role{role="Leader",service="sums"} 1
raftpico_role{role="Learner",service="sums"} 0
raftpico_role{role="PreCandidate",service="sums"} 0
# HELP raftpico_members Members of the cluster by role, as the server knows them.
# TYPE raftpico_members gauge
raftpico_members{role="Demoting",service="sums"} 0
raftpico_members{role="Joining",service="sums"} 0
raftpico_members{role="Learner",service="sums"} 0
raftpico_members{role="Leaving",service="sums"} 0
raftpico_members{role="Voter",service="sums"} 3
`), "raftpico_role", "raftpico_members"))
	text := scrape(t, s)
	require.Contains(t, text, `raftpico_requests_total{code="ok",method="Command"} 1`)
	require.Contains(t, text, `raftpico_requests_total{code="103",method="Command"} 1`)
	require.Contains(t, text, `raftpico_request_duration_seconds_bucket{method="Command",le="+Inf"} 2`)
	require.Contains(t, text, `raftpico_request_duration_seconds_bucket{method="Command",le="8e-06"} `)
	require.Contains(t, text, "\ngo_goroutines ")
	require.Contains(t, text, "\nprocess_")
	require.NoError(t, s.Close())
	require.Contains(t, scrape(t, s), "\nraftpico_ready 0\n", "it may be asked when it has ended")
}

func TestMetricsTellOfLeases(t *testing.T) {
	c := busy(t)
	require.Contains(t, scrape(t, c.Leader()), "\nraftpico_lease_reads 0\n")
	require.Eventually(t, func() bool { // each must have told that it knows leases
		return c.Leader().Configure(t.Context(), raftpico.Configuration{LeaseReads: true}) == nil
	}, 20*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		held := 0
		for _, s := range c.Servers {
			text := scrape(t, s)
			if !strings.Contains(text, "\nraftpico_lease_reads 1\n") {
				return false
			}
			if strings.Contains(text, "\nraftpico_lease_held 1\n") {
				require.Equal(t, c.Leader(), s)
				held++
			}
		}
		return held == 1
	}, 20*time.Second, 10*time.Millisecond)
}

func scrape(t *testing.T, s *raftpico.Server) string {
	w := httptest.NewRecorder()
	metrics.Handler(s).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	require.Equal(t, 200, w.Code)
	return w.Body.String()
}

// TestDashboardAndAlertsNameWhatThereIs reads the files of the folder deploy and the page for operators.
func TestDashboardAndAlertsNameWhatThereIs(t *testing.T) {
	c := busy(t)
	known := map[string]bool{}
	for _, s := range c.Servers {
		families, err := registry(t, metrics.New(s)).Gather()
		require.NoError(t, err)
		for _, f := range families {
			known[f.GetName()] = true
			if f.GetType().String() == "HISTOGRAM" {
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					known[f.GetName()+suffix] = true
				}
			}
		}
	}
	name := regexp.MustCompile(`\braftpico_\w+`)
	for file, least := range map[string]int{"../../deploy/grafana.json": 25, "../../deploy/alerts.yaml": 12, "../../docs/OPERATIONS.md": 12} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		found := name.FindAllString(string(text), -1)
		require.GreaterOrEqual(t, len(found), least, file)
		for _, n := range found {
			require.True(t, known[n], "%s names %s, which no server has", file, n)
		}
	}

	var board struct {
		Title  string
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	text, err := os.ReadFile("../../deploy/grafana.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &board))
	for _, p := range board.Panels {
		require.NotEmpty(t, p.Title)
		require.NotEmpty(t, p.Targets, p.Title)
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	text, err = os.ReadFile("../../deploy/alerts.yaml")
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, &rules))
	operations, err := os.ReadFile("../../docs/OPERATIONS.md")
	require.NoError(t, err)
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			require.NotEmpty(t, r.Expr)
			_, err := time.ParseDuration(r.For)
			require.NoError(t, err, r.Alert)
			require.Contains(t, []string{"page", "ticket"}, r.Labels["severity"], r.Alert)
			require.NotEmpty(t, r.Annotations["summary"], r.Alert)
			require.Contains(t, string(operations), "`"+r.Alert+"`", "what to do is told")
		}
	}
}

// TestNobodyElseHasPrometheus: a program that does not import this package does not contain it.
func TestNobodyElseHasPrometheus(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "../../raftpico", "../../client", "../../serve", "../../raftpico/web", "../../raftpico/memnet", "../../secure").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "github.com/raftpico/go/raftpico/web\n")
	require.NotContains(t, string(out), "prometheus")
	out, err = exec.Command("go", "list", "-deps", "../../raftpico", "../../client", "../../serve").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "raftpico/web")
}
