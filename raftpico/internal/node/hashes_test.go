package node_test

import (
	"fmt"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
)

func init() {
	// checks TIME: how often servers that start from now on have their states compared
	commands["checks"] = func(w *world, d *datadriven.TestData) {
		var err error
		w.checks, err = time.ParseDuration(d.CmdArgs[0].Key)
		require.NoError(w.t, err)
	}
	// hashes: what servers tell each other of their states' hashes; then each one's, and whose state it knows to be another
	commands["hashes"] = func(w *world, d *datadriven.TestData) {
		for _, s := range w.servers {
			for id, to := range s.up {
				if h := to.node.StateHash(); s.node != nil && h.Index > 0 {
					s.node.PeerHash(id, h)
				}
			}
		}
		for _, s := range w.servers {
			if s.node == nil {
				continue
			}
			st := s.node.State()
			fmt.Fprintf(&w.out, "%s:", s.name)
			if st.StateHash != nil {
				fmt.Fprintf(&w.out, " %d %s", st.StateHash.Index, st.StateHash.Hash)
			}
			for _, m := range st.Members {
				if m.Diverged {
					fmt.Fprintf(&w.out, ", %s differs", m.Addr)
				}
			}
			require.Equal(w.t, s.hasDiverged(), st.Diverged)
			w.out.WriteString("\n")
		}
	}
}

func (s *server) hasDiverged() bool {
	for _, m := range s.node.State().Members {
		if m.Diverged {
			return true
		}
	}
	return false
}
