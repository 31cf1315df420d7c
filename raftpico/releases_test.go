package raftpico_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico"
	boot "github.com/raftpico/go/raftpico/internal/join"
	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/raftpico/internal/wire"
	"github.com/raftpico/go/raftpico/memnet"
)

// releases holds what each release has written: testdata/README.md.
const releases = "../testdata/releases"

var updateRelease = flag.String("update-release", "", "writes the folder of the release with this `NAME`, such as v0.2.0")

// outcome is what a file of a release must lead to, whichever release reads it.
type outcome struct {
	Index, Term      uint64
	Sessions         int
	Time             int64 `json:"time_ms"`
	MachineVersion   int   `json:"machine_version"`
	Snapshot, Commit uint64
	Hash             string          // SHA-256 of the machine's state
	System           json.RawMessage `json:",omitempty"` // the member list and what belongs to it
}

// What any release has written, this one reads, to the same state.
func TestFilesOfReleases(t *testing.T) {
	if *updateRelease != "" {
		dir := filepath.Join(releases, *updateRelease)
		require.NoError(t, os.Mkdir(dir, 0o755), "a release is written once")
		play(t, dir)
		writeOutcomes(t, dir)
	}
	dirs, err := filepath.Glob(filepath.Join(releases, "v*"))
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			var want map[string]outcome
			text, err := os.ReadFile(filepath.Join(dir, "outcomes.json"))
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(text, &want))
			require.NotEmpty(t, want)
			for name, o := range want {
				got := outcomeOf(t, filepath.Join(dir, name))
				require.JSONEq(t, string(o.System), string(got.System), name)
				o.System, got.System = nil, nil
				require.Equal(t, o, got, name)
			}
			readTalk(t, filepath.Join(dir, "talk.txt.gz"))
		})
	}
}

// The scene has every kind of command: what is new must be in it, so that the next release keeps it.
func TestTheSceneOfReleasesHasAllKinds(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds; runs without -short")
	}
	dir := t.TempDir()
	play(t, dir)
	text, err := os.ReadFile(filepath.Join(dir, "log.jsonl"))
	require.NoError(t, err)
	later, err := os.ReadFile(filepath.Join(dir, "snapshot.jsonl"))
	require.NoError(t, err)
	all := string(text) + string(later)
	for kind := range reflect.TypeFor[wire.System]().Fields() {
		if kind.Name != "TakeSnapshot" { // the last of an old log, which a snapshot has replaced
			require.Contains(t, all, `{"`+kind.Name+`":{`, "no such command was logged")
		}
	}
	for _, word := range []string{`{"Header":`, `{"Identity":`, `{"Snapshot":`, `"LogEntries":`, `{"StartTerm":`, `"AddLearner":`, `"AddVoter":`, `"Remove":`,
		`"Session":{`, `"nonvoter":true`, `,"id":`} {
		require.Contains(t, all, word)
	}
	writeOutcomes(t, dir)
	readTalk(t, filepath.Join(dir, "talk.txt.gz"))
}

func writeOutcomes(t *testing.T, dir string) {
	t.Helper()
	all := map[string]outcome{}
	for _, name := range []string{"log.jsonl", "snapshot.jsonl", "large.jsonl.gz", "backup.jsonl"} {
		all[name] = outcomeOf(t, filepath.Join(dir, name))
	}
	text, err := json.MarshalIndent(all, "", "  ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "outcomes.json"), append(text, '\n'), 0o644))
}

// outcomeOf reads a file: it replays all that is committed, and starts a server from it, which must have the same state. Nobody
// else is there, so nothing comes to it.
func outcomeOf(t *testing.T, path string) (o outcome) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, textOf(t, path), 0o600))
	if strings.HasPrefix(filepath.Base(path), "backup") {
		file += ".restored"
		made, err := raftpico.Restore(bytes.NewReader(textOf(t, path)), file, "restored:1")
		require.NoError(t, err)
		require.NotZero(t, made)
	}
	m := newBuiltLocks(2)
	info, err := raftpico.Replay(file, m, 0)
	require.NoError(t, err, path)
	state, err := m.Snapshot()
	require.NoError(t, err)
	sum := sha256.Sum256(state)
	o = outcome{Index: info.Index, Term: info.Term, Sessions: info.Sessions, Time: info.Time.UnixMilli(), MachineVersion: info.MachineVersion,
		Snapshot: info.Snapshot, Commit: info.Commit, Hash: hex.EncodeToString(sum[:])}
	if strings.HasPrefix(filepath.Base(path), "backup") {
		o.System = json.RawMessage(`{}`) // the members are those of a new cluster
		return o
	}
	var network memnet.Network
	listener, err := network.Listen("elsewhere:1")
	require.NoError(t, err)
	s, err := raftpico.Start(newBuiltLocks(2), raftpico.Options{Addr: "elsewhere:1", File: file, Listener: listener, Dial: network.Dialer("elsewhere:1"), Logger: quiet})
	require.NoError(t, err, path)
	defer s.Close()
	var now *raftpico.State
	waitFor(t, func() bool {
		now, err = s.State(t.Context(), true)
		return err == nil && now.AppliedIndex >= info.Index && now.Machines != nil
	})
	require.Equal(t, info.Index, now.AppliedIndex, path)
	require.JSONEq(t, string(state), string(now.Machines.User), path)
	o.System = now.Machines.System
	return o
}

// readTalk reads what servers of a release have said to each other: each line is understood, and says the same when this release
// says it again.
func readTalk(t *testing.T, path string) {
	t.Helper()
	said := map[string]int{}
	asked := map[string]string{} // methods, by the id of their request
	for line := range strings.Lines(string(textOf(t, path))) {
		line = strings.TrimSuffix(line, "\n")
		side, text := line[:2], line[2:]
		if side == "# " {
			clear(asked)
			continue
		}
		var envelope struct {
			Method string          `json:"method"`
			Params json.RawMessage `json:"params"`
			ID     json.RawMessage `json:"id"`
			Result json.RawMessage `json:"result"`
			Error  *jsonrpc.Error  `json:"error"`
		}
		require.NoError(t, json.Unmarshal([]byte(text), &envelope), "%.300s", text)
		var again any
		switch {
		case side == "< " && envelope.Error != nil:
			said["error"]++
			continue
		case side == "< ":
			switch asked[string(envelope.ID)] {
			case peer.MethodHello:
				again = new(peer.HelloAnswer)
			case peer.MethodPing:
				again = new(peer.Pong)
			case peer.MethodBootstrap:
				again = new(boot.Answer)
			default:
				continue
			}
			envelope.Params = envelope.Result
		default:
			said[envelope.Method]++
			asked[string(envelope.ID)] = envelope.Method
			if !strings.HasPrefix(envelope.Method, "raftpico.") {
				continue // a client's: a joiner is one
			}
			switch envelope.Method {
			case peer.MethodMessage:
				sayAgain(t, envelope.Params)
				continue
			case peer.MethodHello:
				again = new(peer.Hello)
			case peer.MethodProve:
				again = new(peer.Prove)
			case peer.MethodBootstrap:
				again = new(peer.Question)
			case peer.MethodJoin:
				again = new(peer.Join)
			case peer.MethodSnapshot:
				p := new(peer.Snapshot)
				require.NoError(t, json.Unmarshal(envelope.Params, p))
				sayAgain(t, p.Message)
				again = p
			case peer.MethodChunk:
				continue
			case peer.MethodInstall:
				again = new(peer.Install)
			case peer.MethodPing:
				continue
			default:
				require.Fail(t, "an unknown method", "%.300s", text)
			}
		}
		require.NoError(t, json.Unmarshal(envelope.Params, again), "%.300s", text)
		b, err := wire.Marshal(again)
		require.NoError(t, err)
		require.JSONEq(t, string(envelope.Params), string(b))
	}
	for _, method := range []string{peer.MethodHello, peer.MethodBootstrap, peer.MethodJoin, peer.MethodProve, peer.MethodMessage, peer.MethodPing, peer.MethodSnapshot, peer.MethodChunk, peer.MethodInstall} {
		require.NotZero(t, said[method], method)
	}
	require.Greater(t, said[peer.MethodChunk], 1, "a snapshot in pieces")
}

func sayAgain(t *testing.T, text json.RawMessage) {
	t.Helper()
	m, err := wire.DecodeMessage(text)
	require.NoError(t, err, "%.300s", text)
	b, err := wire.AppendMessage(nil, m)
	require.NoError(t, err)
	require.JSONEq(t, string(text), string(b))
}

// textOf is a file's content, unpacked.
func textOf(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var in io.Reader = f
	if filepath.Ext(path) == ".gz" {
		in, err = gzip.NewReader(f)
		require.NoError(t, err)
	}
	text, err := io.ReadAll(in)
	require.NoError(t, err)
	return text
}

// keep copies a log file. What is behind its last newline is still being written.
func keep(t *testing.T, file, to string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	keepText(t, text[:bytes.LastIndexByte(text, '\n')+1], to)
}

// keepText writes a file, packed if its name says so.
func keepText(t *testing.T, text []byte, to string) {
	t.Helper()
	if filepath.Ext(to) == ".gz" {
		var packed bytes.Buffer
		w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		require.NoError(t, err)
		_, err = w.Write(text)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		text = packed.Bytes()
	}
	require.NoError(t, os.WriteFile(to, text, 0o644))
}

func decodeLocks(t *testing.T, state json.RawMessage) *locks {
	t.Helper()
	m := new(locks)
	require.NoError(t, json.Unmarshal(state, m))
	return m
}
