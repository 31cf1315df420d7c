// Package offline makes log files while no server is at them: that of the first server of a new cluster, which goes on
// from a backup, or from what is left of another cluster.
package offline

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/raftpico/go/raftpico/internal/addr"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// newFounder draws who the first server of a new cluster is.
func newFounder(address string) (node.Founder, error) {
	address, err := addr.Canonical(address)
	return node.Founder{ClusterID: random(), Key: random() + random(), Instance: random(), Addr: address, SessionBase: sessionBase()}, err
}

// sessionBase draws one of 2²⁰, such that ids stay whole numbers that every JSON library reads as they are.
func sessionBase() uint64 {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return (uint64(binary.BigEndian.Uint32(b[:]))>>12 + 1) << 32
}

// random draws 128 bits, in hex.
func random() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// found writes the log of a founder, but for its entries: identity, snapshot, and the state that goes to the writer.
func found(to *storage.Replacement, s *node.Stored) (*storage.StateWriter, error) {
	if err := to.Write(&wire.Record{Identity: s.Identity}); err != nil {
		return nil, err
	}
	return to.BeginState(s.Snapshot), nil
}

// hardLink gives a file another name; a test stands for a file system that can't.
var hardLink = os.Link

// publish gives a whole file its name, under which there must be none, and takes the other name away, also after an error.
func publish(part, file string) error {
	err := hardLink(part, file)
	if err != nil && !errors.Is(err, fs.ErrExist) { // a file system without hard links
		var own *os.File
		if own, err = os.OpenFile(file, os.O_CREATE|os.O_EXCL, 0o600); err == nil { // so that nobody else's is lost
			if err = errors.Join(own.Close(), os.Rename(part, file)); err == nil {
				return storage.SyncDir(storage.OS, filepath.Dir(file))
			}
		}
	}
	return errors.Join(err, os.Remove(part), storage.SyncDir(storage.OS, filepath.Dir(file)))
}

// absent is an error if there is a file.
func absent(file string) error {
	_, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil:
		return &fs.PathError{Op: "make", Path: file, Err: fs.ErrExist}
	}
	return err
}
