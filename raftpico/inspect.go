package raftpico

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"time"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// LogLine is one line of a log file as it was read.
type LogLine struct {
	Number int   // from 1
	Offset int64 // of its first byte
	Err    error // why a server would not take it, nil if it would

	// Text is the line without its newline and without the cluster's key, so that it can be shown to others: where the
	// key was, it says (hidden). Verbatim has the key. Both are good until the callback returns.
	Text, Verbatim io.Reader

	Snapshot uint64 // the index of a snapshot; 0: the line holds none

	record *wire.Record
}

// LogReport tells what opening a log file would do.
type LogReport struct {
	Instance  string // which the file was created as
	ClusterID string // empty: the server belongs to no cluster
	NodeID    uint64
	Term      uint64
	Vote      uint64
	Commit    uint64 // as stored; the last entries may be committed too
	Snapshot  uint64 // index of the snapshot, 0: none
	First     uint64 // index of the first entry held, 0: none
	Last      uint64 // index of the last one

	Lines   int   // that would be taken
	Bytes   int64 // of these
	Cut     int64 // bytes of a torn line behind them that would be cut: a crash, nothing acknowledged is in it
	Refused error // the file is damaged, or no log file of this version: a server would refuse to start
}

// InspectLog reads a log file and verifies it, without a change and without the lock: the file of a running server
// can be read too, whose last line may then look torn. Each line goes to line, if that is not nil; its error ends the
// reading. The error is of the reading; what is wrong with the file is in the report.
func InspectLog(path string, line func(LogLine) error) (LogReport, error) {
	var r LogReport
	report, err := storage.Inspect(storage.OS, path, func(l *storage.Line) error {
		if l.Err == nil {
			r.take(l.Record)
		}
		if line == nil {
			return nil
		}
		return handOn(l, line)
	})
	r.Lines, r.Bytes, r.Cut, r.Refused = report.Lines, report.End, report.Cut, report.Refused
	return r, err
}

// FollowLog reads a log file as InspectLog does, and goes on with what its server appends, also when a new file takes its
// place, as with each snapshot. It returns nil when ctx ends, or the error of line, of the reading, or of a line that no
// server would take.
func FollowLog(ctx context.Context, path string, line func(LogLine) error) error {
	return storage.Follow(ctx, storage.OS, path, followEvery, func(l *storage.Line) error { return handOn(l, line) })
}

// followEvery is how often a log that is followed is looked at.
const followEvery = 200 * time.Millisecond

func handOn(l *storage.Line, line func(LogLine) error) error {
	text, err := withoutKey(l)
	if err != nil {
		return err
	}
	public := LogLine{Number: l.Number, Offset: l.Offset, Err: l.Err, Text: text, Verbatim: l.Text(), record: l.Record}
	if l.Record != nil && l.Record.Snapshot != nil {
		public.Snapshot = l.Record.Snapshot.LastIncluded.Index
	}
	return line(public)
}

// take follows what a record says.
func (r *LogReport) take(record *wire.Record) {
	if h := record.Header; h != nil {
		r.Instance = h.Instance
	}
	if id := record.Identity; id != nil {
		r.ClusterID, r.NodeID = id.ClusterID, id.NodeID
	}
	if s := record.Snapshot; s != nil {
		r.Snapshot = s.LastIncluded.Index
		r.Commit = max(r.Commit, r.Snapshot)
		r.Last = max(r.Last, r.Snapshot)
	}
	if h := record.HardState; h != nil {
		r.Term, r.Vote, r.Commit = h.Term, h.Vote, max(r.Commit, h.Commit)
	}
	if e := record.LogEntries; e != nil && len(e.Entries) > 0 {
		first := e.Prev.Index + 1
		if r.First == 0 || first < r.First {
			r.First = first
		}
		r.Last = e.Prev.Index + uint64(len(e.Entries))
	}
}

// hidden stands where a cluster's key was.
const hidden = "(hidden)"

// withoutKey is a line's text without the cluster's key.
func withoutKey(l *storage.Line) (io.Reader, error) {
	sound := l.CRC && l.Record != nil
	if sound && l.Record.Identity == nil {
		return l.Text(), nil
	}
	text, err := io.ReadAll(l.Text())
	if err != nil {
		return nil, err
	}
	if l.Record != nil && l.Record.Identity != nil {
		key, err := wire.Marshal(l.Record.Identity.Key)
		if err != nil {
			return nil, err
		}
		text = bytes.ReplaceAll(text, key, []byte(`"`+hidden+`"`))
	}
	if !sound {
		text = keyMember.ReplaceAll(text, []byte("$1"+hidden))
		text = longHex.ReplaceAll(text, []byte(hidden))
	}
	return bytes.NewReader(text), nil
}

// What may be a key, or a piece of one, in a line that is torn, damaged, or of another encoding.
var (
	keyMember = regexp.MustCompile(`("key":\s*")[^"]*`)
	longHex   = regexp.MustCompile(`[0-9a-f](?:\x00?[0-9a-f]){32,}`)
)
