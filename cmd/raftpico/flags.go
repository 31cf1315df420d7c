package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// usageError is a command line that can't be carried out.
type usageError string

func (e usageError) Error() string { return string(e) }

// flags is a flag set whose flags may stand before, between and after the arguments.
type flags struct{ *flag.FlagSet }

func newFlags() flags {
	f := flags{flag.NewFlagSet("", flag.ContinueOnError)}
	f.SetOutput(io.Discard)
	return f
}

// parse returns the arguments, of which there must be at least min and at most max.
func (f flags) parse(args []string, min, max int) ([]string, error) {
	var rest []string
	for {
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usageError(err.Error())
		}
		if f.NArg() == 0 {
			break
		}
		rest = append(rest, f.Arg(0))
		args = f.Args()[1:]
	}
	switch {
	case len(rest) < min:
		return nil, usageError("an argument is missing")
	case len(rest) > max:
		return nil, usageError(fmt.Sprintf("unexpected argument %q", rest[max]))
	}
	return rest, nil
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

// progress shows how far a long run is, on a terminal and at most once a second. Its zero value shows nothing.
type progress struct {
	w    io.Writer
	last time.Time
}

func newProgress(stderr io.Writer) *progress {
	if f, ok := stderr.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return &progress{stderr, time.Now()}
		}
	}
	return &progress{}
}

func (p *progress) show(format string, args ...any) {
	if p.w != nil && time.Since(p.last) >= time.Second {
		p.last = time.Now()
		fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
	}
}

func (p *progress) end() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
