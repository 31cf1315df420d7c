package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/raftpico/go/raftpico"
)

// logFile prints the lines of a log file and verifies it, and tells what a server that opened it would do.
func logFile(c *console, args []string) error {
	f := newFlags()
	var quiet bool
	for _, name := range []string{"quiet", "q"} {
		f.BoolVar(&quiet, name, false, "")
	}
	args, err := f.parse(args, 1, 1)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(c.out, 64<<10)
	p := newProgress(c.err)
	report, err := raftpico.InspectLog(args[0], func(l raftpico.LogLine) error {
		if l.Err != nil {
			fmt.Fprintf(c.err, "line %d, at byte %d: %v\n", l.Number, l.Offset, l.Err)
		}
		if quiet {
			p.show("%d lines", l.Number)
			return nil
		}
		if _, err := io.Copy(out, l.Text); err != nil {
			return err
		}
		return out.WriteByte('\n')
	})
	p.end()
	if err := errors.Join(err, out.Flush()); err != nil {
		return err
	}
	describe(c, &report)
	if report.Refused != nil {
		return report.Refused
	}
	return nil
}

func describe(c *console, r *raftpico.LogReport) {
	who := "no cluster yet"
	if r.ClusterID != "" {
		who = fmt.Sprintf("server %d of cluster %s", r.NodeID, r.ClusterID)
	}
	fmt.Fprintf(c.err, "%d good lines, %d bytes; instance %s, %s\n", r.Lines, r.Bytes, r.Instance, who)
	if r.ClusterID != "" {
		entries := "no entries"
		if r.First != 0 {
			entries = fmt.Sprintf("entries %d to %d", r.First, r.Last)
		}
		fmt.Fprintf(c.err, "term %d, vote %d, snapshot at %d, %s, committed at least up to %d\n", r.Term, r.Vote, r.Snapshot, entries, r.Commit)
	}
	switch {
	case r.Refused != nil:
		fmt.Fprintln(c.err, "a server would refuse to start from it")
	case r.Cut > 0:
		fmt.Fprintf(c.err, "a server would cut the last %d bytes: a line that a crash tore, or that is just being written; nothing in it was acknowledged\n", r.Cut)
	default:
		fmt.Fprintln(c.err, "a server would start from it as it is")
	}
}
