package node_test

import (
	"fmt"

	"github.com/cockroachdb/datadriven"

	"github.com/raftpico/go/raftpico/internal/wire"
)

func init() {
	// behind N SERVER…: by how many levels they say that their releases are behind, when the next links are made
	commands["behind"] = func(w *world, d *datadriven.TestData) {
		for _, arg := range d.CmdArgs[1:] {
			w.server(arg.Key).behind = w.number(d.CmdArgs[0].Key)
		}
	}
	// levels: what each server needs to read its log, and whether the others have told that they are of this release
	commands["levels"] = func(w *world, d *datadriven.TestData) {
		for _, s := range w.servers {
			if s.node == nil {
				continue
			}
			st := s.node.State()
			fmt.Fprintf(&w.out, "%s: needs %d;", s.name, st.ActiveLevel)
			for _, m := range st.Members {
				fmt.Fprintf(&w.out, " %s %s", m.Addr, map[bool]string{true: "new", false: "old or unknown"}[m.Level == wire.Level])
			}
			w.out.WriteString("\n")
		}
	}
}
