package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/raftpico/go/raftpico"
)

// logFlags say what newLog prints of a file.
type logFlags struct {
	quiet, showKey, summary, follow bool
	choice                          choice
}

// newLog prints the lines of a log file and verifies it, and tells what a server that opened it would do.
func newLog() *cobra.Command {
	var flags logFlags
	var since, until string
	cmd := &cobra.Command{
		Use:   "log FILE [-q] [--from INDEX] [--to INDEX] [--since TIME] [--until TIME] [--summary] [-f] [--show-key]",
		Short: "print a log file, verify it, and tell what opening it would do",
		Long: `Log prints the lines of a log file, and verifies each. The file may be that of a running server.

With --from, --to, --since or --until it prints the lines that hold a chosen entry, or a snapshot there; the whole file is
verified all the same. A TIME is in RFC 3339, such as 2026-11-30T10:00:00Z, or a duration back from now, such as 90m. An
entry has the time at which the leader took its commands in; one without commands has that of the one before.

With --summary it prints who wrote how much, in place of the lines. With --follow it goes on with what the server appends,
until Ctrl-C, also when a snapshot lets a new file take the log's place.`,
		Example: `  raftpico log kvs.jsonl --from 900 --to 920
  raftpico log kvs.jsonl --since 10m --summary
  raftpico log kvs.jsonl --since 0s --follow`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if flags.choice.since, err = moment("--since", since); err != nil {
				return err
			}
			if flags.choice.until, err = moment("--until", until); err != nil {
				return err
			}
			if flags.choice.from > flags.choice.to {
				return usageError("--from must not be above --to")
			}
			if flags.follow {
				return follow(cmd, args[0], &flags)
			}
			report, err := printLog(cmd, args[0], &flags)
			if err != nil {
				return err
			}
			describe(cmd.ErrOrStderr(), report)
			return report.Refused
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&flags.quiet, "quiet", "q", false, "only verify")
	f.BoolVar(&flags.showKey, "show-key", false, "show the cluster's key too, which is a secret")
	f.Uint64Var(&flags.choice.from, "from", 0, "print lines with entries from this INDEX on")
	f.Uint64Var(&flags.choice.to, "to", ^uint64(0), "and up to this INDEX")
	f.Lookup("to").DefValue = "the last one"
	f.StringVar(&since, "since", "", "print lines with entries from this TIME on")
	f.StringVar(&until, "until", "", "and up to this TIME")
	f.BoolVar(&flags.summary, "summary", false, "print who wrote how much, in place of the lines")
	f.BoolVarP(&flags.follow, "follow", "f", false, "go on with what is appended, until Ctrl-C")
	return cmd
}

// printer prints the lines that are wanted.
type printer struct {
	out, errs io.Writer
	buf       *bufio.Writer
	flags     *logFlags
	sum       shares
	clear     func() // what else is on the terminal's line
}

func newPrinter(cmd *cobra.Command, flags *logFlags, clear func()) *printer {
	out := cmd.OutOrStdout()
	return &printer{out: out, errs: cmd.ErrOrStderr(), buf: bufio.NewWriterSize(out, 64<<10), flags: flags, clear: clear}
}

func (p *printer) print(l raftpico.LogLine) error {
	if l.Err != nil {
		p.clear()
		fmt.Fprintf(p.errs, "line %d, at byte %d: %v\n", l.Number, l.Offset, l.Err)
	}
	chosen, wanted := p.flags.choice.of(&l)
	if p.flags.summary {
		p.sum.add(&l, chosen)
		return nil
	}
	if p.flags.quiet || !wanted {
		return nil
	}
	text := l.Text
	if p.flags.showKey {
		text = l.Verbatim
	}
	if _, err := io.Copy(p.buf, text); err != nil {
		return err
	}
	return p.buf.WriteByte('\n')
}

// end prints the summary, if it is wanted.
func (p *printer) end() error {
	if p.flags.summary {
		p.sum.write(p.buf)
	}
	return p.buf.Flush()
}

func printLog(cmd *cobra.Command, file string, flags *logFlags) (*raftpico.LogReport, error) {
	var size int64 = -1
	if info, err := os.Stat(file); err == nil {
		size = info.Size()
	}
	bar := newProgress(cmd.ErrOrStderr(), size, file, progressbar.OptionShowBytes(true))
	p := newPrinter(cmd, flags, func() { _ = bar.Clear() })
	report, err := raftpico.InspectLog(file, func(l raftpico.LogLine) error {
		if flags.quiet || flags.summary {
			_ = bar.Set64(min(l.Offset, size)) // the file may have grown
		}
		return p.print(l)
	})
	_ = bar.Finish()
	return &report, errors.Join(err, p.end())
}

// follow prints what is in a file, and what comes, until Ctrl-C.
func follow(cmd *cobra.Command, file string, flags *logFlags) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), endings()...)
	defer stop()
	p := newPrinter(cmd, flags, func() {})
	err := raftpico.FollowLog(ctx, file, func(l raftpico.LogLine) error {
		if err := p.print(l); err != nil {
			return err
		}
		return p.buf.Flush()
	})
	return errors.Join(err, p.end())
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
