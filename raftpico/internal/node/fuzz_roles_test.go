package node_test

import (
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
)

// roles are what a server may be when something comes. Each makes a world in which one of them is that. The servers'
// ids are a 1, b 3, c 5, d 9, and the term is 2, but for the candidate's.
var roles = []struct {
	name string
	play func(w *world) *server
}{
	{"leader", func(w *world) *server { return w.play("cluster a b c").server("a") }},
	{"follower", func(w *world) *server { return w.play("cluster a b c").server("b") }},
	{"candidate", func(w *world) *server {
		w.play("cluster a b c", "request b Command", "deliver", "crash a")
		return w.await(func(s *server) bool { return s.node.State().Role == "Candidate" })
	}},
	{"precandidate", func(w *world) *server {
		return w.play("cluster a b c", "freeze a", "freeze c", "pass 900ms").server("b")
	}},
	{"learner", func(w *world) *server {
		return w.play("cluster a b c", "servers d", "request a AddServer d", "deliver", "pass 30ms", "freeze b", "freeze c", "pass 30ms").server("d")
	}},
	{"joining", func(w *world) *server {
		return w.play("cluster a b c", "servers d", "join d id=9 instance=instanced").server("d")
	}},
	{"leaving", func(w *world) *server {
		w.play("cluster a b c", "request a RemoveServer c")
		return w.await(func(s *server) bool { return s.node.State().Removed })
	}},
	{"removed", func(w *world) *server {
		return w.play("cluster a b c", "request a RemoveServer c", "pass 300ms").server("c")
	}},
	{"blank", func(w *world) *server { return w.play("cluster a b c", "servers d").server("d") }},
	{"alone", func(w *world) *server { return w.play("cluster a").server("a") }},
	{"restarted", func(w *world) *server {
		return w.play("cluster a b c", "request a Command", "deliver", "crash b", "restart b").server("b")
	}},
}

// play carries out commands of the transcripts. A request's input comes last, or is "x".
func (w *world) play(lines ...string) *world {
	for _, line := range lines {
		words := strings.Fields(line)
		d := &datadriven.TestData{Cmd: words[0], Input: "x"}
		if d.Cmd == "request" && len(words) > 3 {
			d.Input, words = words[3], words[:3]
		}
		for _, word := range words[1:] {
			key, value, has := strings.Cut(word, "=")
			arg := datadriven.CmdArg{Key: key}
			if has {
				arg.Vals = []string{value}
			}
			d.CmdArgs = append(d.CmdArgs, arg)
		}
		commands[d.Cmd](w, d)
	}
	return w
}

// await lets time pass, and messages travel one hop a tick, until a server fits. Who is refused is not told why.
func (w *world) await(fits func(*server) bool) *server {
	for range 1000 {
		for _, s := range w.servers {
			if s.node != nil && fits(s) {
				return s
			}
		}
		w.now += 30 * time.Millisecond
		for _, s := range w.servers {
			s.flush()
		}
		flight := w.flight
		w.flight = nil
		for _, m := range flight {
			if to := w.byID(m.To); to != nil {
				_ = to.node.Message(m.From, m)
			}
		}
	}
	w.t.Fatal("it never came to that")
	return nil
}

// inRole makes a world with a server in a role, for which callers wait.
func inRole(t *testing.T, role int) *server {
	cryptotest.SetGlobalRandom(t, 1)
	w := newWorld(t)
	s := roles[role].play(w)
	for range 2 { // what a turn has begun ends in the next one
		s.flush()
	}
	w.out.Reset()
	w.serial = 0
	request(w, s, "Command", "waiting")
	request(w, s, "Query", "waiting too")
	return s
}

func TestRolesAreWhatTheyAreCalled(t *testing.T) {
	want := map[string]string{"leader": "Leader", "candidate": "Candidate", "precandidate": "PreCandidate", "learner": "Learner", "alone": "Leader"}
	for i, role := range roles {
		st := inRole(t, i).node.State()
		if w, ok := want[role.name]; ok {
			require.Equal(t, w, st.Role, role.name)
		} else {
			require.Contains(t, []string{"Follower", "Learner"}, st.Role, role.name)
		}
		require.Equal(t, role.name == "removed" || role.name == "leaving", st.Removed, role.name)
		require.Equal(t, role.name == "blank", st.NodeID == nil, role.name)
	}
}
