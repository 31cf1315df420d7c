package main

import (
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"strings"

	"github.com/raftpico/go/raftpico"
)

const usage = `usage: kvs                                            a cluster of three in this process
       kvs ADDR [FILE]                                one server
       kvs -listen ADDR [-advertise ADDR] [FILE]      one server that others reach at another address

  -listen ADDR      where it listens, such as 0.0.0.0:4000
  -advertise ADDR   where clients and servers reach it; without it, where it listens
  FILE              its log; a server without one forgets all when it stops, and can't come back
`

// options are those of one server, nil if the command line asks for the demo.
func options(args []string) (*raftpico.Options, error) {
	if len(args) == 0 {
		return nil, nil
	}
	f := flag.NewFlagSet("kvs", flag.ContinueOnError)
	f.SetOutput(io.Discard) // main tells
	listen, advertise := f.String("listen", "", ""), f.String("advertise", "", "")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	args = f.Args()
	if *listen == "" && len(args) > 0 {
		*listen, args = args[0], args[1:]
	}
	if *listen == "" || len(args) > 1 {
		return nil, errors.New("give one address to listen on, and at most one file")
	}
	opts := &raftpico.Options{Addr: *advertise, InMemory: len(args) == 0}
	if opts.InMemory {
		slog.Warn("no storage file: this server is volatile; what it knows is gone when it stops, and it can't come back")
	} else {
		opts.File = args[0]
	}
	if *advertise == "" {
		if opts.Addr = *listen; strings.HasPrefix(opts.Addr, ":") {
			opts.Addr = "127.0.0.1" + opts.Addr // a wildcard can't be advertised
		}
		return opts, nil
	}
	var err error
	opts.Listener, err = net.Listen("tcp", *listen)
	return opts, err
}
