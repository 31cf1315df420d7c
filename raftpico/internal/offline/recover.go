package offline

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Survivor is what one file tells of a cluster.
type Survivor struct {
	node.Survey
	Identity wire.Identity
	Instance string
	Snapshot uint64 // index
	Cut      int64  // bytes of a torn last line
}

// Look reads a file, and changes nothing. It may be that of a running server.
func Look(file string) (Survivor, error) {
	r, state, err := storage.Read(storage.OS, file)
	if err != nil {
		return Survivor{}, err
	}
	defer r.Close()
	return survivor(state)
}

func survivor(state *storage.State) (s Survivor, err error) {
	if s.Survey, err = node.Look(Stored(state)); err == nil {
		s.Identity, s.Instance, s.Snapshot, s.Cut = *state.Identity, state.Header.Instance, state.Snapshot.LastIncluded.Index, state.Cut
	}
	return s, err
}

// Stored is a log as the core takes it.
func Stored(s *storage.State) node.Stored {
	return node.Stored{Instance: s.Header.Instance, Identity: s.Identity, Snapshot: s.Snapshot, HardState: s.HardState, Prev: s.Prev, Entries: s.Entries}
}

// Recovered tells what a recovery has made.
type Recovered struct {
	Survivor         // of the old file
	ClusterID string // of the new cluster
	Addr      string
	Kept      string // the old file
}

// The names beside a file that is recovered: the old file, and the new one while it is made.
const (
	keptSuffix = ".before-recovery"
	newSuffix  = ".new" // as a server's: what a crash leaves of it, each start removes
	partSuffix = ".part"
)

// Recover makes of a log file that of the first server of a new cluster, in its place, and keeps the old one beside it.
// The address is empty for that which the members knew. No server may have the file open. A crash leaves the old file or
// the new one under its name; it can be called again.
func Recover(file, address string) (made Recovered, err error) {
	_, own, err := storage.OS.Locate(file)
	if err != nil {
		return made, err
	}
	from, state, err := storage.ReadAlone(storage.OS, own)
	if err != nil {
		return made, err
	}
	defer from.Close()
	if made.Survivor, err = survivor(state); err != nil {
		return made, err
	}
	if address == "" {
		address = made.Survey.Addr
	}
	if address == "" {
		return made, errors.New("this server was no member any more, and has no address: give one")
	}
	founder, err := newFounder(address)
	if err != nil {
		return made, err
	}
	made.ClusterID, made.Addr, made.Kept = founder.ClusterID, founder.Addr, own+keptSuffix
	if err := free(own, made.Kept); err != nil {
		return made, err
	}
	if err := os.Remove(own + newSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return made, err
	}
	next, err := node.Refound(Stored(state), founder)
	if err != nil {
		return made, err
	}
	err = storage.Make(storage.OS, own+newSuffix, founder.Instance, func(to *storage.Replacement) error { return CarryOver(to, from, &next) })
	if err != nil {
		return made, err
	}
	return made, replace(own, made.Kept)
}

// free tells whether the old file can be kept under a name: nothing is there, or the file itself, from an attempt that
// was broken off.
func free(own, kept string) error {
	err := absent(kept)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	a, broken := os.Stat(own)
	b, missing := os.Stat(kept)
	if broken == nil && missing == nil && os.SameFile(a, b) {
		return nil
	}
	return fmt.Errorf("%w: it is kept from a recovery before; move it away", err)
}

// CarryOver writes the log of a founder behind the header: what node.Refound has made of a log, and its state.
func CarryOver(to *storage.Replacement, from *storage.Reading, next *node.Stored) error {
	w, err := found(to, next)
	if err != nil {
		return err
	}
	state, err := from.OpenState()
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, state); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return node.WriteEntries(to, next.HardState, next.Prev, next.Entries)
}

// replace keeps the old file, and lets the new one take its place.
func replace(own, kept string) error {
	err := hardLink(own, kept)
	if errors.Is(err, fs.ErrExist) {
		err = nil // from an attempt that was broken off: see free
	} else if err != nil { // a file system without hard links
		err = copyFile(own, kept)
	}
	dir := filepath.Dir(own)
	if err == nil {
		err = storage.SyncDir(storage.OS, dir)
	}
	if err == nil {
		err = os.Rename(own+newSuffix, own)
	}
	if err != nil {
		return err
	}
	return storage.SyncDir(storage.OS, dir)
}

// copyFile makes a copy that is there as a whole or not at all.
func copyFile(from, to string) error {
	part := to + partSuffix
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // it may be left from an attempt that was broken off
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		return os.Rename(part, to)
	}
	return errors.Join(err, os.Remove(part))
}
