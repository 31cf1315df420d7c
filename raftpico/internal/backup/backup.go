// Package backup is the file of a backup: a cluster's state as it was at one index, without who its servers were.
//
// # The file
//
// Like the log it is JSON Lines, and each line has a crc as its last member, which goes over the line before as well
// (package storage):
//
//	{"Backup":{"format":1,"cluster_id":"…","index":907,"term":3,"time":1795258645723,"machine_version":0,"made":"2026-11-21T10:00:00Z","bytes":1073741824},"crc":"…"}
//	{"System":{"min_election_timeout_ms":300,…,"version":2,"sessions":[…]},"crc":"…"}
//	{"State":STATE,"crc":"…"}
//	{"End":{"lines":3,"bytes":1073743001,"sha256":"…"},"crc":"…"}
//
// Index and term are those of the last entry in the state, time is the machine's, in Unix milliseconds, and made is when
// the backup was begun, by the server's clock. The bytes of the first line are those of STATE, the user's state: one
// JSON value without newlines, of any size. The last line tells that the file is whole: how many lines and bytes are
// before it, and their hash. Nothing follows it.
//
// The cluster's key, its members and their instances are not in it. So nobody can pass for a member by means of a
// backup. The state itself is there in the clear.
package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Format is the version of the file that this package writes, and the only one it reads.
const Format = 1

// Head is what the first line tells.
type Head struct {
	Format         int       `json:"format"`
	ClusterID      string    `json:"cluster_id"`
	Index          uint64    `json:"index"`
	Term           uint64    `json:"term"`
	Time           int64     `json:"time"` // the machine's, Unix milliseconds
	MachineVersion int       `json:"machine_version"`
	Made           time.Time `json:"made"`
	Bytes          int64     `json:"bytes"` // of the user's state
}

// end is what the last line tells: of all lines before it.
type end struct {
	Lines  int    `json:"lines"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

const lines = 3 // before the last

// State is the user's state of a snapshot.
type State interface {
	io.Reader
	io.Closer
}

// Stream is a backup on its way out: a reader of the file's bytes. Its owner must close it.
type Stream struct {
	Head  Head
	state State
	left  int64  // bytes of the state that are still to come
	text  []byte // that comes next
	stage stage
	crc   uint32    // of the state's line up to what was read
	hash  hash.Hash // of all lines but the last; nil: that is made
	bytes int64     // read so far
	err   error
}

type stage int

const (
	beforeState stage = iota
	inState
	behindState
)

// New makes a backup of a snapshot: head but for its format, the system machine without servers, and the state, of
// head.Bytes bytes, which the Stream closes.
func New(head Head, system json.RawMessage, state State) (*Stream, error) {
	head.Format = Format
	first, err := wire.Marshal(struct{ Backup Head }{head})
	if err != nil {
		return nil, fmt.Errorf("backup: encode the first line: %w", err)
	}
	s := &Stream{Head: head, state: state, left: head.Bytes, hash: sha256.New()}
	crc := s.line(0, first[:len(first)-1])
	crc = s.line(crc, append([]byte(systemOpen), system...))
	s.text = append(s.text, stateOpen...)
	s.crc = storage.Chain(crc, []byte(stateOpen))
	return s, nil
}

const (
	systemOpen = `{"System":`
	stateOpen  = `{"State":`
)

// line appends a line, of which body is all but the last brace, and returns its crc.
func (s *Stream) line(prev uint32, body []byte) uint32 {
	crc := storage.Chain(prev, body)
	s.text = storage.AppendTail(append(s.text, body...), crc)
	return crc
}

// Read implements io.Reader. An error of the state, such as damage on the disk, is its error: then what was read is no
// backup, and has no last line.
func (s *Stream) Read(p []byte) (int, error) {
	for s.err == nil {
		if len(s.text) > 0 {
			n := copy(p, s.text)
			s.take(p[:n])
			s.text = s.text[n:]
			return n, nil
		}
		switch s.stage {
		case beforeState:
			s.stage = inState
		case inState:
			n, err := s.readState(p)
			if n > 0 || err != nil {
				s.err = err
				return n, err
			}
		case behindState:
			s.err = io.EOF
		}
	}
	return 0, s.err
}

func (s *Stream) take(p []byte) {
	s.bytes += int64(len(p))
	if s.hash != nil {
		_, _ = s.hash.Write(p)
	}
}

// readState reads of the state; at its end it puts the last two lines' text there.
func (s *Stream) readState(p []byte) (int, error) {
	n, err := s.state.Read(p)
	s.crc = crc32.Update(s.crc, storage.Castagnoli, p[:n])
	s.left -= int64(n)
	s.take(p[:n])
	switch {
	case s.left < 0 || err == io.EOF && s.left > 0:
		return n, errors.New("backup: the state is not as long as it should be")
	case err == io.EOF:
		s.finish()
		return n, nil
	}
	return n, err
}

func (s *Stream) finish() {
	s.stage = behindState
	s.text = storage.AppendTail(nil, s.crc)
	_, _ = s.hash.Write(s.text)
	last, _ := wire.Marshal(struct{ End end }{end{lines, s.bytes + int64(len(s.text)), hex.EncodeToString(s.hash.Sum(nil))}}) // it can't fail
	s.hash = nil
	s.line(s.crc, last[:len(last)-1])
}

// Bytes is how many bytes were read.
func (s *Stream) Bytes() int64 { return s.bytes }

// Close lets go of the state.
func (s *Stream) Close() error { return s.state.Close() }
