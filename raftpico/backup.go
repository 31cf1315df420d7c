package raftpico

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/raftpico/internal/backup"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/offline"
)

// BackupInfo tells what is in a backup.
type BackupInfo struct {
	ClusterID      string
	Index, Term    uint64    // of the last entry in it
	Time           time.Time // the machine's, as of that entry
	MachineVersion int       // the cluster's, as of that entry (machine.Versioned)
	Made           time.Time // when it was begun, by the server's clock
	StateBytes     int64     // of the user's state, as JSON
	Bytes          int64     // of the whole backup
}

func infoOf(h backup.Head, size int64) BackupInfo {
	return BackupInfo{ClusterID: h.ClusterID, Index: h.Index, Term: h.Term, Time: time.UnixMilli(h.Time).UTC(), MachineVersion: h.MachineVersion,
		Made: h.Made, StateBytes: h.Bytes, Bytes: size}
}

// DamageError is the error of a backup that can't be used: it is cut, changed, or none at all. It names the line.
type DamageError = backup.DamageError

// Backup writes a backup of the cluster: its state with all that was acknowledged before the call, of any size, while
// the server goes on. The state is that of a snapshot that this server alone takes; so the backup of a follower takes
// nothing from the leader but a round of reads. [Restore] makes a new cluster of it.
//
// A snapshot may take longer than a request may: then Backup waits on, until ctx ends. After an error, what was written
// is no backup, and is refused by whoever reads it. Backup needs little memory, whatever the state's size.
func (s *Server) Backup(ctx context.Context, w io.Writer) (BackupInfo, error) {
	for {
		_, err := s.loop.Call(ctx, node.Request{Op: node.Backup})
		if err == nil {
			break
		}
		if ctx.Err() != nil || !errors.Is(err, ErrUnknown) {
			return BackupInfo{}, err
		}
	}
	stream, err := s.loop.OpenBackup(ctx)
	if err != nil {
		return BackupInfo{}, err
	}
	defer stream.Close()
	if _, err := io.Copy(w, whileLasts{ctx, stream}); err != nil {
		return BackupInfo{}, fmt.Errorf("raftpico: backup: %w", err)
	}
	return infoOf(stream.Head, stream.Bytes()), nil
}

// whileLasts reads while a context lasts.
type whileLasts struct {
	ctx context.Context
	r   io.Reader
}

func (w whileLasts) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.r.Read(p)
}

// VerifyBackup reads a backup to its end, and tells what is in it. A backup that can't be used is a *DamageError.
func VerifyBackup(r io.Reader) (BackupInfo, error) {
	h, size, err := backup.Read(r, func(backup.Head, json.RawMessage) (io.Writer, error) { return io.Discard, nil })
	if err != nil {
		return BackupInfo{}, fmt.Errorf("raftpico: %w", err)
	}
	return infoOf(h, size), nil
}

// Restored tells what Restore has made.
type Restored struct {
	Backup    BackupInfo
	ClusterID string // of the new cluster
	Addr      string // of its first server
}

// Restore makes a log file, which must not exist yet, of a backup: that of the first server of a new cluster, which
// others reach at addr. The new cluster goes on with the state, the sessions, the time and the version of the old one.
// Its id, its key and its server are new: no server of the old cluster can come into it. [Start] starts the server, and
// AddServer adds others.
//
// After an error there is no file. A backup that can't be used is a *DamageError.
func Restore(r io.Reader, file, addr string) (Restored, error) {
	made, err := offline.Restore(r, file, addr)
	if err != nil {
		return Restored{}, fmt.Errorf("raftpico: restore: %w", err)
	}
	return Restored{infoOf(made.Head, made.Bytes), made.ClusterID, made.Addr}, nil
}
