package loop

import (
	"errors"
	"io"
	"time"

	"github.com/raftpico/go/raftpico/internal/backup"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/peer"
)

// OpenBackup opens the last snapshot, to be read as a backup: what a node.Backup has made, or a newer one. The caller
// owns it, on any goroutine, and must close it. It stays good when the log is replaced, and when the server ends.
func (l *Loop) OpenBackup() (*backup.Stream, error) {
	var s *backup.Stream
	err := l.ask(func() (err error) {
		if l.over() { // nobody would close it
			return errStopped
		}
		s, err = l.openBackup()
		return err
	})
	if err != nil && s != nil { // it was opened in the last turn
		_ = s.Close()
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (l *Loop) openBackup() (*backup.Stream, error) {
	snap, identity, refusal := l.node.LastSnapshot()
	if refusal != nil {
		return nil, refusal
	}
	state, ok := l.env.stateAt(snap.LastIncluded)
	if !ok {
		return nil, node.ErrBusy.Because("the snapshot can't be read just now")
	}
	system, err := node.Bare(snap.Machines.System)
	version, unknown := node.SnapshotVersion(snap)
	if err = errors.Join(err, unknown); err == nil {
		head := backup.Head{ClusterID: identity.ClusterID, Index: snap.LastIncluded.Index, Term: snap.LastIncluded.Term, Time: snap.Time,
			MachineVersion: version, Made: time.Now().UTC().Truncate(time.Second), Bytes: state.Size()}
		var s *backup.Stream
		if s, err = backup.New(head, system, watched{state, l}); err == nil {
			return s, nil
		}
	}
	_ = state.Close()
	return nil, err
}

// watched is a state of whose damage the core is told, so that it makes another snapshot.
type watched struct {
	peer.State
	loop *Loop
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.State.Read(p)
	if err != nil && err != io.EOF {
		w.loop.inbox.post(w.loop.node.SnapshotSpoiled)
	}
	return n, err
}
