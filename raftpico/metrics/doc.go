// Package metrics gives what a server counts to Prometheus. A program that does not import it does not contain Prometheus.
//
//	mux.Handle("GET /metrics", metrics.Handler(s))
//
// or, in a registry of the program's own:
//
//	registry.MustRegister(metrics.New(s))
//
// Each scrape is one [raftpico.Server.Metrics]. A program with several servers gives each a label of its own, see [Labels]. What
// each metric means its help tells; docs/OPERATIONS.md tells which to watch. A dashboard for Grafana and rules for alerts are in
// the folder deploy.
package metrics
