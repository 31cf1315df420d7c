package main

import (
	"fmt"
	"time"

	"github.com/raftpico/go/raftpico"
)

// choice says which entries of a log are wanted. The zero value, with to at its highest, is all.
type choice struct {
	from, to     uint64
	since, until time.Time // zero: no bound
	last         time.Time // of the entry before
}

func (c *choice) all() bool {
	return c.from == 0 && c.to == ^uint64(0) && c.since.IsZero() && c.until.IsZero()
}

// of returns the chosen entries of a line, and whether the line is wanted. Lines must come in their order.
func (c *choice) of(l *raftpico.LogLine) (entries []raftpico.LogEntry, wanted bool) {
	if l.Snapshot > 0 {
		c.last = l.Time()
		wanted = c.has(l.Snapshot)
	}
	for _, e := range l.Entries() {
		if e.Time.After(c.last) {
			c.last = e.Time
		}
		if c.has(e.Index) {
			entries = append(entries, e)
		}
	}
	return entries, wanted || len(entries) > 0 || c.all()
}

func (c *choice) has(index uint64) bool {
	return c.from <= index && index <= c.to && !c.last.Before(c.since) && (c.until.IsZero() || !c.last.After(c.until))
}

// moment reads a time: in RFC 3339, or a duration back from now; empty is none.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if back, err := time.ParseDuration(text); err == nil && back >= 0 {
		return time.Now().Add(-back), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usageError(fmt.Sprintf("%s %q is neither a time such as 2026-11-30T10:00:00Z nor a duration such as 90m", flag, text))
	}
	return at, nil
}
