// This main takes the place of kvs's own when the tests build it: the same service with limits so small that clients reach them.
package main

import (
	"net/http"
	"time"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/serve"
)

// Kvs [-http ADDR] ADDR FILE. NB: The tests know some of the limits too, as constants.
func main() {
	(&serve.Service{
		Name: "kvs",
		New:  func() machine.Machine { return machine.JSON(&kvs{}) },
		HTTP: func(s *raftpico.Server) http.Handler { return newFront(s, nil) },
		Options: func(o *raftpico.Options) {
			o.Limits = raftpico.Limits{
				Deadline: 5 * time.Second, MaxLine: 4 << 20, MaxUncommitted: 8 << 20, MaxUnsent: 8 << 20, Budget: 32 << 20,
				CompactAfter: 16 << 20, MaxQueue: 16 << 20, MaxPending: 20_000, MaxUnderway: 2000,
			}
		},
	}).Main()
}
