package serve

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/raftpico/go/raftpico"
)

// Config is what a command line says of one server.
type Config struct {
	Listen     string        // where it listens, host:port; without a host that is 127.0.0.1, except where Advertise is given
	Advertise  string        // where clients and other servers reach it; empty: Listen
	File       string        // its log; empty: it is volatile
	Join       []string      // see raftpico.Options; empty: it waits to be made a cluster, or to be added
	Bootstrap  int           // the same; 0: it creates no cluster
	LeaseReads bool          // see raftpico.Configuration: of the cluster that Bootstrap creates
	RemoveDead time.Duration // see raftpico.Options; 0: it removes nobody
	Manage     bool          // the console may change the cluster
	HTTP       string        // where it listens for HTTP, host:port, without a host 127.0.0.1; empty: not at all
	TLS        TLS
}

// parse returns what a command line asks for: nil for the demo. Usage is what there is to ask for.
func (s *Service) parse(args []string) (c *Config, usage string, err error) {
	c = new(Config)
	f := flag.NewFlagSet(s.Name, flag.ContinueOnError)
	f.SetOutput(io.Discard) // the caller tells
	f.StringVar(&c.Listen, "listen", "", "listens at `ADDR`, such as 0.0.0.0:4000")
	f.StringVar(&c.Advertise, "advertise", "", "clients and servers reach it at `ADDR`; without it, where it listens")
	f.Func("join", "if it belongs to no cluster, asks the servers `A,B,C` to add it", func(list string) error {
		c.Join = nil
		for addr := range strings.SplitSeq(list, ",") {
			c.Join = append(c.Join, local(strings.TrimSpace(addr)))
		}
		return nil
	})
	f.IntVar(&c.Bootstrap, "bootstrap", 0, "the `N` servers of -join, the same for all, create a cluster if none belongs to one")
	f.BoolVar(&c.LeaseReads, "lease-reads", false, "with -bootstrap, that cluster's leaders answer queries under a lease")
	f.DurationVar(&c.RemoveDead, "remove-dead", 0, "as the leader, removes members that were silent for `TIME`, such as 72h, where the others can spare them")
	c.TLS.register(f)
	if s.Console != nil {
		f.BoolVar(&c.Manage, "manage", false, "with -http, the console at "+ConsolePath+" may change the cluster")
	}
	if s.speaksHTTP() {
		f.StringVar(&c.HTTP, "http", "", "serves HTTP at `ADDR`")
	}
	common := map[string]bool{}
	f.VisitAll(func(f *flag.Flag) { common[f.Name] = true })
	if s.Flags != nil {
		s.Flags(f)
	}
	usage = s.usage(f)
	if err := f.Parse(args); err != nil {
		return nil, usage, err
	}
	args = f.Args()
	if s.Setup != nil {
		if err := s.Setup(c); err != nil {
			return nil, usage, err
		}
	}
	asked := c.Listen != "" || len(args) > 0
	f.Visit(func(f *flag.Flag) { asked = asked || common[f.Name] })
	if !asked && len(s.Addrs) > 0 {
		return nil, usage, nil
	}
	if c.Listen == "" && len(args) > 0 {
		c.Listen, args = args[0], args[1:]
	}
	switch {
	case c.Listen == "" || len(args) > 1 || len(args) == 1 && c.File != "":
		return nil, usage, errors.New("give one address to listen on, and at most one file")
	case c.Bootstrap != 0 && len(c.Join) == 0:
		return nil, usage, errors.New("-bootstrap needs -join")
	case c.LeaseReads && c.Bootstrap == 0:
		return nil, usage, errors.New("-lease-reads needs -bootstrap; Configure turns leases on in a cluster that there is")
	case c.TLS.check(c.Manage) != nil:
		return nil, usage, c.TLS.check(c.Manage)
	case c.RemoveDead < 0:
		return nil, usage, errors.New("-remove-dead is less than nothing")
	case len(args) == 1:
		c.File = args[0]
	}
	return c, usage, nil
}

// usage is the text of -help.
func (s *Service) usage(f *flag.FlagSet) string {
	var b strings.Builder
	lines := [][2]string{
		{"ADDR [FILE]", "one server"},
		{"-listen ADDR [-advertise ADDR] [FILE]", "one server that others reach at another address"},
	}
	if len(s.Addrs) > 0 {
		lines = append([][2]string{{"", fmt.Sprintf("a cluster of %d in this process", len(s.Addrs))}}, lines...)
	}
	for i, line := range lines {
		fmt.Fprintf(&b, "%-6s %s\n", [...]string{"usage:", ""}[min(i, 1)], fmt.Sprintf("%-46s %s", s.Name+" "+line[0], line[1]))
	}
	b.WriteByte('\n')
	f.VisitAll(func(f *flag.Flag) {
		name, usage := flag.UnquoteUsage(f)
		fmt.Fprintf(&b, "  %-17s %s\n", strings.TrimSpace("-"+f.Name+" "+name), usage)
	})
	fmt.Fprintf(&b, "  %-17s %s\n", "FILE", "its log; a server without one forgets all when it stops, and can't come back")
	return b.String()
}

// options are those of the server, before the service changes them.
func (c *Config) options() raftpico.Options {
	o := raftpico.Options{Addr: c.Advertise, ListenAddr: c.Listen, File: c.File, InMemory: c.File == "", Join: c.Join, Bootstrap: c.Bootstrap, LeaseReads: c.LeaseReads, RemoveDead: c.RemoveDead}
	if c.Advertise == "" {
		o.Addr, o.ListenAddr = local(c.Listen), "" // a wildcard can't be advertised
	}
	return o
}

// local is an address with a host: this one, where there was none.
func local(addr string) string {
	if strings.HasPrefix(addr, ":") {
		return "127.0.0.1" + addr
	}
	return addr
}
