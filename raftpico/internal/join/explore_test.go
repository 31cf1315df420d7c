package join

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// These tests try every order of what may happen to three servers that are to create a cluster, up to a number of faults: messages are
// delivered in any order or lost, rounds time out, servers are started anew or lose their files, time passes or the creator stands
// still, an operator creates a cluster by hand. There is never a second cluster.

var list = []string{"a:1", "b:1", "c:1"}

// scene is a state of the world.
type scene struct {
	now   time.Duration
	procs []proc
	sent  []letter
	left  budget
	made  bool // the bootstrap has created a cluster
	from  *scene
	what  string // has happened since from
	about []any
}

// budget is how much may still happen.
type budget struct{ rounds, drops, restarts, wipes, waits, ages, hands int }

// proc is a process, with its file.
type proc struct {
	addr     string
	file     int // counts files: the instance
	boot     int
	cluster  string // in the file
	promises Promises
	asker    Asker
	asking   bool
	asked    time.Duration
	round    int
	heard    []Heard
	until    time.Duration // it may create until then; 0: it may not
	places   []string      // instances that it may still give a place
}

// letter is a message under way.
type letter struct {
	kind     string // question, answer, place
	from, to int    // of procs
	boot     int    // of the receiver, but for questions: those reach whoever is there
	round    int
	q        Question
	answer   Answer
	cluster  string
	instance string
}

func (p *proc) instance() string { return fmt.Sprintf("%s%d", p.addr[:1], p.file) }
func (p *proc) would() string    { return fmt.Sprintf("cluster-%s-%d", p.instance(), p.boot) }

func (p *proc) start() {
	p.boot++
	p.promises = Promises{Servers: list}
	p.asker = *NewAsker(p.addr, p.instance(), list, true, p.would())
	p.asking, p.heard, p.until, p.places = false, nil, 0, nil
}

// then is a copy in which something more has happened.
func (s *scene) then(what string, args ...any) *scene {
	next := *s
	next.procs, next.sent = slices.Clone(s.procs), slices.Clone(s.sent)
	next.from, next.what, next.about = s, what, args
	return &next
}

// story is how it came to this.
func (s *scene) story() string {
	if s.from == nil {
		return ""
	}
	return s.from.story() + "\n" + fmt.Sprintf(s.what, s.about...)
}

// key is the same for states from which the same may follow.
func (s *scene) key() string {
	var b []byte
	word := func(texts ...string) {
		for _, text := range texts {
			b = append(append(b, text...), ' ')
		}
	}
	number := func(all ...int) {
		for _, n := range all {
			b = append(strconv.AppendInt(b, int64(n), 36), ' ')
		}
	}
	l := s.left
	number(int(s.now), l.rounds, l.drops, l.restarts, l.wipes, l.waits, l.ages, l.hands)
	for i := range s.procs {
		p := &s.procs[i]
		word("|", p.cluster, p.promises.to)
		number(p.file, p.boot, int(p.promises.until), int(p.asked), p.round, int(p.until))
		word(p.asker.blank...)
		word("/")
		word(p.places...)
		for _, h := range p.heard {
			word(h.Addr, h.Instance, strconv.FormatBool(h.Member), strconv.FormatBool(h.Promised), h.Refusal)
		}
		b = strconv.AppendBool(b, p.asking)
		b = strconv.AppendBool(b, s.made)
	}
	sent := make([]string, 0, len(s.sent))
	head := len(b)
	for _, l := range s.sent {
		b = b[:head]
		word("|", l.kind, l.cluster, l.instance, l.q.Instance, l.answer.Instance, l.answer.Refusal)
		number(l.from, l.to, l.boot, l.round)
		b = strconv.AppendBool(b, l.q.Promise)
		b = strconv.AppendBool(b, l.answer.Promised)
		b = strconv.AppendBool(b, l.answer.Member)
		sent = append(sent, string(b[head:]))
	}
	slices.Sort(sent)
	return string(b[:head]) + strings.Join(sent, "")
}

// clusters are those that some file has.
func (s *scene) clusters() (all []string) {
	for i := range s.procs {
		if c := s.procs[i].cluster; c != "" && !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}

// next are all states that may follow.
func (s *scene) next() (all []*scene) {
	add := func(n *scene) { all = append(all, n) }
	for i := range s.procs {
		p := &s.procs[i]
		if p.addr == list[0] && p.cluster == "" && !p.asking && p.until == 0 && (s.left.rounds > 0 || p.asker.blank != nil) {
			add(s.ask(i))
		}
		if p.asking {
			add(s.ends(i, "its round times out"))
		}
		if p.until > 0 {
			add(s.create(i))
		}
		for k, to := range p.places {
			if p.cluster == "" {
				break
			}
			n := s.then("%s gives %s a place", p.instance(), to)
			n.procs[i].places = slices.Delete(slices.Clone(p.places), k, k+1)
			for j := range n.procs {
				if n.procs[j].instance() == to {
					n.sent = append(n.sent, letter{kind: "place", to: j, boot: n.procs[j].boot, cluster: p.cluster, instance: to})
				}
			}
			add(n)
		}
		if s.left.restarts > 0 {
			n := s.then("%s starts anew", p.instance())
			n.left.restarts--
			n.procs[i].start()
			add(n)
		}
		if s.left.wipes > 0 {
			n := s.then("%s loses its file", p.instance())
			n.left.wipes--
			n.procs[i].file++
			n.procs[i].cluster = ""
			n.procs[i].start()
			add(n)
		}
		if s.left.hands > 0 && p.addr != list[0] && p.cluster == "" && !s.made && p.promises.Binds(s.now, p.would()) == "" {
			n := s.then("an operator creates a cluster at %s", p.instance())
			n.left.hands--
			n.procs[i].cluster = "by-hand"
			add(n)
		}
	}
	for k := range s.sent {
		add(s.deliver(k))
		if s.left.drops > 0 {
			n := s.then("lost: %s", s.sent[k].kind)
			n.left.drops--
			n.sent = slices.Delete(n.sent, k, k+1)
			add(n)
		}
	}
	if s.left.waits > 0 {
		n := s.then("a while passes")
		n.left.waits--
		n.now += Fresh + 1
		add(n)
	}
	if s.left.ages > 0 {
		n := s.then("a long time passes, and what is under way is lost")
		n.left.ages--
		n.now, n.sent = n.now+Hold+1, nil
		add(n)
	}
	return all
}

// ask begins a round.
func (s *scene) ask(i int) *scene {
	n := s.then("%s asks", s.procs[i].instance())
	p := &n.procs[i]
	if p.asker.blank == nil {
		n.left.rounds--
	}
	p.asking, p.asked, p.heard = true, n.now, nil
	p.round++
	for j := range n.procs {
		if n.procs[j].addr != p.addr {
			n.sent = append(n.sent, letter{kind: "question", from: i, to: j, boot: p.boot, round: p.round, q: *p.asker.Question()})
		}
	}
	return n
}

// deliver delivers a letter.
func (s *scene) deliver(k int) *scene {
	l := s.sent[k]
	n := s.then("%s arrives at %s: %v %v", l.kind, s.procs[l.to].instance(), l.q.Promise, l.answer)
	n.sent = slices.Delete(n.sent, k, k+1)
	p := &n.procs[l.to]
	switch l.kind {
	case "question":
		a := Answer{Addr: p.addr, Instance: p.instance(), Member: p.cluster != ""}
		if !a.Member {
			a.Promised, a.Refusal = p.promises.Ask(n.now, &l.q)
		}
		n.sent = append(n.sent, letter{kind: "answer", from: l.to, to: l.from, boot: l.boot, round: l.round, answer: a})
	case "answer":
		if p.boot != l.boot || p.round != l.round || !p.asking {
			return n
		}
		p.heard = append(slices.Clone(p.heard), Heard{Addr: n.procs[l.from].addr, Answer: l.answer})
		if len(p.heard) == len(p.asker.Others) {
			return n.ends(l.to, "all have answered")
		}
	case "place":
		if p.boot == l.boot && p.instance() == l.instance && p.cluster == "" && p.promises.Binds(n.now, l.cluster) == "" {
			p.cluster = l.cluster
		}
	}
	return n
}

// ends ends a round.
func (s *scene) ends(i int, why string) *scene {
	n := s.then("%s: %s", s.procs[i].instance(), why)
	p := &n.procs[i]
	all := slices.Clone(p.heard)
	for _, addr := range p.asker.Others {
		if !slices.ContainsFunc(all, func(h Heard) bool { return h.Addr == addr }) {
			all = append(all, Heard{Addr: addr, Err: errors.New("no answer")})
		}
	}
	p.asking, p.heard = false, nil
	step := p.asker.Heard(p.asked, all)
	if step.Do == Create {
		p.until, p.places = step.Until, nil
		for _, h := range all {
			p.places = append(p.places, h.Instance)
		}
	}
	return n
}

// create lets a creator do it, as the core does: not too late, and not twice.
func (s *scene) create(i int) *scene {
	n := s.then("%s creates", s.procs[i].instance())
	p := &n.procs[i]
	if p.cluster == "" && n.now <= p.until && p.promises.Binds(n.now, p.would()) == "" {
		p.cluster, n.made = p.would(), true
	} else {
		p.places = nil
	}
	p.until = 0
	return n
}

// explore tries everything, and returns how many states there are, and in how many a cluster was created.
func explore(t *testing.T, first *scene) (states, made int) {
	seen := map[string]bool{first.key(): true}
	for todo := []*scene{first}; len(todo) > 0; {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		states++
		if s.made {
			made++
		}
		if all := s.clusters(); len(all) > 1 {
			require.FailNow(t, "two clusters", "%v%s", all, s.story())
		}
		for _, n := range s.next() {
			if key := n.key(); !seen[key] {
				seen[key] = true
				todo = append(todo, n)
			}
		}
	}
	return states, made
}

func newScene(left budget, addrs ...string) *scene {
	s := &scene{left: left, now: 1}
	for i, addr := range addrs {
		p := proc{addr: addr, file: i}
		p.start()
		s.procs = append(s.procs, p)
	}
	return s
}

func TestNoOrderOfEventsMakesTwoClusters(t *testing.T) {
	for name, left := range map[string]budget{ // NB: an operator who asks a server that was just started anew finds no promise
		"lost messages and pauses":   {rounds: 2, drops: 1, waits: 1, hands: 1},
		"starts":                     {rounds: 2, restarts: 2},
		"lost files":                 {rounds: 2, wipes: 2},
		"starts and lost files":      {rounds: 2, restarts: 1, wipes: 1},
		"a long time":                {rounds: 2, waits: 1, ages: 1, hands: 1},
		"a long time and lost files": {rounds: 2, wipes: 1, ages: 1},
	} {
		t.Run(name, func(t *testing.T) {
			states, made := explore(t, newScene(left, list...))
			t.Logf("%d states, with a cluster %d", states, made)
			require.Positive(t, made)
		})
	}
}

// The creator's process hangs, and another one is started in its place, with another file.
func TestTwoCreatorsMakeOneCluster(t *testing.T) {
	states, made := explore(t, newScene(budget{rounds: 2, waits: 1}, "a:1", "b:1", "c:1", "a:1"))
	t.Logf("%d states, with a cluster %d", states, made)
	require.Positive(t, made)
}
