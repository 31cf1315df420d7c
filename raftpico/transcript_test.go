package raftpico_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// TestTranscripts replays the conversations of testdata/wire over TCP. Their notation is told in testdata/wire/README.md.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("../testdata/wire/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		if filepath.Base(file) == errorTable {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel() // they wait most of the time
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			newStage(t).play(string(text))
		})
	}
}

// stage is the servers and connections of a transcript.
type stage struct {
	t       *testing.T
	faults  *faults
	servers map[string]*raftpico.Server // by letter
	clients map[string]*client          // by name: the server's letter, and a digit for any but the first
	names   map[string]string           // what $name stands for
	asked   map[*client]string          // the last packet of lines
	line    int                         // of the transcript, counted from 1
}

func newStage(t *testing.T) *stage {
	return &stage{
		t: t, faults: newFaults(), servers: map[string]*raftpico.Server{}, clients: map[string]*client{}, asked: map[*client]string{},
		names: map[string]string{"nobody": "127.0.0.1:1"}, // a port that no other test can be given
	}
}

// play carries out a transcript. At its end no connection may have anything more to read.
func (s *stage) play(text string) {
	s.t.Helper()
	lines := strings.Split(text, "\n")
	for len(lines) > 0 {
		head, _, _ := strings.Cut(strings.TrimSpace(lines[0]), " ")
		group := []string{lines[0]}
		for _, next := range lines[1:] {
			if next, _, _ = strings.Cut(next, " "); next != head || !strings.HasSuffix(head, ">") && !strings.HasSuffix(head, "<") {
				break
			}
			group = append(group, lines[len(group)])
		}
		s.line += len(group)
		lines = lines[len(group):]
		for i, line := range group {
			group[i] = strings.TrimPrefix(strings.TrimPrefix(line, head), " ")
		}
		s.step(head, group)
	}
	for _, c := range s.clients {
		c.silent()
		require.NoError(s.t, c.Close())
	}
}

// step carries out a group of lines that begin alike.
func (s *stage) step(head string, group []string) {
	s.t.Helper()
	args := strings.Fields(group[0])
	switch {
	case head == "" || strings.HasPrefix(head, "#"):
	case strings.HasSuffix(head, ">>"): // bytes as they are
		s.client(strings.TrimSuffix(head, ">>")).send(s.texts(group)...)
	case strings.HasSuffix(head, ">"): // lines, in one packet
		c := s.client(strings.TrimSuffix(head, ">"))
		s.asked[c] = strings.Join(s.texts(group), "\n") + "\n"
		c.send(s.asked[c])
	case strings.HasSuffix(head, "<"):
		s.read(s.client(strings.TrimSuffix(head, "<")), s.texts(group))
	case head == "end":
		require.NoError(s.t, s.client(args[0]).Conn.(*net.TCPConn).CloseWrite())
	case head == "let":
		name, text, _ := strings.Cut(group[0], " ")
		s.names[name] = s.text(text)
	case head == "servers":
		s.start(args)
	case head == "cluster":
		s.cluster(args)
	case head == "voters":
		n, err := strconv.Atoi(args[1])
		require.NoError(s.t, err)
		waitFor(s.t, func() bool { return voters(s.t, s.servers[args[0]]) == n })
	case head == "isolate":
		s.faults.isolate(s.servers[args[0]])
	case head == "heal":
		s.faults.heal()
	case head == "settle":
		require.Contains(s.t, settled(s.t, s.servers[args[0]], list), `"result":`)
	case head == "leaderless":
		waitFor(s.t, func() bool { return string(state(s.t, s.servers[args[0]], "[false]")["leader"]) == "" })
	case head == "underway":
		waitFor(s.t, func() bool { return string(state(s.t, s.servers[args[0]], "[false]")["requests_under_way"]) == args[1] })
	case head == "stop":
		go func() { _ = s.servers[args[0]].Close() }() // ends within Close's patience; the test closes it again, and waits
	default:
		require.FailNow(s.t, "unknown word", "line %d: %q", s.line, head)
	}
}

// start starts servers that belong to no cluster.
func (s *stage) start(args []string) {
	s.t.Helper()
	var limits raftpico.Limits
	var authorize func(raftpico.Peer, string) error
	m := func() machine.Machine { return machine.JSON(&kvs{}) }
	for _, arg := range args {
		name, value, option := strings.Cut(arg, "=")
		switch {
		case !option:
		case arg == "machine=odd":
			m = func() machine.Machine { return machine.JSON(&odd{}) }
		case name == "refuses":
			authorize = refusing(strings.Split(value, ","))
		case name == "deadline":
			d, err := time.ParseDuration(value)
			require.NoError(s.t, err)
			limits.Deadline = d
		default:
			n, err := strconv.Atoi(value)
			require.NoError(s.t, err)
			field, known := map[string]*int{"max-line": &limits.MaxLine, "max-pending": &limits.MaxPending, "max-uncommitted": &limits.MaxUncommitted}[name]
			require.True(s.t, known, "line %d: %q", s.line, arg)
			*field = n
		}
	}
	for _, letter := range letters(args) {
		s.servers[letter] = startServer(s.t, m(), func(o *raftpico.Options) {
			o.Limits, o.Authorize = limits, authorize
			s.faults.options(s.t, o)
		})
		s.names[letter] = s.servers[letter].Addr()
	}
}

// refusing permits some methods to nobody.
func refusing(methods []string) func(raftpico.Peer, string) error {
	return func(_ raftpico.Peer, method string) error {
		if slices.Contains(methods, method) {
			return errors.New("nobody may call " + method + " here")
		}
		return nil
	}
}

// cluster makes servers that were started a cluster that the first one leads.
func (s *stage) cluster(args []string) {
	s.t.Helper()
	timeouts := still
	var members []*raftpico.Server
	for _, arg := range args {
		switch arg {
		case "elections=calm":
			timeouts = calm
		default:
			members = append(members, s.servers[arg])
		}
	}
	s.faults.among(members...)
	joinAll(s.t, members, timeouts)
}

func letters(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return strings.Contains(arg, "=") })
}

// client is a connection, made when it is first needed.
func (s *stage) client(name string) *client {
	s.t.Helper()
	if s.clients[name] == nil {
		server := s.servers[name[:min(1, len(name))]]
		require.NotNil(s.t, server, "line %d: no server %q", s.line, name)
		s.clients[name] = dial(s.t, server)
	}
	return s.clients[name]
}

func (s *stage) texts(group []string) (texts []string) {
	for _, text := range group {
		texts = append(texts, s.text(text))
	}
	return texts
}

var name = regexp.MustCompile(`\$[a-z]+`)

// text is a text of the transcript with its names and pieces put in.
func (s *stage) text(text string) string {
	s.t.Helper()
	if pieces, ok := strings.CutPrefix(text, `\ `); ok {
		var err error
		text, err = join(pieces)
		require.NoError(s.t, err, "line %d", s.line)
	}
	return name.ReplaceAllStringFunc(text, func(name string) string {
		value, known := s.names[name[1:]]
		require.True(s.t, known, "line %d: what is %s?", s.line, name)
		return value
	})
}

// read reads as many answers as are told, in any order.
func (s *stage) read(c *client, told []string) {
	s.t.Helper()
	for want := answersOf(told); len(want) > 0; {
		line, err := c.readLine()
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			line = "(closed)"
		} else {
			require.NoError(s.t, err, "line %d: no answer, but %.200q; want %v", s.line, line, want)
		}
		if strings.Contains(line, `"machines_missing":"the disk does not answer"`) { // for a moment: all is told but the machines
			c.send(s.asked[c])
			continue
		}
		i := slices.IndexFunc(want, func(a answer) bool { return a.is(line) })
		require.GreaterOrEqual(s.t, i, 0, "line %d: got %.400s\nwant %v", s.line, line, want)
		want = slices.Delete(want, i, i+1)
		if line == "(closed)" {
			for name, closed := range s.clients {
				if closed == c {
					delete(s.clients, name)
				}
			}
		}
	}
}
