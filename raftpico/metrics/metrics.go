package metrics

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/raftpico/go/raftpico"
)

// Option changes a collector.
type Option func(*collector)

// Labels are put on every metric, such as {"service": "kvs"}.
func Labels(labels map[string]string) Option {
	return func(c *collector) { c.labels = labels }
}

// New returns a collector of what s counts. It may be used after s has ended, too.
func New(s *raftpico.Server, options ...Option) prometheus.Collector {
	c := &collector{server: s}
	for _, o := range options {
		o(c)
	}
	c.describe()
	return c
}

// Handler serves what s counts, and what the process and Go do, to a scraper. The registry is its own.
func Handler(s *raftpico.Server, options ...Option) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(New(s, options...), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// collector is a server's. It has no state but its descriptions, so any number of scrapes may run at once.
type collector struct {
	server *raftpico.Server
	labels prometheus.Labels
	all    map[string]*prometheus.Desc // by name, without the prefix
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.all {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	m := c.server.Metrics()
	s := sample{c, to}
	s.standing(&m)
	s.members(&m)
	s.requests(&m)
	s.work(&m)
	s.connections(&m.Connections)
}

// sample is what one scrape gets.
type sample struct {
	*collector
	to chan<- prometheus.Metric
}

func (s sample) gauge(name string, value float64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(s.all[name], prometheus.GaugeValue, value, labels...)
}

func (s sample) counter(name string, value uint64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(s.all[name], prometheus.CounterValue, float64(value), labels...)
}

func (s sample) histogram(name string, h *raftpico.Histogram, labels ...string) {
	buckets := map[float64]uint64{}
	var count uint64
	for i, n := range h.Counts {
		count += n
		if bound := raftpico.HistogramBound(i); bound > 0 {
			buckets[bound.Seconds()] = count
		}
	}
	s.to <- prometheus.MustNewConstHistogram(s.all[name], count, h.Sum.Seconds(), buckets, labels...)
}

func (s sample) standing(m *raftpico.Metrics) {
	s.gauge("server_info", 1, m.Version, m.Addr, m.ClusterID, strconv.FormatUint(m.NodeID, 10))
	s.gauge("figures_age_seconds", m.Age.Seconds())
	s.gauge("uptime_seconds", m.Uptime.Seconds())
	for _, role := range []string{"Follower", "PreCandidate", "Candidate", "Leader", "Learner"} {
		s.gauge("role", is(m.Role == role), role)
	}
	s.gauge("leader_known", is(m.Leader != ""))
	s.gauge("ready", is(m.Ready))
	s.gauge("removed", is(m.Removed))
	s.gauge("term", float64(m.Term))
	s.gauge("commit_index", float64(m.CommitIndex))
	s.gauge("applied_index", float64(m.AppliedIndex))
	s.gauge("last_index", float64(m.LastIndex))
	s.gauge("snapshot_index", float64(m.SnapshotIndex))
	s.counter("leader_changes_total", m.LeaderChanges)
	s.counter("applied_bytes_total", m.AppliedBytes)
	s.gauge("election_timeout_seconds", m.ElectionTimeout.Seconds())
	s.gauge("lease_reads", is(m.LeaseReads))
	s.gauge("lease_held", is(m.Leased))
	s.gauge("machine_version", float64(m.MachineVersion))
	s.gauge("machine_version_active", float64(m.ActiveVersion))
	s.gauge("diverged", is(m.Diverged))
	s.counter("removed_dead_total", m.RemovedDead)
	s.gauge("sessions", float64(m.Sessions))
	s.counter("log_messages_dropped_total", m.DroppedLogs)
}

func (s sample) members(m *raftpico.Metrics) {
	for _, role := range []string{"Voter", "Learner", "Joining", "Demoting", "Leaving"} {
		n := 0
		for i := range m.Members {
			n += int(is(m.Members[i].Role == role))
		}
		s.gauge("members", float64(n), role)
	}
	for i := range m.Members {
		member := &m.Members[i]
		id := strconv.FormatUint(member.ID, 10)
		if member.Lag != nil {
			s.gauge("member_lag_entries", float64(*member.Lag), id, member.Addr)
		}
		if member.Self {
			continue
		}
		s.gauge("member_linked", is(member.Linked), id, member.Addr)
		s.gauge("member_diverged", is(member.Diverged), id, member.Addr)
		s.gauge("member_queue_bytes", float64(member.QueueBytes), id, member.Addr)
		s.counter("member_sent_messages_total", member.SentMessages, id, member.Addr)
		s.counter("member_sent_bytes_total", member.SentBytes, id, member.Addr)
	}
}

func (s sample) requests(m *raftpico.Metrics) {
	for _, r := range m.Requests {
		code := "ok"
		if r.Code != 0 {
			code = strconv.Itoa(r.Code)
		}
		s.counter("requests_total", r.Count, r.Method, code)
	}
	for i := range m.RequestTimes {
		s.histogram("request_duration_seconds", &m.RequestTimes[i].Time, m.RequestTimes[i].Method)
	}
	s.gauge("requests_pending", float64(m.Pending))
	s.gauge("requests_waiting", float64(m.Waiting))
}

func (s sample) work(m *raftpico.Metrics) {
	s.histogram("turn_duration_seconds", &m.Turns)
	s.histogram("sync_duration_seconds", &m.Syncs)
	s.histogram("apply_duration_seconds", &m.Applies)
	s.histogram("snapshot_duration_seconds", &m.Snapshots)
	s.gauge("slowest_turn_seconds", m.SlowestTurn.Seconds())
	s.gauge("slowest_append_seconds", m.SlowestAppend.Seconds())
	s.gauge("log_bytes", float64(m.LogBytes))
	s.gauge("snapshot_bytes", float64(m.SnapshotBytes))
	for _, of := range []struct {
		what  string
		count uint64
	}{{"made", m.SnapshotsMade}, {"failed", m.SnapshotsFailed}, {"installed", m.SnapshotsInstalled}, {"sent", m.SnapshotsSent}, {"lost", m.SnapshotsLost}} {
		s.counter("snapshots_total", of.count, of.what)
	}
}

func (s sample) connections(c *raftpico.ConnectionMetrics) {
	s.gauge("connections", float64(c.Open))
	s.counter("connections_accepted_total", c.Accepted)
	s.counter("connections_refused_total", c.Refused)
	s.counter("connections_gave_way_total", c.GaveWay)
	s.counter("connections_cut_off_total", c.CutOff)
	s.gauge("connection_bytes", float64(c.HeldBytes), "held")
	s.gauge("connection_bytes", float64(c.UnderwayBytes), "underway")
	s.gauge("connection_budget_bytes", float64(c.BudgetBytes))
}

func is(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
