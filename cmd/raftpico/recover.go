package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftpico/go/raftpico"
)

const acceptLoss = "i-accept-that-acknowledged-commands-may-be-lost"

// newRecover makes of one server's log file that of a new cluster's first server.
func newRecover() *cobra.Command {
	var accept bool
	var addr string
	cmd := &cobra.Command{
		Use:   "recover FILE... [--" + acceptLoss + "] [--addr ADDR]",
		Short: "when a majority is lost for ever: make a new cluster of one server's log file",
		Long: `Recover is for a cluster whose majority is lost for ever. It makes of one surviving log file that of the first server of a
new cluster. No server of the old cluster can come into it. All that is in the file is kept; the old file is kept beside
it as FILE.before-recovery.

Without the flag it changes nothing, and tells what it would do and what may be lost; the exit status is 1. With several
FILEs it tells which one has most: take that.

Stop all servers of the cluster first, and see that none of them comes back. Run it as the user of the server.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError("FILE is missing")
			}
			if accept && len(args) > 1 {
				return usageError("--" + acceptLoss + " is for one FILE")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if addr != "" {
				var err error
				if addr, err = address(addr); err != nil {
					return err
				}
			}
			switch {
			case len(args) > 1:
				return compare(cmd.OutOrStdout(), args)
			case !accept:
				return wouldRecover(cmd.OutOrStdout(), args[0], addr)
			}
			made, err := raftpico.Recover(args[0], addr)
			if err != nil {
				return err
			}
			tellRecovered(cmd.OutOrStdout(), args[0], &made)
			return nil
		},
	}
	cmd.Flags().BoolVar(&accept, acceptLoss, false, "do it")
	cmd.Flags().StringVar(&addr, "addr", "", "HOST:PORT at which others will reach the new cluster's first server; as before if not given")
	return cmd
}

// tellSurvivor tells what is in a file.
func tellSurvivor(out io.Writer, file string, s *raftpico.Survivor) {
	who := s.Addr
	if who == "" {
		who = "no member any more: its state may be old"
	}
	fmt.Fprintf(out, "%s is of server %d (%s) of cluster %s.\n", file, s.NodeID, who, s.ClusterID)
	fmt.Fprintf(out, "The log ends at entry %d, term %d, time %s.\n", s.Last, s.Term, clock(s.Time))
	fmt.Fprintf(out, "Up to entry %d, time %s, everything was committed for certain.\n", s.Commit, clock(s.Certain))
	fmt.Fprintf(out, "Behind that are %d commands. Each may have been acknowledged, or not; they are kept, and will be carried out.\n", s.Doubtful)
}

func clock(t time.Time) string { return t.Format("2006-01-02T15:04:05.000Z07:00") }

// wouldRecover tells what would be done, and what may be lost.
func wouldRecover(out io.Writer, file, addr string) error {
	s, err := raftpico.LookAtSurvivor(file)
	if err != nil {
		return err
	}
	tellSurvivor(out, file, &s)
	fmt.Fprintf(out, `
What the other servers acknowledged, and this one had not heard of, would be lost: commands, sessions, members.
%s
With --%s
  - %s becomes the log of the first server of a new cluster, with a new id and a new key: its only member, at %s;
  - the old file is kept as %s.before-recovery;
  - no other server of the old cluster can come into the new one. Stop them, and delete their files before they are added.
`, others(&s), acceptLoss, file, at(&s, addr), file)
	return fmt.Errorf("nothing was changed")
}

func at(s *raftpico.Survivor, addr string) string {
	switch {
	case addr != "":
		return addr
	case s.Addr == "":
		return "an address that --addr must give"
	}
	return s.Addr
}

func others(s *raftpico.Survivor) string {
	if len(s.Others) == 0 {
		return "It knows of no other members."
	}
	return "The other members were " + strings.Join(s.Others, ", ") + ". If a majority can be brought back, do that. If one\n" +
		"other file has survived, compare them first: raftpico recover FILE FILE tells which has most."
}

func tellRecovered(out io.Writer, file string, made *raftpico.Recovered) {
	tellSurvivor(out, made.Kept, &made.Survivor)
	fmt.Fprintf(out, `
%s is now the log of the first server of the new cluster %s.
What to do next:
  1. See that no server of the old cluster is started with its old file. Keep those files until all is well.
  2. Start the server with %s, at %s.
  3. Add other servers, with empty files, by AddServer. Tell the clients, if addresses have changed.
  4. Look at the last commands before %s: clients may have been told of others that are lost.
`, file, made.NewID, file, made.NewAddr, clock(made.Time))
}

// compare tells which of several files has most. Of those that have the same, it is one that knows most of it to be committed.
// A file that can't be used is an error, and the others are compared all the same.
func compare(out io.Writer, files []string) (unusable error) {
	type candidate struct {
		file string
		raftpico.Survivor
	}
	var all []candidate
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FILE\tCLUSTER\tSERVER\tLAST TERM\tLAST ENTRY\tCERTAIN\tTIME\t")
	for _, file := range files {
		s, err := raftpico.LookAtSurvivor(file)
		if err != nil {
			unusable = errors.Join(unusable, fmt.Errorf("%s can't be used: %w", file, err))
			continue
		}
		fmt.Fprintf(table, "%s\t%.8s\t%d\t%d\t%d\t%d\t%s\t\n", file, s.ClusterID, s.NodeID, s.Term, s.Last, s.Commit, clock(s.Time))
		all = append(all, candidate{file, s})
	}
	if len(all) == 0 {
		return unusable
	}
	if err := table.Flush(); err != nil {
		return err
	}
	best := all[0]
	for _, c := range all {
		if c.ClusterID != best.ClusterID {
			return errors.Join(unusable, fmt.Errorf("%s and %s are of different clusters, and can't be compared", best.file, c.file))
		}
		if c.Better(best.Survivor) || !best.Better(c.Survivor) && c.Commit > best.Commit {
			best = c
		}
	}
	fmt.Fprintf(out, "Take %s: of these it has most. The one that ends in the latest term has most; of those, the longest.\n", best.file)
	return unusable
}
