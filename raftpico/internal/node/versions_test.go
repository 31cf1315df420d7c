package node_test

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/datadriven"
	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"
)

func init() {
	// build VERSION [SERVER…]: of which version the machine is that they start with from now on, or those who are yet to come
	commands["build"] = func(w *world, d *datadriven.TestData) {
		if len(d.CmdArgs) == 1 {
			w.build = w.number(d.CmdArgs[0].Key)
		}
		for _, arg := range d.CmdArgs[1:] {
			w.server(arg.Key).build = w.number(d.CmdArgs[0].Key)
		}
	}
	// versions: each server's machine's, the cluster's, and what it has been told of others
	commands["versions"] = func(w *world, d *datadriven.TestData) {
		for _, s := range w.servers {
			if s.node == nil {
				continue
			}
			st := s.node.State()
			fmt.Fprintf(&w.out, "%s: %d of %d;", s.name, st.ActiveVersion, st.MachineVersion)
			for _, m := range st.Members {
				fmt.Fprintf(&w.out, " %s %d", m.Addr, m.MachineVersion)
			}
			w.out.WriteString("\n")
		}
	}
}

// versioned is a register of some version. An input that begins with "vN" is a command since version N; what is applied is
// marked with the cluster's version, from 1 on. At "panic" it panics.
type versioned struct {
	machine.Machine
	version int
}

func (v versioned) Version() int { return v.version }

func (v versioned) Needs(input json.RawMessage) (needs int) {
	var word string
	if json.Unmarshal(input, &word) == nil {
		if word == "panic" {
			panic("at Needs")
		}
		_, _ = fmt.Sscanf(word, "v%d", &needs)
	}
	return needs
}

func (v versioned) Apply(ctx *machine.Context, input json.RawMessage) (any, error) {
	switch needs := v.Needs(input); {
	case needs > v.version:
		return nil, fmt.Errorf("an unknown command")
	case needs > ctx.Version && ctx.Kind == machine.Command:
		panic("a command that the cluster's version does not know")
	case ctx.Version > 0 && ctx.Kind == machine.Command:
		input = json.RawMessage(strings.TrimSuffix(string(input), `"`) + fmt.Sprintf(`@%d"`, ctx.Version))
	}
	return v.Machine.Apply(ctx, input)
}

// machine is what a server starts with.
func (s *server) machine() machine.Machine {
	switch {
	case s.isKeeper:
		if s.w.hears {
			return machine.JSON(s.hearer)
		}
		return machine.JSON(s.k)
	case s.build == 0:
		return machine.JSON(s.m)
	}
	return versioned{machine.JSON(s.m), s.build}
}

// applied is what happened to its machine.
func (s *server) applied() []string {
	if s.isKeeper {
		return s.k.Applied
	}
	return s.m.Applied
}

// refused tells whether a server can't start, since its machine is too old for its log.
func (s *server) refused(state *storage.State) bool {
	if state.Snapshot == nil {
		return false
	}
	err := node.CheckVersion(s.machine(), state.Snapshot)
	if err != nil {
		fmt.Fprintf(&s.w.out, "%s can't start: %v\n", s.name, err)
		require.NoError(s.w.t, s.log.Close())
	}
	return err != nil
}
