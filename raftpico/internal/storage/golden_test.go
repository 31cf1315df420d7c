package storage_test

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
)

// The folder holds log files of this format version, and for each a text: what it is, and what it must open to. A file
// is a promise: once released, no later version may open it to anything else. To make them anew after a new kind of
// line, or other words of an error, run
//
//	go test ./raftpico/internal/storage -run Golden -update
//
// and read the diff: a changed .jsonl is another format.
const goldenDir = "../../../testdata/log"

var update = flag.Bool("update", false, "write the golden log files anew")

// What the folder holds is what this version writes, and after what has happened to it.
func TestGoldenFilesAreWrittenAsTheyAre(t *testing.T) {
	var names []string
	for _, g := range goldens() {
		t.Run(g.name, func(t *testing.T) {
			file := filepath.Join(goldenDir, g.name)
			content := g.content(t)
			if *update {
				require.NoError(t, os.WriteFile(file+".jsonl", content, 0o644))
				require.NoError(t, os.WriteFile(file+".txt", []byte("# "+g.about+"\n\n"+opened(t, content)), 0o644))
			}
			stored, err := os.ReadFile(file + ".jsonl")
			require.NoError(t, err)
			require.Equal(t, string(stored), string(content))
			text, err := os.ReadFile(file + ".txt")
			require.NoError(t, err)
			require.True(t, bytes.HasPrefix(text, []byte("# "+g.about+"\n\n")), "%s", text)
		})
		require.NotContains(t, names, g.name+".jsonl")
		names = append(names, g.name+".jsonl", g.name+".txt")
	}
	entries, err := os.ReadDir(goldenDir)
	require.NoError(t, err)
	for _, e := range entries {
		if name := e.Name(); name != ".gitattributes" {
			require.Contains(t, names, name)
		}
	}
}

func TestGoldenFilesOpenToWhatTheirTextsSay(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(goldenDir, "*.jsonl"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".jsonl"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			text, err := os.ReadFile(strings.TrimSuffix(file, ".jsonl") + ".txt")
			require.NoError(t, err)
			about, _, _ := strings.Cut(string(text), "\n")
			got := about + "\n\n" + opened(t, content)
			require.Equal(t, string(text), got)
		})
	}
}

// opened tells what Open makes of a file, in words.
func opened(t *testing.T, content []byte) string {
	fsys := memfs.New()
	fsys.WriteFile("FILE", content)
	log, s, err := storage.Open(fsys, "FILE", goldenInstance("f"))
	after, readErr := fsys.ReadFile("FILE")
	require.NoError(t, readErr)
	var b strings.Builder
	if err != nil {
		require.Equal(t, content, after)
		fmt.Fprintf(&b, "refused: %v\n", err)
		return b.String()
	}
	fill(t, log, s)
	require.NoError(t, log.Close())
	fmt.Fprintf(&b, "header      format %d, instance %s\n", s.Header.Format, s.Header.Instance)
	if s.Identity == nil {
		b.WriteString("identity    none: it belongs to no cluster\n")
	} else {
		fmt.Fprintf(&b, "identity    server %d of cluster %s\n            key %s\n", s.Identity.NodeID, s.Identity.ClusterID, s.Identity.Key)
	}
	if s.Snapshot != nil {
		fmt.Fprintf(&b, "snapshot    at index %d of term %d, voters %v, learners %v, time %d\n            system %s\n            user %s\n",
			s.Snapshot.LastIncluded.Index, s.Snapshot.LastIncluded.Term, s.Snapshot.Voters, s.Snapshot.Learners, s.Snapshot.Time,
			s.Snapshot.Machines.System, s.Snapshot.Machines.User)
	}
	fmt.Fprintf(&b, "hard state  term %d, vote %d, commit %d\n", s.HardState.Term, s.HardState.Vote, s.HardState.Commit)
	fmt.Fprintf(&b, "entries     %d, behind index %d of term %d\n", len(s.Entries), s.Prev.Index, s.Prev.Term)
	for _, e := range s.Entries {
		fmt.Fprintf(&b, "            %d, term %d: %s\n", e.GetIndex(), e.GetTerm(), inWords(t, e))
	}
	kept := content[:len(content)-int(s.Cut)]
	if s.Cut > 0 {
		fmt.Fprintf(&b, "cut         the last %d bytes\n", s.Cut)
	}
	require.True(t, bytes.HasPrefix(after, kept))
	if added := after[len(kept):]; len(added) > 0 {
		fmt.Fprintf(&b, "added       %q\n", added)
	}
	return b.String()
}

func inWords(t *testing.T, e *raftpb.Entry) string {
	switch {
	case e.GetType() == raftpb.EntryConfChangeV2:
		var change raftpb.ConfChangeV2
		require.NoError(t, proto.Unmarshal(e.GetData(), &change))
		var steps []string
		for _, c := range change.GetChanges() {
			steps = append(steps, fmt.Sprintf("%v %d", c.GetType(), c.GetNodeId()))
		}
		return strings.Join(steps, ", ")
	case len(e.GetData()) == 0:
		return "empty"
	}
	return string(e.GetData())
}

// goldenInstance is an id of a server's file that a person recognises.
func goldenInstance(server string) string { return strings.Repeat(server, 4) + strings.Repeat("0", 28) }

func (g golden) content(t testing.TB) []byte {
	fsys := memfs.New()
	log, _, err := storage.Open(fsys, "FILE", goldenInstance(cmp.Or(g.server, "a")))
	require.NoError(t, err)
	for _, r := range g.append {
		require.NoError(t, log.Append(r))
	}
	if g.replace != nil {
		require.NoError(t, log.Replace(g.replace...))
	}
	for _, r := range g.behind {
		require.NoError(t, log.Append(r))
	}
	require.NoError(t, log.Close())
	content, err := fsys.ReadFile("FILE")
	require.NoError(t, err)
	if g.then != nil {
		content = g.then(slices.Clone(content))
	}
	return content
}
