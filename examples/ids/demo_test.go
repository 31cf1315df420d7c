//go:build unix

package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/examples/ids/idclient"
	"github.com/raftpico/go/examples/ids/internal/ids"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/serve"
)

func TestTheDemoSuggestsWhatWorks(t *testing.T) {
	m := ids.New()
	inputs := regexp.MustCompile(`"kind":"(\w+)","input":(.*)}'`).FindAllStringSubmatch(whatNext(serve.Demo{Files: []string{"f"}, HTTPAddrs: []string{"h"}}), -1)
	require.Len(t, inputs, 3)
	for i, input := range inputs {
		var kind machine.Kind
		require.NoError(t, kind.UnmarshalText([]byte(input[1])))
		_, err := m.Apply(machine.NewContext(kind, uint64(i), time.Now()), json.RawMessage(input[2]))
		require.NoError(t, err, input[2])
	}
}

// The demo gives ids out as soon as it says so, and goes on where it was killed.
func TestTheDemoGoesOnWhereItWasKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds; runs without -short")
	}
	for _, addr := range slices.Concat(service.Addrs, service.HTTPAddrs) {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Skipf("the demo's addresses are in use: %v", err)
		}
		require.NoError(t, l.Close())
	}
	dir := t.TempDir()
	last := idclient.ID(0)
	for range 2 {
		cmd := exec.Command(os.Args[0])
		cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), asMain+"=1"), t.Output()
		require.NoError(t, cmd.Start())
		func() {
			defer kill(cmd)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c, err := idclient.New("orders", 0, service.Addrs...)
			require.NoError(t, err)
			defer c.Close()
			for range 3 {
				id, err := c.Next(ctx)
				require.NoError(t, err)
				require.Equal(t, last+1, id)
				last = id
			}
			for _, addr := range service.HTTPAddrs {
				for _, path := range []string{"/ready", serve.ConsolePath, serve.ConsolePath + "metrics"} {
					require.Eventually(t, func() bool {
						answer, err := http.Get("http://" + addr + path)
						if err != nil {
							return false
						}
						return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
					}, patience, 10*time.Millisecond, addr+path)
				}
			}
			http.DefaultClient.CloseIdleConnections()
		}()
	}
}
