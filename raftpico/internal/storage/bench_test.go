package storage_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 64 << 10, 300 << 10, 1 << 20, 2 << 20} {
		b.Run(fmt.Sprintf("sync/%dB", size), func(b *testing.B) {
			benchmarkAppend(b, storage.OS, filepath.Join(b.TempDir(), "log.jsonl"), size)
		})
		b.Run(fmt.Sprintf("nosync/%dB", size), func(b *testing.B) {
			benchmarkAppend(b, unsynced{storage.OS}, filepath.Join(b.TempDir(), "log.jsonl"), size)
		})
	}
}

func benchmarkAppend(b *testing.B, fsys storage.FS, path string, size int) {
	log, _, err := storage.Open(fsys, path, "k3x9")
	require.NoError(b, err)
	defer log.Close()
	require.NoError(b, log.Append(founding()))
	b.SetBytes(int64(size))
	b.ReportAllocs()
	value := strings.Repeat("x", size)
	index := uint64(2)
	for b.Loop() {
		if err := log.Append(batchLine(index, value)); err != nil {
			b.Fatal(err)
		}
		index++
	}
}

// BenchmarkOpen reads 64 MiB in lines of one entry.
func BenchmarkOpen(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "log.jsonl")
			log, _, err := storage.Open(unsynced{storage.OS}, path, "k3x9")
			require.NoError(b, err)
			require.NoError(b, log.Append(founding()))
			value := strings.Repeat("x", size)
			index := uint64(2)
			for ; log.Size() < 64<<20; index++ {
				require.NoError(b, log.Append(batchLine(index, value)))
			}
			b.SetBytes(log.Size())
			require.NoError(b, log.Close())
			b.ReportAllocs()
			for b.Loop() {
				log, state, err := storage.Open(unsynced{storage.OS}, path, "k3x9")
				if err != nil || len(state.Entries) != int(index-2) {
					b.Fatal(err)
				}
				log.Close()
			}
			b.ReportMetric(float64(index)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

// batchLine is a line with one entry of term 1, as the loop writes it for one command.
func batchLine(index uint64, value string) *wire.Record {
	data := fmt.Appendf(nil, `{"from":1,"boot":"b1","seq":%d,"time":1795258645723,"commands":[{"Apply":{"Put":["k%d","%s"]}}]}`, index, index, value)
	entry := &raftpb.Entry{Type: raftpb.EntryNormal.Enum(), Term: new(uint64(1)), Index: new(index), Data: data}
	return &wire.Record{
		HardState:  &wire.HardState{Term: 1, Vote: 1, Commit: index - 1},
		LogEntries: &wire.LogEntries{Prev: wire.EntryID{Term: 1, Index: index - 1}, Entries: []*raftpb.Entry{entry}},
	}
}

// unsynced leaves syncs out: what remains is our own work.
type unsynced struct{ storage.FS }

func (u unsynced) OpenFile(name string, flag int, perm os.FileMode) (storage.File, error) {
	f, err := u.FS.OpenFile(name, flag, perm)
	return unsyncedFile{f}, err
}

type unsyncedFile struct{ storage.File }

func (unsyncedFile) Sync() error { return nil }
