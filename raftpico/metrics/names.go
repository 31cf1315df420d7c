package metrics

import "github.com/prometheus/client_golang/prometheus"

// prefix is before every name.
const prefix = "raftpico"

// described is what is said of a metric.
type described struct {
	name   string
	help   string
	labels []string
}

var member = []string{"id", "member"}

// metrics are all that there are. NB: docs/OPERATIONS.md, deploy/grafana.json and deploy/alerts.yaml name some of them.
var metrics = []described{
	{"server_info", "Always 1. The server: its version, its address, its cluster and its id there.", []string{"version", "addr", "cluster", "id"}},
	{"figures_age_seconds", "How old these figures are. More than 0: the server is at one thing for longer than a second.", nil},
	{"uptime_seconds", "Since the server was started.", nil},
	{"role", "1 for the role that the server has, 0 for the others.", []string{"role"}},
	{"leader_known", "1 if the server knows a leader.", nil},
	{"ready", "1 if the server knows a leader and has caught up with it.", nil},
	{"removed", "1 if the server was removed from its cluster.", nil},
	{"term", "The term of Raft.", nil},
	{"commit_index", "Up to here the log is committed, as far as the server knows.", nil},
	{"applied_index", "Up to here the machine has the log's commands.", nil},
	{"last_index", "The last entry of the server's log.", nil},
	{"snapshot_index", "The last entry in the server's last snapshot.", nil},
	{"leader_changes_total", "How often the server has come to know a leader.", nil},
	{"applied_bytes_total", "Bytes of log entries that were applied.", nil},
	{"election_timeout_seconds", "The least time without a leader after which a server starts an election.", nil},
	{"lease_reads", "1 if the cluster's leaders answer queries under a lease.", nil},
	{"lease_held", "1 if the server leads and had a lease when it was asked.", nil},
	{"machine_version", "The newest version that the server's machine knows.", nil},
	{"machine_version_active", "The version of the machine that the cluster uses.", nil},
	{"diverged", "1 if a member's state differed from the server's at the same index.", nil},
	{"removed_dead_total", "Members that were removed since they were dead (Options.RemoveDead), in the cluster's life.", nil},
	{"sessions", "Sessions of clients, in the cluster.", nil},
	{"log_messages_dropped_total", "Messages for the program's log that were not written: too many, or the log too slow.", nil},

	{"members", "Members of the cluster by role, as the server knows them.", []string{"role"}},
	{"member_lag_entries", "On the leader: entries of its log that the member does not have.", member},
	{"member_linked", "1 if the server's link to the member is up.", member},
	{"member_diverged", "1 if the member's state differed from the server's at the same index.", member},
	{"member_queue_bytes", "Bytes that wait to be sent to the member.", member},
	{"member_sent_messages_total", "Messages sent to the member.", member},
	{"member_sent_bytes_total", "Bytes sent to the member, without snapshots.", member},

	{"requests_total", "Requests answered, by method and by the code of the error; ok for a result, 1000 for any error of the machine's own.", []string{"method", "code"}},
	{"request_duration_seconds", "From the arrival of a request to its answer. Without local queries in process.", []string{"method"}},
	{"requests_pending", "Requests under way.", nil},
	{"requests_waiting", "Of the requests under way, those that wait for the machine.", nil},

	{"turn_duration_seconds", "Turns of the event loop, with their waiting for the disk.", nil},
	{"sync_duration_seconds", "Appends to the log file, each with its sync.", nil},
	{"apply_duration_seconds", "Applying a page of committed entries.", nil},
	{"snapshot_duration_seconds", "Snapshots of the server's own state, from the beginning until they are durable.", nil},
	{"slowest_turn_seconds", "The slowest turn of the last 10 to 20 seconds.", nil},
	{"slowest_append_seconds", "The slowest append to the log of the last 10 to 20 seconds.", nil},
	{"log_bytes", "Size of the log file.", nil},
	{"snapshot_bytes", "Size of the snapshot in the log file.", nil},
	{"snapshots_total", "Snapshots made, failed, installed from a leader, sent to other servers, and lost on the way.", []string{"event"}},

	{"connections", "Connections of clients and servers that are open.", nil},
	{"connections_accepted_total", "Connections taken in.", nil},
	{"connections_refused_total", "Connections refused for want of room.", nil},
	{"connections_gave_way_total", "Idle connections closed for newcomers.", nil},
	{"connections_cut_off_total", "Connections closed because they held too much.", nil},
	{"connection_bytes", "Bytes that connections hold: read or unsent (held), and of requests that are not answered (underway).", []string{"part"}},
	{"connection_budget_bytes", "What each part of the bytes of connections may come to.", nil},
}

func (c *collector) describe() {
	c.all = make(map[string]*prometheus.Desc, len(metrics))
	for _, m := range metrics {
		c.all[m.name] = prometheus.NewDesc(prefix+"_"+m.name, m.help, m.labels, c.labels)
	}
}
