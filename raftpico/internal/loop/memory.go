package loop

import (
	"bytes"
	"io"

	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// memoryFile is the snapshot of a server without a file. It is written by one goroutine, and does not change afterwards.
type memoryFile struct {
	bytes.Buffer
	at wire.EntryID
}

// Write implements node.SnapshotFile, by the name that its buffer's Write would have.
func (f *memoryFile) Write(*wire.Record) error { return nil }

// WriteSnapshot implements node.SnapshotFile.
func (f *memoryFile) WriteSnapshot(s *wire.Snapshot, state func(io.Writer) error) error {
	f.at = s.LastIncluded
	return state(&f.Buffer)
}

// open reads the state, which must not change any more.
func (f *memoryFile) open() peer.State { return memoryState{bytes.NewReader(f.Bytes())} }

type memoryState struct{ *bytes.Reader }

func (memoryState) Close() error { return nil }

// memoryWriter writes a state into memory.
type memoryWriter struct{ buf *bytes.Buffer }

func (w memoryWriter) Write(p []byte) (int, error) { return w.buf.Write(p) }
func (w memoryWriter) Close() error                { return nil }
func (w memoryWriter) Size() int64                 { return int64(w.buf.Len()) }
