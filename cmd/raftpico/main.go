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
	"flag"
	"fmt"
	"io"
	"os"
)

// command is a subcommand. Run parses args and returns what went wrong; a usageError is followed by the usage.
type command struct {
	name, args, summary string
	run                 func(c *console, args []string) error
}

var commands = []command{
	{"req", "METHOD [-p|--params JSON] [-c|--count N] [-n|--notification]", "print requests with the ids 0 to N-1", req},
	{"call", "ADDR [-p|--pretty] < REQUESTS", "send requests one by one and print the answers", call},
	{"bench", "ADDR... [-c|--concurrency N] [--timeout 1m] < REQUESTS > RESULTS", "send requests, N at a time, and print what became of each", bench},
	{"stats", "< RESULTS", "sum up what bench printed", stats},
	{"gen", "put|get|localget [-c|--count N] [--seed S] [--value-size BYTES]", "print random requests for the key-value example", gen},
	{"status", "ADDR... [-w|--watch]", "print a table of the servers and the members they know", status},
	{"log", "FILE [-q|--quiet]", "print a log file, verify it, and tell what opening it would do", logFile},
}

// console is what a subcommand may touch of the world besides the network.
type console struct {
	in       io.Reader
	out, err io.Writer
}

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run carries out one command line and returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		for _, c := range commands {
			if c.name == args[0] {
				return c.status(c.run(&console{stdin, stdout, stderr}, args[1:]), stdout, stderr)
			}
		}
		if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
			usage(stdout)
			return 0
		}
		fmt.Fprintf(stderr, "raftpico: unknown subcommand %q\n", args[0])
	}
	usage(stderr)
	return 1
}

func (c command) status(err error, stdout, stderr io.Writer) int {
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(stdout, "usage: raftpico %s %s\n%s\n", c.name, c.args, c.summary)
		return 0
	}
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "raftpico %s: %v\n", c.name, err)
	if _, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintf(stderr, "usage: raftpico %s %s\n", c.name, c.args)
	}
	return 1
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: raftpico SUBCOMMAND ...")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-6s %s\n  %-6s   %s\n", c.name, c.args, "", c.summary)
	}
}
