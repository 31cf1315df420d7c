// Command raftpico makes, sends and measures JSON-RPC requests, and looks into the servers and log files of raftpico.
// Its subcommands are filters over JSON Lines, made to be joined:
//
//	raftpico req CreateCluster | raftpico call :4000
//	raftpico gen put --count 100000 | raftpico bench :4000 :4001 :4002 -c 1000 | raftpico stats
//
// What a subcommand makes goes to standard output, everything else to standard error; the exit status is 1 if
// anything failed.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run carries out one command line and returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(append([]string{}, args...)) // NB: nil would mean os.Args
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if len(args) == 0 {
		root.SetArgs([]string{"--help"})
		root.SetOut(stderr)
	}
	cmd, err := root.ExecuteC()
	if len(args) == 0 {
		return 1
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errToldAlready):
		return 1
	}
	fmt.Fprintf(stderr, "%s: %v\n", cmd.CommandPath(), err)
	if _, ok := errors.AsType[usageError](err); ok || cmd == root {
		fmt.Fprintf(stderr, "usage: %s\n%s --help tells more\n", cmd.UseLine(), cmd.CommandPath())
	}
	return 1
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "raftpico SUBCOMMAND",
		Short: "make, send and measure JSON-RPC requests, and look into servers and log files",
		Example: `  raftpico req CreateCluster | raftpico call :4000
  raftpico req Apply -p '{"kind":"Query","input":{"Get":"foo"}}' | raftpico call :4000 :4001 :4002
  raftpico status :4000
  raftpico gen put -c 100000 | raftpico bench :4000 :4001 :4002 -c 1000 | raftpico stats`,
		Version:       version(),
		SilenceErrors: true, // run tells them
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(err.Error()) })
	root.AddCommand(newReq(), newCall(), newBench(), newStats(), newGen(), newStatus(), newTransfer(), newLog(), newBackup(), newRestore(), newRecover(), newVersion())
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() {
		cmd.DisableFlagsInUseLine = true
		if cmd.Name() == "help" {
			cmd.Args = func(_ *cobra.Command, args []string) error {
				if _, _, err := root.Find(args); err != nil {
					return usageError(err.Error()) // cobra would exit with 0
				}
				return nil
			}
		}
	}
	return root
}
