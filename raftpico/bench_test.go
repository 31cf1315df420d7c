package raftpico_test

import (
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// echo answers its input.
type echo struct{}

func (*echo) Apply(_ *machine.Context, in json.RawMessage) (any, error) { return in, nil }

// BenchmarkInProcess is what a server of one, without a disk, takes for a call in process, with a thousand under way: all that
// is not the network, the disk, or the other servers.
func BenchmarkInProcess(b *testing.B) {
	s, err := raftpico.Start(machine.JSON(&echo{}), raftpico.Options{Addr: "127.0.0.1:0", InMemory: true, Logger: quiet})
	require.NoError(b, err)
	defer s.Close()
	_, err = s.CreateCluster(b.Context(), raftpico.Timeouts{})
	require.NoError(b, err)
	var input any = json.RawMessage(`{"Put":["key","a value of some length"]}`)
	for _, kind := range []machine.Kind{machine.Command, machine.Query, machine.LocalQuery} {
		b.Run(kind.String(), func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(500)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := s.Apply(b.Context(), kind, input); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
