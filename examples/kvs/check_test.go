//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico"
)

// check stops the load and holds what its clients know against the cluster, once that has settled: the commands in the
// three logs, and the machines. It returns how many Puts of each fate were applied.
func (l *load) check(c cluster) (came map[fate]int) {
	l.t.Helper()
	l.stop()
	machine := map[string]int{}
	for key, value := range values(l.t, c.settled(l.t)) {
		n, err := strconv.Atoi(string(value))
		require.NoError(l.t, err)
		machine[key] = n
	}
	log := replay(l.t, c[0].file)
	for _, s := range c[1:] {
		require.True(l.t, slices.Equal(log, replay(l.t, s.file)), "the logs hold other commands: %s, %s", c[0].file, s.file)
	}
	times, final := map[kvPut]int{}, map[string]int{}
	for _, p := range log {
		times[p]++
		final[p.key] = p.value
	}
	require.Equal(l.t, final, machine, "the machine is not what its log makes")
	came = map[fate]int{}
	for _, w := range l.writers {
		for n, p := range w.puts[1:] {
			this := kvPut{w.key, n + 1}
			switch k := times[this]; {
			case p.fate == applied && k != 1, p.fate == refused && k != 0, k > 1, p.seen && k == 0:
				l.t.Errorf("%v was %v, and is %d times in the log", this, p.fate, k)
			}
			came[p.fate] += times[this]
			delete(times, this)
		}
	}
	require.Empty(l.t, times, "commands of nobody")
	return came
}

// kvPut is a Put as it is in the log.
type kvPut struct {
	key   string
	value int
}

// replay returns the Puts in a log file, in order, without those that a new leader replaced.
func replay(t *testing.T, file string) (puts []kvPut) {
	t.Helper()
	var base uint64       // of the entry before the first one
	fresh := false        // no entries yet behind the snapshot
	var entries [][]kvPut // that are valid so far
	report, err := raftpico.InspectLog(file, func(line raftpico.LogLine) error {
		var record struct {
			Snapshot *struct {
				At struct{ Index uint64 } `json:"last_included"`
			}
			LogEntries *struct {
				Prev    struct{ Index uint64 }
				Entries []struct {
					Commands []struct {
						Apply struct{ Put [2]json.RawMessage }
					}
				}
			}
		}
		if err := json.NewDecoder(line.Text).Decode(&record); err != nil {
			return err
		}
		if s := record.Snapshot; s != nil {
			base, entries, fresh = s.At.Index, nil, true // from before the first Put: a server was added
		}
		if record.LogEntries == nil {
			return nil
		}
		if fresh { // a little of the log before the snapshot may be kept beside it
			base, fresh = record.LogEntries.Prev.Index, false
		}
		entries = entries[:record.LogEntries.Prev.Index-base]
		for _, e := range record.LogEntries.Entries {
			var of []kvPut
			for _, c := range e.Commands {
				if c.Apply.Put[0] == nil {
					continue // about members
				}
				var p kvPut
				if err := errors.Join(json.Unmarshal(c.Apply.Put[0], &p.key), json.Unmarshal(c.Apply.Put[1], &p.value)); err != nil {
					return err
				}
				of = append(of, p)
			}
			entries = append(entries, of)
		}
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, report.Refused)
	return slices.Concat(entries...)
}
