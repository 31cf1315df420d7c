package web

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/raftpico/go/raftpico"
)

// Event is something that has happened to the server: a role, a member, a link, a snapshot.
type Event struct {
	Seq  uint64    `json:"seq"` // 1, 2, 3, … since the handler was made
	Time time.Time `json:"time"`
	Text string    `json:"text"`
	Bad  bool      `json:"bad,omitempty"` // something is lost or down
}

// maxEvents is how many are kept.
const maxEvents = 200

// events are the last ones.
type events struct {
	mu   sync.Mutex
	last []Event // by Seq
	seq  uint64
}

// follow notes what changes, until the server ends.
func (e *events) follow(s *raftpico.Server) {
	var before raftpico.Status
	first := true
	for now := range s.Events(context.Background()) {
		if first {
			before, first = raftpico.Status{Role: now.Role, Members: now.Members, Snapshot: now.Snapshot}, false
		}
		for _, event := range changes(before, now) {
			e.note(event)
		}
		before = now
	}
}

func (e *events) note(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seq++
	event.Seq, event.Time = e.seq, time.Now()
	e.last = append(e.last, event)
	if len(e.last) > maxEvents {
		e.last = append(e.last[:0:0], e.last[len(e.last)-maxEvents:]...)
	}
}

// after returns the events behind one, or all if there is none of that number: then the page that asks has known another server.
func (e *events) after(seq uint64) []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	if seq > e.seq {
		seq = 0
	}
	for i, event := range e.last {
		if event.Seq > seq {
			return append([]Event{}, e.last[i:]...)
		}
	}
	return []Event{}
}

// changes tells how two statuses differ, in words.
func changes(before, now raftpico.Status) (all []Event) {
	say := func(bad bool, format string, args ...any) {
		all = append(all, Event{Text: fmt.Sprintf(format, args...), Bad: bad})
	}
	if now.ClusterID != before.ClusterID {
		say(false, "belongs to cluster %s as server %d", now.ClusterID, now.NodeID)
	}
	if now.Role != before.Role || now.Role == "Leader" && now.Term != before.Term {
		say(false, "is %s in term %d", now.Role, now.Term)
	}
	switch {
	case now.Leader != before.Leader && now.Leader != "":
		say(false, "the leader is %s, in term %d", now.Leader, now.Term)
	case now.Leader != before.Leader:
		say(true, "no leader is known")
	}
	if now.Ready != before.Ready {
		if now.Ready {
			say(false, "ready")
		} else {
			say(true, "not ready")
		}
	}
	memberChanges(before.Members, now.Members, say)
	if now.Snapshot != before.Snapshot {
		say(false, "has a snapshot at %d", now.Snapshot.Index)
	}
	if now.Removed && !before.Removed {
		say(true, "was removed from its cluster")
	}
	if now.Ended && !before.Ended {
		say(true, "has ended")
	}
	return all
}

func memberChanges(before, now []raftpico.Member, say func(bad bool, format string, args ...any)) {
	had := map[uint64]raftpico.Member{}
	for _, m := range before {
		had[m.ID] = m
	}
	for _, m := range now {
		old, known := had[m.ID]
		delete(had, m.ID)
		switch {
		case !known:
			say(false, "%s is a member: %s", m.Addr, m.Role)
		case old.Addr != m.Addr:
			say(false, "%s has moved to %s", old.Addr, m.Addr)
		case old.Role != m.Role:
			say(false, "%s was %s and is %s", m.Addr, old.Role, m.Role)
		}
		switch {
		case m.Linked && !old.Linked:
			say(false, "the link to %s is up", m.Addr)
		case !m.Linked && old.Linked:
			say(true, "the link to %s is down", m.Addr)
		}
	}
	for _, m := range before {
		if _, gone := had[m.ID]; gone {
			say(false, "%s is no member any more", m.Addr)
		}
	}
}
