package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/raftpico/go/raftpico"
)

// newLog prints the lines of a log file and verifies it, and tells what a server that opened it would do.
func newLog() *cobra.Command {
	var quiet, showKey bool
	cmd := &cobra.Command{
		Use:   "log FILE [-q] [--show-key]",
		Short: "print a log file, verify it, and tell what opening it would do",
		Args:  exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := printLog(cmd, args[0], quiet, showKey)
			if err != nil {
				return err
			}
			describe(cmd.ErrOrStderr(), report)
			return report.Refused
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "only verify")
	cmd.Flags().BoolVar(&showKey, "show-key", false, "show the cluster's key too, which is a secret")
	return cmd
}

func printLog(cmd *cobra.Command, file string, quiet, showKey bool) (*raftpico.LogReport, error) {
	out := bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)
	var size int64 = -1
	if info, err := os.Stat(file); err == nil {
		size = info.Size()
	}
	bar := newProgress(cmd.ErrOrStderr(), size, file, progressbar.OptionShowBytes(true))
	report, err := raftpico.InspectLog(file, func(l raftpico.LogLine) error {
		if l.Err != nil {
			_ = bar.Clear()
			fmt.Fprintf(cmd.ErrOrStderr(), "line %d, at byte %d: %v\n", l.Number, l.Offset, l.Err)
		}
		if quiet {
			_ = bar.Set64(min(l.Offset, size)) // the file may have grown
			return nil
		}
		text := l.Text
		if showKey {
			text = l.Verbatim
		}
		if _, err := io.Copy(out, text); err != nil {
			return err
		}
		return out.WriteByte('\n')
	})
	_ = bar.Finish()
	return &report, errors.Join(err, out.Flush())
}

func describe(out io.Writer, r *raftpico.LogReport) {
	who := "no cluster yet"
	if r.ClusterID != "" {
		who = fmt.Sprintf("server %d of cluster %s", r.NodeID, r.ClusterID)
	}
	fmt.Fprintf(out, "%d good lines, %d bytes; instance %s, %s\n", r.Lines, r.Bytes, r.Instance, who)
	if r.ClusterID != "" {
		entries := "no entries"
		if r.First != 0 {
			entries = fmt.Sprintf("entries %d to %d", r.First, r.Last)
		}
		fmt.Fprintf(out, "term %d, vote %d, snapshot at %d, %s, committed at least up to %d\n", r.Term, r.Vote, r.Snapshot, entries, r.Commit)
	}
	switch {
	case r.Refused != nil:
		fmt.Fprintln(out, "a server would refuse to start from it")
	case r.Cut > 0:
		fmt.Fprintf(out, "a server would cut the last %d bytes: a line that a crash tore, or that is just being written; nothing in it was acknowledged\n", r.Cut)
	default:
		fmt.Fprintln(out, "a server would start from it as it is")
	}
}
