package raftpico_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// verbose answers each command at length, with what might be taken for a state.
type verbose struct{ Count int }

func (v *verbose) Apply(ctx *machine.Context, in int) (any, error) {
	if ctx.Kind != machine.Command {
		return v.Count, nil
	}
	v.Count++
	if in%2 == 1 {
		return nil, &machine.Error{Code: 1000, Message: "no", Data: map[string]any{"a": strings.Repeat(`,"user":`, in), "user": in}}
	}
	return json.RawMessage(`{"a":1,"user":{"machines":{"system":{},"user":"` + strings.Repeat("x", in) + `"}}}`), nil
}

// onceIn is the outcome of a command in a session: a result or an error of the machine's. Where an election refuses it, it is
// sent again.
func onceIn(t *testing.T, s *raftpico.Server, session raftpico.Session, input any) (outcome string) {
	t.Helper()
	settles(t, func() error {
		result, err := s.ApplyOnce(t.Context(), session, input)
		if outcome = string(result); err == nil || errors.Is(err, raftpico.ErrRejected) || errors.Is(err, raftpico.ErrNoLeader) {
			return err
		}
		require.ErrorAs(t, err, new(*raftpico.Error))
		outcome = err.Error()
		return nil
	})
	return outcome
}

// What the sessions keep may be larger than all else. It comes to a server that joins, and to one that starts again.
func TestSessionsAreInSnapshotsHoweverLarge(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/log.jsonl"
	options := func(o *raftpico.Options) { o.File = file }
	s := startServer(t, machine.JSON(&verbose{}), options)
	_, err := s.CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	inputs := []int{900_000, 7_001, 500}
	var ids []uint64
	outcomes := map[uint64][]string{}
	once := func(s *raftpico.Server, id uint64) (got []string) {
		for i, in := range inputs {
			got = append(got, onceIn(t, s, raftpico.Session{ID: id, Seq: uint64(i + 1)}, in))
		}
		return got
	}
	for range 10 {
		id, err := s.OpenSession(t.Context(), 0)
		require.NoError(t, err)
		ids = append(ids, id)
		outcomes[id] = once(s, id)
	}
	_, err = s.TakeSnapshot(t.Context())
	require.NoError(t, err)
	count := func(s *raftpico.Server) (n int) {
		settles(t, func() (err error) { n, err = raftpico.Query[int](t.Context(), s, nil); return err })
		return n
	}
	require.Equal(t, 30, count(s))

	joined := startServer(t, machine.JSON(&verbose{}), nil)
	add(t, s, joined)
	waitFor(t, func() bool { return voters(t, joined) == 2 })
	for _, id := range ids {
		require.Equal(t, outcomes[id], once(joined, id))
	}
	require.Equal(t, 30, count(joined))

	addr := s.Addr()
	require.NoError(t, s.Close())
	s = startServer(t, machine.JSON(&verbose{}), func(o *raftpico.Options) { options(o); o.Addr = addr })
	for _, id := range ids {
		require.Equal(t, outcomes[id], once(s, id))
	}
	require.Equal(t, 30, count(s))
}

// rough answers each command by arrays in arrays, n deep, or by texts that are no good JSON.
type rough struct{ Count int }

type verbatim string

func (v verbatim) MarshalJSON() ([]byte, error) { return []byte(v), nil }

func (r *rough) Apply(_ *machine.Context, n int) (any, error) {
	r.Count++
	if nested := strings.Repeat("[", n) + strings.Repeat("]", n); n%2 == 1 {
		return nil, &machine.Error{Code: 1000, Message: "no", Data: json.RawMessage(nested)}
	} else if n > 0 {
		return json.RawMessage(nested), nil
	}
	return []verbatim{`{bad`, "\"\xff\"", ``, "[1,\n2]", `1 2`, `"\ud800"`}[r.Count%6], nil
}

// Whatever a session keeps, the snapshot that has it can be read again, here and by a server that joins.
func TestSessionsAreInSnapshotsHoweverRough(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/log.jsonl"
	s := startServer(t, machine.JSON(&rough{}), func(o *raftpico.Options) { o.File = file })
	_, err := s.CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	id, err := s.OpenSession(t.Context(), 0)
	require.NoError(t, err)
	once := func(seq uint64, n int) string { return onceIn(t, s, raftpico.Session{ID: id, Seq: seq}, n) }
	var kept []string
	for n := range 60 {
		depth := 970 + n
		if n%12 < 6 {
			depth = 0 // a text
		}
		kept = append(kept, once(uint64(n+1), depth))
	}
	_, err = s.TakeSnapshot(t.Context())
	require.NoError(t, err)

	joined := startServer(t, machine.JSON(&rough{}), nil)
	add(t, s, joined)
	waitFor(t, func() bool { return voters(t, joined) == 2 })
	addr := s.Addr()
	require.NoError(t, s.Close())
	s = startServer(t, machine.JSON(&rough{}), func(o *raftpico.Options) { o.File, o.Addr = file, addr })
	for i, want := range kept {
		require.True(t, utf8.ValidString(want), want)
		require.Equal(t, want, once(uint64(i+1), 0), i)
	}
}
