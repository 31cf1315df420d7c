package node_test

import (
	"fmt"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
)

func init() {
	// leases: who has one
	commands["leases"] = func(w *world, _ *datadriven.TestData) {
		for _, s := range w.servers {
			if s.node != nil && s.node.State().Leased {
				fmt.Fprintf(&w.out, "%s has a lease\n", s.name)
			}
		}
	}
	// between SERVER: queries between two turns, as their callers carry them out
	commands["between"] = func(w *world, d *datadriven.TestData) {
		s := w.server(d.CmdArgs[0].Key)
		now, _ := s.Uptime()
		out, err, ok := s.node.LeasedQuery([]byte(`"x"`), now)
		fmt.Fprintf(&w.out, "%t %s %v\n", ok, out, err)
	}
	// suspend SERVER TIME: it does nothing, and for what counts time without that, nothing has passed
	commands["suspend"] = func(w *world, d *datadriven.TestData) {
		span, err := time.ParseDuration(d.CmdArgs[1].Key)
		require.NoError(w.t, err)
		w.server(d.CmdArgs[0].Key).ahead += span
	}
}
