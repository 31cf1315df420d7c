package node_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStepBehindASnapshotGetsItsLine: a snapshot and entries behind it, one of them a step of the configuration, come in one
// turn: from a leader, and from the next one. When the step is committed the log must tell so.
func TestStepBehindASnapshotGetsItsLine(t *testing.T) {
	w := cluster(t)
	d := w.play("servers d", "join d id=9 instance=instanced").server("d")
	require.NoError(t, d.arrive(decoded([]byte(`{"type":"MsgSnap","from":1,"to":9,"term":2,"snapshot":{"last_included":{"term":2,"index":100},"voters":[1,3,5,9],"learners":[],`+
		`"machines":{"system":{"min_election_timeout_ms":300,"max_election_timeout_ms":2000,"members":{"1":{"addr":"a:1","instance":"instancea"},"3":{"addr":"b:1","instance":"instanceb"},`+
		`"5":{"addr":"c:1","instance":"instancec"},"9":{"addr":"d:1","instance":"instanced"}}}}}}`), 9)))
	require.NoError(t, w.inject(d, `{"type":"MsgApp","from":3,"to":9,"term":3,"log_term":2,"index":100,"commit":101,"entries":[{"StartTerm":3},{"ConfChange":{"Remove":5}}]}`))
	d.flush()
	require.NoError(t, w.inject(d, `{"type":"MsgHeartbeat","from":3,"to":9,"term":3,"commit":102}`))
	d.flush()
	require.EqualValues(t, 102, d.node.State().AppliedIndex)
	d.crash()
	d.start()
	require.EqualValues(t, 102, d.node.State().CommitIndex)
}

// TestSnapshotThatShortensTheLog: what a heartbeat commits must be in the log that a snapshot of the same turn leaves.
func TestSnapshotThatShortensTheLog(t *testing.T) {
	w := cluster(t)
	b := w.server("b")
	last := b.node.State().LastIndex
	require.EqualValues(t, 8, last)
	require.NoError(t, w.inject(b, `{"type":"MsgApp","from":1,"to":3,"term":2,"log_term":2,"index":8,"entries":[{"Empty":2},{"Empty":2},{"Empty":2},{"Empty":2}]}`))
	b.flush()
	require.NoError(t, b.arrive(decoded([]byte(`{"type":"MsgSnap","from":5,"to":3,"term":3,"snapshot":{"last_included":{"term":3,"index":10},"voters":[1,3,5],"learners":[],`+
		`"machines":{"system":{"min_election_timeout_ms":300,"max_election_timeout_ms":2000,"members":{"1":{"addr":"a:1","instance":"instancea"},"3":{"addr":"b:1","instance":"instanceb"},`+
		`"5":{"addr":"c:1","instance":"instancec"}}}}}}`), 3)))
	require.NoError(t, w.inject(b, `{"type":"MsgHeartbeat","from":5,"to":3,"term":3,"commit":12}`))
	b.flush()
	require.EqualValues(t, 10, b.node.State().CommitIndex)
}
