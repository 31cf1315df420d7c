package raftpico_test

import (
	"bufio"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico"
)

// TestServerThatStopsLosesNothing: a leader that is closed under load serves on while it hands leadership over, then refuses, and names
// the next leader; and a client that goes when it is told so has had an answer to all that it has asked.
func TestServerThatStopsLosesNothing(t *testing.T) {
	t.Parallel()
	servers := startCluster(t, 3)
	var leader *raftpico.Server
	waitFor(t, func() bool {
		for _, s := range servers {
			state, err := s.State(t.Context(), false)
			voters := 0
			for i := 0; err == nil && i < len(state.Members); i++ {
				if m := state.Members[i]; m.Role == "Voter" && m.Active != nil && *m.Active && m.Progress != "Probe" {
					voters++ // which the leader alone knows
				}
			}
			if voters == 3 {
				leader = s
			}
		}
		return leader != nil
	})
	const window = 8
	var clients sync.WaitGroup
	var mu sync.Mutex
	answered, refused := 0, 0
	begun := make(chan struct{}, 100)
	for range 6 {
		clients.Go(func() {
			conn, err := net.Dial("tcp", leader.Addr())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			under, told := 0, false
			ask := func() {
				under++
				fmt.Fprintln(conn, `{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":1},"id":1}`)
			}
			for range window {
				ask()
			}
			for n := 0; under > 0; n++ {
				_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
				line, err := in.ReadBytes('\n')
				if err != nil {
					if told {
						t.Errorf("%d requests had no answer: %v", under, err)
					}
					return // it has slept through the farewell
				}
				under--
				var a struct{ Error *raftpico.Error }
				if err := json.Unmarshal(line, &a); err != nil {
					t.Error(err)
					return
				}
				if a.Error != nil {
					var data struct{ Leader, Reason string }
					_ = json.Unmarshal(a.Error.Data, &data)
					if a.Error.Code != 106 || data.Leader == "" || data.Leader == leader.Addr() {
						t.Errorf("%s", line)
					}
					told = true
				}
				mu.Lock()
				if a.Error == nil {
					answered++
				} else {
					refused++
				}
				mu.Unlock()
				if n == 50 {
					begun <- struct{}{}
				}
				if !told {
					ask()
				}
			}
		})
	}
	for range 6 {
		<-begun
	}
	require.NoError(t, leader.Close())
	clients.Wait()
	require.LessOrEqual(t, refused, 6*window)
	t.Logf("%d answered, %d refused", answered, refused)
}
