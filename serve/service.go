package serve

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// Service is a program that runs servers of one machine. Name and New must be set. It is not changed by its methods.
type Service struct {
	// Name is the program's, in its usage. The files of the demo are in the folder NAME-data.
	Name string

	// New makes an empty machine, for each server.
	New func() machine.Machine

	// Options, if not nil, may change the options of each server before it starts, such as limits. Addr, File or InMemory,
	// and Listener are set as the command line says.
	Options func(*raftpico.Options)

	// Addrs are where the servers of the demo listen, host:port each. Without any there is no demo: the program needs arguments.
	Addrs []string

	// Next, if not nil, returns what the demo suggests to type: commands, one a line.
	Next func(Demo) string

	// HTTP, if not nil, makes the handler of a server for -http and HTTPAddrs, for all paths but those of Console. Requests under way are answered before the program ends, as far
	// as that takes 5 s; the server ends meanwhile, so that what waits in it is answered. [Health] is one, or a part of one.
	// A body has 30 s to come, and a second more for each 16 KiB; a client has 30 s to take each 64 KiB of an answer. All HTTP
	// connections of the process have three quarters of its file descriptors; beyond them the one that has waited for its client longest
	// gives way to a newcomer, or the newcomer waits.
	HTTP func(*raftpico.Server) http.Handler

	// Console, if not nil, makes a handler of a server that is served at [ConsolePath] of its HTTP, whatever HTTP is: package
	// raftpico/web has one. With -manage, and in the demo, ConsoleConfig.Manage is set. Without HTTP, / leads there.
	Console func(*raftpico.Server, ConsoleConfig) http.Handler

	// HTTPListener, if not nil, returns what is listened on for HTTP instead of l, which it owns then: such as one that answers a
	// part of the requests by itself. It is closed when the program ends.
	HTTPListener func(s *raftpico.Server, l net.Listener) net.Listener

	// HTTPAddrs are where the servers of the demo listen for HTTP: as many as Addrs, or none.
	HTTPAddrs []string

	// Flags, if not nil, adds the program's own flags. Those of this package are there already.
	Flags func(*flag.FlagSet)

	// Setup, if not nil, may change the Config, or refuse it, when the flags have been read. Arguments that are no flags are not in
	// it yet: ADDR is taken from them if Listen is empty then, and FILE is the rest.
	Setup func(*Config) error
}

// Main is the program. It ends at SIGINT and SIGTERM, and when its terminal is closed: at a second signal at once. A SIGHUP of somebody
// else's does nothing. An error, such as one of the command line,
// it writes to the standard error, and ends with status 1.
func (s *Service) Main() {
	ctx, stop := signal.NotifyContext(context.Background(), ends(os.Stdin)...)
	context.AfterFunc(ctx, stop)   // a second signal ends it at once
	signal.Ignore(syscall.SIGPIPE) // that whoever read our log has gone is no reason to end
	if err := s.Run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, s.Name+":", err)
		os.Exit(1)
	}
}

// Run is Main with the program's arguments and its standard output. It serves until ctx ends, or a server fails; then all has ended
// that it has begun.
func (s *Service) Run(ctx context.Context, args []string, out io.Writer) error {
	c, usage, err := s.parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, err := io.WriteString(out, usage)
		return err
	case err != nil:
		return fmt.Errorf("%w\n%s", err, usage)
	}
	g := newGroup(ctx, s)
	if c == nil {
		err = g.demo(out)
	} else {
		err = g.one(c)
	}
	if err == nil {
		<-g.ctx.Done()
	}
	return errors.Join(err, g.close())
}
