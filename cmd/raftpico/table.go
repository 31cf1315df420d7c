package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/raftpico/go/raftpico"
)

// writeTable writes a row for each server. One that could not be asked keeps the columns, and tells why behind them.
func writeTable(out io.Writer, servers []*surveyed) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ADDRESS\tID\tROLE\tTERM\tCOMMIT\tAPPLIED\tLAG\tPROGRESS\tLOG\tSNAPSHOT\tUNDER WAY")
	var newest uint64
	for _, s := range servers {
		if s.state != nil {
			newest = max(newest, s.state.CommitIndex)
		}
	}
	for _, s := range servers {
		if s.state == nil {
			fmt.Fprintf(w, "%s\t-\t-\t-\t-\t-\t-\t%s\t-\t-\t-  %s\n", s.Addr, seenByLeader(servers, s.Addr), s.Error)
			continue
		}
		st := s.state
		id, role := "-", st.Role
		if st.NodeID != nil {
			id = fmt.Sprint(*st.NodeID)
		} else {
			role = "no cluster"
		}
		if st.Removed {
			role = "removed"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%d%s\n", st.Addr, id, role, st.Term, st.CommitIndex, st.AppliedIndex,
			newest-st.AppliedIndex, seenByLeader(servers, st.Addr), size(st.Log.Bytes), size(st.Log.SnapshotBytes), st.Pending, remarks(st))
	}
	return w.Flush()
}

// remarks stand behind a server's row, if there is something to say.
func remarks(st *raftpico.State) (text string) {
	for _, m := range st.Members {
		if m.Diverged {
			text += "  state differs from " + m.Addr
		}
	}
	for _, m := range st.Members {
		if m.Nonvoter && st.NodeID != nil && m.ID == *st.NodeID {
			text += "  learns for good"
		}
	}
	if st.RemovedDead > 0 && st.Role == "Leader" {
		text += fmt.Sprintf("  dead members removed: %d", st.RemovedDead)
	}
	if st.MachineVersion > st.ActiveVersion {
		text += fmt.Sprintf("  machine version %d, the cluster's is %d", st.MachineVersion, st.ActiveVersion)
	}
	return text
}

// seenByLeader is how the leader sees the member at addr.
func seenByLeader(servers []*surveyed, addr string) string {
	for _, s := range servers {
		if s.state == nil || s.state.Role != "Leader" {
			continue
		}
		for _, m := range s.state.Members {
			switch {
			case m.Addr != addr || m.Progress == "":
			case m.Active != nil && !*m.Active:
				return "silent"
			default:
				return m.Progress
			}
		}
	}
	return "-"
}

func size(bytes int64) string {
	switch {
	case bytes >= 10<<20:
		return fmt.Sprintf("%d MiB", bytes>>20)
	case bytes >= 10<<10:
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d B", bytes)
}
