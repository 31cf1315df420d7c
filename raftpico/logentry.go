package raftpico

import (
	"time"

	"github.com/goccy/go-json"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// LogEntry is an entry of a log file, in short.
type LogEntry struct {
	Index, Term uint64
	Kind        string    // Apply, or another command: AddServer, Timer, …; StartTerm, Empty, ConfChange
	From        uint64    // the id of the server whose clients' commands these are; 0: the entry has no commands
	Time        time.Time // when the leader took them in; zero: the entry has no commands
	Commands    int
	Bytes       int // of what it carries, as JSON
}

// Entries are those in the line, in their order. A line that is damaged has none. They are made anew by each call.
func (l *LogLine) Entries() []LogEntry {
	if l.record == nil || l.record.LogEntries == nil {
		return nil
	}
	entries := make([]LogEntry, 0, len(l.record.LogEntries.Entries))
	term := l.record.LogEntries.Prev.Term
	for _, e := range l.record.LogEntries.Entries {
		entries = append(entries, entryOf(e, term))
		term = e.GetTerm()
	}
	return entries
}

func entryOf(e *raftpb.Entry, before uint64) LogEntry {
	entry := LogEntry{Index: e.GetIndex(), Term: e.GetTerm(), Bytes: len(e.GetData())}
	switch {
	case e.GetType() != raftpb.EntryNormal:
		entry.Kind = "ConfChange"
		return entry
	case len(e.GetData()) == 0 && e.GetTerm() > before:
		entry.Kind = "StartTerm"
		return entry
	case len(e.GetData()) == 0:
		entry.Kind = "Empty"
		return entry
	}
	batch, err := wire.DecodeBatch(e.GetData())
	if err != nil {
		entry.Kind = "Unknown"
		return entry
	}
	entry.Kind = "Apply"
	if s := batch.Commands[0].System; s != nil { // it stands alone
		entry.Kind = s.Kind()
	}
	entry.From, entry.Time, entry.Commands = batch.From, time.UnixMilli(batch.Time).UTC(), len(batch.Commands)
	return entry
}

// Time is that of a snapshot, zero in other lines.
func (l *LogLine) Time() time.Time {
	if l.Snapshot == 0 {
		return time.Time{}
	}
	return time.UnixMilli(l.record.Snapshot.Time).UTC()
}

// Servers are the addresses of servers that the line tells of, by id: those of a snapshot, or of an AddServer.
func (l *LogLine) Servers() map[uint64]string {
	addrs := map[uint64]string{}
	if l.record == nil {
		return addrs
	}
	if s := l.record.Snapshot; s != nil {
		var system struct {
			Members map[uint64]struct{ Addr string }
		}
		if json.Unmarshal(s.Machines.System, &system) == nil {
			for id, m := range system.Members {
				addrs[id] = m.Addr
			}
		}
	}
	if r := l.record.LogEntries; r != nil {
		for _, e := range r.Entries {
			if batch, err := wire.DecodeBatch(e.GetData()); err == nil && batch.Commands[0].System != nil && batch.Commands[0].System.AddServer != nil {
				addrs[e.GetIndex()] = batch.Commands[0].System.AddServer.Addr
			}
		}
	}
	return addrs
}
