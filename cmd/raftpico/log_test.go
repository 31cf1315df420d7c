package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// writtenLog is a log of a cluster of one whose commands have the indexes 3 to 12, with a session between.
func writtenLog(t *testing.T) (s *raftpico.Server, file string) {
	file = filepath.Join(t.TempDir(), "a")
	s = startServer(t, file)
	_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	for range 10 {
		_, err = s.Apply(t.Context(), machine.Command, 1)
		require.NoError(t, err)
	}
	return s, file
}

// logLines runs a log command line, and returns its lines.
func logLines(t *testing.T, args ...string) []string {
	t.Helper()
	stdout, stderr, status := shell("", append([]string{"log"}, args...)...)
	require.Zero(t, status, stderr)
	return strings.Split(strings.TrimRight(stdout, "\n"), "\n")
}

func TestLogPrintsChosenEntries(t *testing.T) {
	_, file := writtenLog(t)
	all := logLines(t, file)
	commands := all[len(all)-10:]
	snapshot, start := all[2:3], all[len(all)-11:len(all)-10]
	require.Equal(t, append(start, commands...), logLines(t, file, "--from", "2"))
	require.Equal(t, commands[:2], logLines(t, file, "--from", "3", "--to", "4"))
	require.Equal(t, snapshot, logLines(t, file, "--to", "1"))
	require.Equal(t, []string{""}, logLines(t, file, "--from", "1000"))
	require.Equal(t, commands, logLines(t, file, "--since", "1h"), "what has no time of its own has that of the one before")
	require.Equal(t, []string{""}, logLines(t, file, "--since", "1h", "--until", "30m"))
	require.Equal(t, slices.Concat(snapshot, start, commands), logLines(t, file, "--until", "2200-01-01T00:00:00Z"))
	for _, wrong := range [][]string{{"--from", "-1"}, {"--from", "9", "--to", "8"}, {"--since", "yesterday"}, {"--until", "-5m"}} {
		_, stderr, status := shell("", append([]string{"log", file}, wrong...)...)
		require.Equal(t, 1, status, "%v", wrong)
		require.Contains(t, stderr, "usage:", "%v", wrong)
	}
}

func TestLogSummarySaysWhoWroteHowMuch(t *testing.T) {
	s, file := writtenLog(t)
	_, err := s.OpenSession(t.Context(), time.Hour)
	require.NoError(t, err)
	rows := map[string][]string{}
	for _, line := range logLines(t, file, "--summary") {
		if cells := strings.Fields(line); len(cells) > 0 {
			rows[cells[0]] = cells
		}
	}
	require.Equal(t, []string{"1", s.Addr(), "11", "11"}, rows["1"][:4])
	require.Equal(t, []string{"Apply", "10", "10"}, rows["Apply"][:3])
	require.Equal(t, []string{"OpenSession", "1", "1"}, rows["OpenSession"][:3])
	require.Equal(t, []string{"StartTerm", "1", "0", "0", "-", "-"}, rows["StartTerm"])
	at, err := time.Parse(time.RFC3339Nano, rows["Apply"][4])
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), at, time.Hour)
	require.NotContains(t, strings.Join(logLines(t, file, "--summary", "--to", "5"), "\n"), "OpenSession")
}

// A log that is followed shows every entry, also where snapshots let new files take its place.
func TestAFollowedLogShowsEveryEntry(t *testing.T) {
	s, file := writtenLog(t)
	var mu sync.Mutex
	seen := map[uint64]int{}
	has := func(index uint64) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return seen[index] > 0 }
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { // ends when it is stopped
		ended <- raftpico.FollowLog(ctx, file, func(l raftpico.LogLine) error {
			mu.Lock()
			defer mu.Unlock()
			for _, e := range l.Entries() {
				seen[e.Index]++
			}
			return nil
		})
	}()
	require.Eventually(t, has(12), 20*time.Second, time.Millisecond, "what was there")
	for range 3 {
		for range 20 {
			_, err := s.Apply(t.Context(), machine.Command, 1)
			require.NoError(t, err)
		}
		_, err := s.TakeSnapshot(t.Context())
		require.NoError(t, err)
	}
	st, err := s.State(t.Context(), false)
	require.NoError(t, err)
	require.Eventually(t, has(st.LastIndex), 20*time.Second, time.Millisecond)
	stop()
	require.NoError(t, <-ended)
	for index := uint64(2); index <= st.LastIndex; index++ {
		require.Positive(t, seen[index], "entry %d", index)
	}
	require.Equal(t, 1, seen[st.LastIndex])

	_, _, status := shell("", "log", filepath.Join(t.TempDir(), "none"), "--follow")
	require.Equal(t, 1, status)
}
