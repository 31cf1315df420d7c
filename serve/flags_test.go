package serve

import (
	"bytes"
	"errors"
	"flag"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// counter is the machine of these tests: a sum.
type counter struct{ Value int }

func (c *counter) Apply(ctx *machine.Context, add int) (any, error) {
	if ctx.Kind == machine.Command {
		c.Value += add
	}
	return c.Value, nil
}

func newCounter() machine.Machine { return machine.JSON(&counter{}) }

// full is a service that has everything.
func full() *Service {
	return &Service{
		Name: "sums", New: newCounter, Addrs: []string{"127.0.0.1:4000", "127.0.0.1:4001"},
		HTTP: func(s *raftpico.Server) http.Handler { return Health(s) },
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct{ line, addr, file string }{
		{"127.0.0.1:5000 a.jsonl", "127.0.0.1:5000", "a.jsonl"},
		{":5000 a.jsonl", "127.0.0.1:5000", "a.jsonl"},
		{":5000", "127.0.0.1:5000", ""},
		{"-listen :5000 a.jsonl", "127.0.0.1:5000", "a.jsonl"},
		{"-listen 127.0.0.1:0 -advertise db1:4000 a.jsonl", "db1:4000", "a.jsonl"},
		{"--advertise=db1:4000 127.0.0.1:0", "db1:4000", ""},
		{"-join :5000,:5001 -bootstrap 2 :5000 a.jsonl", "127.0.0.1:5000", "a.jsonl"},
	} {
		config, _, err := full().parse(strings.Fields(c.line))
		require.NoError(t, err, c.line)
		opts := config.options()
		require.Equal(t, c.addr, opts.Addr, c.line)
		require.Equal(t, c.file, opts.File, c.line)
		require.Equal(t, c.file == "", opts.InMemory, c.line)
		require.Equal(t, strings.Contains(c.line, "advertise"), opts.ListenAddr != "", c.line)
	}
	config, _, err := full().parse([]string{"-http", ":80", "-join=a:1,:2", "-bootstrap=2", "-remove-dead", "72h", "a:1"})
	require.NoError(t, err)
	require.Equal(t, &Config{Listen: "a:1", Join: []string{"a:1", "127.0.0.1:2"}, Bootstrap: 2, RemoveDead: 72 * time.Hour, HTTP: ":80"}, config)
	require.Equal(t, 72*time.Hour, config.options().RemoveDead)
	config, _, err = full().parse(nil)
	require.NoError(t, err)
	require.Nil(t, config, "the demo")
}

// A command line that asks for what can't be is refused before anything is begun, with the usage.
func TestBadCommandLineIsToldWithTheUsage(t *testing.T) {
	for line, want := range map[string]string{
		"-advertise a:1":                         "give one address",
		"-http :80":                              "give one address",
		"-join a:1,b:1":                          "give one address",
		"a:1 b c":                                "at most one file",
		"-listen a:1 b c":                        "at most one file",
		"-nope":                                  "not defined: -nope",
		"-bootstrap 1 a:1":                       "-bootstrap needs -join",
		"-bootstrap x -join a:1 a:1":             "invalid value \"x\" for flag -bootstrap",
		"-bootstrap 3 -join :5000,:5001 :5000 f": "3 servers are to create the cluster, and 2 addresses",
		"-listen nonsense -advertise a:1":        "nonsense",
		"nonsense f":                             "nonsense",
		"-join :0 :5000 f":                       "no port from 1 to 65535",
		"-join :5001,, :5000 f":                  "no host:port",
		"-join :5001,127.0.0.1:05001 :5000 f":    "given twice",
		"-join :5000 :5000 f":                    "no address of another server",
		"-bootstrap 2 -join :5001,:5002 :5000 f": "own address 127.0.0.1:5000",
		"-bootstrap 1 -join :5001 127.0.0.1:0 f": "own address 127.0.0.1:",
		"-http 127.0.0.1:99999 127.0.0.1:5000 f": "99999",
		"-cert c :5000 f":                        "-cert, -key and -ca go together",
		"-key k -ca a :5000 f":                   "-cert, -key and -ca go together",
		"-remove-dead -1s :5000 f":               "-remove-dead is less than nothing",
		"-remove-dead soon :5000 f":              "invalid value \"soon\" for flag -remove-dead",
		"-admin= :5000 f":                        "invalid value \"\" for flag -admin: it is empty",
		"-cert= -key= -ca= :5000 f":              "invalid value \"\" for flag -cert: it is empty",
		"-cert c -key= -ca a :5000 f":            "invalid value \"\" for flag -key: it is empty",
		"-cert c -key k -ca= :5000 f":            "invalid value \"\" for flag -ca: it is empty",
		"-admin ops :5000 f":                     "-admin needs -cert, -key and -ca",
		"-cert c -key k -ca a :5000 f":           "open c: no such file",
		"-cert c -key k -ca a":                   "give one address",
	} {
		t.Chdir(t.TempDir())
		err := full().Run(t.Context(), strings.Fields(line), new(bytes.Buffer))
		require.ErrorContains(t, err, want, line)
	}
	noDemo := full()
	noDemo.Addrs, noDemo.HTTP = nil, nil
	err := noDemo.Run(t.Context(), nil, nil)
	require.ErrorContains(t, err, "give one address to listen on, and at most one file\nusage: sums ADDR [FILE]")
	require.ErrorContains(t, noDemo.Run(t.Context(), []string{"-http", ":80", ":5000"}, nil), "not defined: -http")
}

func TestUsageTellsAllThatThereIs(t *testing.T) {
	s := full()
	s.Flags = func(f *flag.FlagSet) { f.Int("most", 7, "`N` things at most") }
	var out bytes.Buffer
	require.NoError(t, s.Run(t.Context(), []string{"-h"}, &out))
	require.Equal(t, `usage: sums                                           a cluster of 2 in this process
       sums ADDR [FILE]                               one server
       sums -listen ADDR [-advertise ADDR] [FILE]     one server that others reach at another address

  -admin OU         with -cert: only clients of the organizational unit OU may change the cluster
  -advertise ADDR   clients and servers reach it at ADDR; without it, where it listens
  -bootstrap N      the N servers of -join, the same for all, create a cluster if none belongs to one
  -ca FILE          with -cert: the authorities of servers and clients are in FILE
  -cert FILE        speaks TLS: its certificate is in FILE, read again when it changes
  -http ADDR        serves HTTP at ADDR
  -join A,B,C       if it belongs to no cluster, asks the servers A,B,C to add it
  -key FILE         with -cert: the private key is in FILE
  -lease-reads      with -bootstrap, that cluster's leaders answer queries under a lease
  -listen ADDR      listens at ADDR, such as 0.0.0.0:4000
  -most N           N things at most
  -remove-dead TIME as the leader, removes members that were silent for TIME, such as 72h, where the others can spare them
  FILE              its log; a server without one forgets all when it stops, and can't come back
`, out.String())
}

// The program's own flags may say where a server listens, and then FILE is the only argument.
func TestProgramMayFillTheConfigItself(t *testing.T) {
	s := full()
	var node string
	s.Flags = func(f *flag.FlagSet) { f.StringVar(&node, "node", "", "") }
	s.Setup = func(c *Config) error {
		switch node {
		case "":
			return nil
		case "one":
			c.Listen, c.Join, c.Bootstrap = "127.0.0.1:5000", []string{"127.0.0.1:5000", "127.0.0.1:5001"}, 2
			return nil
		}
		return errors.New("no such node")
	}
	config, _, err := s.parse([]string{"-node", "one", "a.jsonl"})
	require.NoError(t, err)
	require.Equal(t, &Config{Listen: "127.0.0.1:5000", File: "a.jsonl", Join: []string{"127.0.0.1:5000", "127.0.0.1:5001"}, Bootstrap: 2}, config)
	_, _, err = s.parse([]string{"-node", "two", "a.jsonl"})
	require.ErrorContains(t, err, "no such node")
	config, _, err = s.parse(nil)
	require.NoError(t, err)
	require.Nil(t, config)
}

// HTTP asks for no certificate, so -admin would refuse all that the console could do.
func TestNobodyManagesOverHTTPBesideAdmins(t *testing.T) {
	s := full()
	s.Console = func(*raftpico.Server, ConsoleConfig) http.Handler { return http.NotFoundHandler() }
	line := strings.Fields("-cert c -key k -ca a -http :80 -manage :5000 f")
	_, _, err := s.parse(line)
	require.NoError(t, err)
	_, _, err = s.parse(append([]string{"-admin", "ops"}, line...))
	require.ErrorContains(t, err, "-manage and -admin exclude each other")
}
