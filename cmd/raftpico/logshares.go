package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/raftpico/go/raftpico"
)

// shares tell who wrote how much. Entries that a later leader has replaced count, too.
type shares struct {
	servers map[uint64]*share
	kinds   map[string]*share
	addrs   map[uint64]string
}

// share is what comes from a server, or is of a kind.
type share struct {
	entries, commands, bytes int
	first, last              time.Time
}

func (s *share) add(e *raftpico.LogEntry) {
	s.entries++
	s.commands += e.Commands
	s.bytes += e.Bytes
	if e.Time.IsZero() {
		return
	}
	if s.first.IsZero() || e.Time.Before(s.first) {
		s.first = e.Time
	}
	if e.Time.After(s.last) {
		s.last = e.Time
	}
}

// add counts the chosen entries of a line.
func (s *shares) add(l *raftpico.LogLine, chosen []raftpico.LogEntry) {
	if s.servers == nil {
		s.servers, s.kinds, s.addrs = map[uint64]*share{}, map[string]*share{}, map[uint64]string{}
	}
	maps.Copy(s.addrs, l.Servers())
	for i := range chosen {
		e := &chosen[i]
		if e.From > 0 {
			of(s.servers, e.From).add(e)
		}
		of(s.kinds, e.Kind).add(e)
	}
}

func of[K comparable](m map[K]*share, key K) *share {
	if m[key] == nil {
		m[key] = new(share)
	}
	return m[key]
}

func (s *shares) write(out io.Writer) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name string, s *share) {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\t%s\n", name, s.entries, s.commands, s.bytes, orNone(s.first), orNone(s.last))
	}
	const columns = "\tENTRIES\tCOMMANDS\tBYTES\tFIRST\tLAST\n"
	fmt.Fprint(table, "SERVER"+columns)
	for _, id := range slices.Sorted(maps.Keys(s.servers)) {
		row(strings.TrimSpace(fmt.Sprintf("%d %s", id, s.addrs[id])), s.servers[id])
	}
	fmt.Fprint(table, "\t\t\t\t\t\nKIND"+columns)
	for _, kind := range slices.Sorted(maps.Keys(s.kinds)) {
		row(kind, s.kinds[kind])
	}
	_ = table.Flush() // out keeps its error
}

func orNone(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return clock(t)
}
