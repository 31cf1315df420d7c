package loop

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/raftpico/go/raftpico/internal/backup"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/peer"
)

// OpenBackup opens the last snapshot, to be read as a backup: what a node.Backup has made, or a newer one. The caller
// owns it, on any goroutine, and must close it. It stays good when the log is replaced, and when the server ends. Where
// the disk hangs, it waits until ctx ends.
func (l *Loop) OpenBackup(ctx context.Context) (*backup.Stream, error) {
	var mu sync.Mutex // guards what follows
	var stream *backup.Stream
	gone := false // nobody waits any more
	err := l.askWhile(ctx, func() error {
		s, err := l.openBackup()
		mu.Lock()
		defer mu.Unlock()
		if err == nil && gone {
			return s.Close()
		}
		stream = s
		return err
	})
	mu.Lock()
	defer mu.Unlock()
	gone = true
	if err != nil && stream != nil {
		_ = stream.Close()
	}
	if err != nil {
		return nil, err
	}
	return stream, nil
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
