package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// usageError is a command line that can't be carried out.
type usageError string

func (e usageError) Error() string { return string(e) }

// errToldAlready ends a subcommand with exit status 1 and no more words.
var errToldAlready = errors.New("failed")

// exactly wants as many arguments as there are names.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usageError(names[len(args)] + " is missing")
		case len(args) > len(names):
			return usageError(fmt.Sprintf("unexpected argument %q", args[len(names)]))
		}
		return nil
	}
}

// addresses wants one or more addresses, and completes them in place.
func addresses(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageError("ADDR is missing")
	}
	for i := range args {
		var err error
		if args[i], err = address(args[i]); err != nil {
			return err
		}
	}
	return nil
}

// address completes an address without a host: ":4000" is on this machine.
func address(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil || port == "" || strings.ContainsAny(s, " \t\r\n\"\\") {
		return "", usageError(fmt.Sprintf("%q is no address, which has the form HOST:PORT or :PORT", s))
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// input is standard input. Who types into it, mostly by mistake, is told what is waited for.
func input(cmd *cobra.Command, what string) io.Reader {
	in := cmd.InOrStdin()
	if isTerminal(in) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: reading %s from the terminal; Ctrl-D ends them\n", cmd.CommandPath(), what)
	}
	return in
}

// isTerminal tells whether a person is at the other end of a stream.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
