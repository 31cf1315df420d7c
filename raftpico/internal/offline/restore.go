package offline

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/raftpico/internal/backup"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Restored tells what a restore has made.
type Restored struct {
	Head      backup.Head
	Bytes     int64  // of the backup
	ClusterID string // of the new cluster
	Addr      string
}

// restoringSuffix is that of a log file that is being made.
const restoringSuffix = ".restoring"

// Restore makes the log file of the first server of a new cluster, at address, of a backup. There must be no such file
// yet. It gets its name when it is whole and durable, and after an error there is none.
func Restore(r io.Reader, file, address string) (made Restored, err error) {
	founder, err := newFounder(address)
	if err == nil {
		err = absent(file)
	}
	if err != nil {
		return made, err
	}
	made.ClusterID, made.Addr = founder.ClusterID, founder.Addr
	part := file + restoringSuffix
	if errors.Is(absent(part), fs.ErrExist) {
		return made, fmt.Errorf("%s is left from a restore that was broken off: delete it", part)
	}
	err = storage.Make(storage.OS, part, founder.Instance, func(to *storage.Replacement) error { return made.fill(to, r, founder) })
	if err == nil {
		err = publish(part, file)
	}
	return made, err
}

func (m *Restored) fill(to *storage.Replacement, r io.Reader, founder node.Founder) error {
	var stored node.Stored
	var state *storage.StateWriter
	begin := func(h backup.Head, system json.RawMessage) (w io.Writer, err error) {
		old := wire.Snapshot{LastIncluded: wire.EntryID{Term: h.Term, Index: h.Index}, Time: h.Time, Machines: wire.Machines{System: system}}
		if stored, err = node.Refound(node.Stored{Snapshot: &old}, founder); err != nil {
			return nil, err
		}
		state, err = found(to, &stored)
		return state, err
	}
	var err error
	if m.Head, m.Bytes, err = backup.Read(r, begin); err != nil {
		return err
	}
	if err := state.Close(); err != nil {
		return err
	}
	return to.Write(&wire.Record{HardState: &stored.HardState})
}
