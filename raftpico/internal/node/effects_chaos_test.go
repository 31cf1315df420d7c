package node_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// TestKeepersInTrouble: three keepers whose servers crash, are cut off, hang, get snapshots, and have clocks that jump, while
// clients defer, wait, set timers, and send commands of sessions again and again. Each caller is answered once, within its
// deadline; no command of a session and no timer is carried out twice; and in the end all servers agree.
func TestKeepersInTrouble(t *testing.T) {
	seeds := uint64(25)
	if testing.Short() {
		seeds = 8
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, seed)
			c := &trouble{world: keepers(t, "hearers", "limits trailing=1", "cluster a b c", "pass 600ms"), rng: rand.New(rand.NewPCG(seed, 1))}
			c.asked, c.places = map[caller]*server{}, map[caller]place{}
			c.answers = map[node.Caller]string{}
			for range 300 {
				c.step()
			}
			c.end()
		})
	}
}

type trouble struct {
	*world
	rng    *rand.Rand
	words  int
	asked  map[caller]*server // nil: it has crashed since
	sent   []*node.Request    // in sessions
	places map[caller]place
}

// place is a command's in its session.
type place struct{ id, seq uint64 }

func (c *trouble) any() *server { return c.servers[c.rng.IntN(len(c.servers))] }

// up is any server that runs.
func (c *trouble) up() *server {
	for {
		if s := c.any(); s.node != nil {
			return s
		}
	}
}

func (c *trouble) step() {
	rng := c.rng
	switch rng.IntN(24) {
	case 0:
		running := 0
		for _, s := range c.servers {
			if s.node != nil {
				running++
			}
		}
		if running > 1 {
			s := c.up()
			for asked, of := range c.asked {
				if of == s {
					c.asked[asked] = nil
				}
			}
			s.crash()
		}
	case 1, 2:
		for _, s := range c.servers {
			if s.node == nil {
				s.start()
				break
			}
		}
	case 3:
		if a, b := c.any(), c.any(); a != b {
			c.play(fmt.Sprintf("cut %s %s", a.name, b.name))
		}
	case 4, 5:
		c.mend()
	case 6:
		c.any().frozen = true
	case 7, 8:
		for _, s := range c.servers {
			s.frozen = false
		}
	case 9:
		c.any().skew += time.Duration(rng.IntN(7)-3) * 300 * time.Millisecond
	case 10:
		c.request(c.up(), &node.Request{Op: node.TakeSnapshot})
	case 11:
		c.request(c.up(), &node.Request{Op: node.OpenSession, TTL: time.Duration(2+rng.IntN(8)) * time.Second})
	case 12:
		if s := c.up(); c.serial > 0 {
			gone := caller(1 + rng.IntN(c.serial))
			if c.asked[gone] == s && rng.IntN(2) == 0 {
				s.node.Request(gone, &node.Request{Op: node.Cancel})
			} else if c.asked[gone] == s {
				s.node.Forget(func(c node.Caller) bool { return c == gone })
			}
		}
	case 13:
		c.up().late = rng.IntN(2) == 0
	default:
		for range 1 + rng.IntN(3) {
			c.ask()
		}
	}
	c.play(fmt.Sprintf("pass %dms", 30*rng.IntN(5)))
}

func (c *trouble) request(s *server, r *node.Request) {
	c.serial++
	c.asked[caller(c.serial)] = s
	r.Deadline = time.Duration(100+c.rng.IntN(3000)) * time.Millisecond
	s.node.Request(caller(c.serial), r)
}

// ask asks for something at random. Each command has a word of its own.
func (c *trouble) ask() {
	rng := c.rng
	key := string(rune('p' + rng.IntN(6)))
	apply := func(kind machine.Kind, in string) *node.Request {
		return &node.Request{Op: node.Apply, Kind: kind, Input: json.RawMessage(strconv.Quote(in))}
	}
	switch rng.IntN(8) {
	case 0:
		c.request(c.up(), apply(machine.Query, "wait "+key+" "+key+"2"))
		return
	case 1:
		c.request(c.up(), apply(machine.LocalQuery, "wait "+key))
		return
	}
	c.words++
	span := fmt.Sprint(rng.IntN(2000), "ms")
	in := []string{"put " + key + " 1", "put " + key + "2 1", "wake " + key, "defer " + key, "defer " + key,
		"answer " + key + " yes", "answer " + key + " error 1001", "self yes", "fail 1002", "fail bad",
		"timer " + span + " put " + key, "timer " + span + " answer " + key, "drop " + key}[rng.IntN(13)]
	r := apply(machine.Command, fmt.Sprint(in, " w", c.words))
	if len(c.opened) == 0 || rng.IntN(3) == 0 {
		c.request(c.up(), r)
		return
	}
	id, seq := c.opened[len(c.opened)-1-rng.IntN(min(len(c.opened), 3))], uint64(1)
	for _, before := range c.sent {
		if before.Session.ID == id {
			seq = before.Session.Seq + 1
		}
	}
	r.Session = wire.SessionSeq{ID: id, Seq: seq, Ack: max(seq, 5) - 5}
	c.sent = append(c.sent, r)
	c.inSession(r)
	for range rng.IntN(3) { // again, or an older one
		if rng.IntN(2) == 0 {
			c.play(fmt.Sprintf("pass %dms", 30*rng.IntN(20)))
		}
		c.inSession(r)
		c.inSession(c.sent[max(0, len(c.sent)-1-rng.IntN(20))])
	}
}

func (c *trouble) inSession(r *node.Request) {
	again := *r
	c.request(c.up(), &again)
	c.places[caller(c.serial)] = place{r.Session.ID, r.Session.Seq}
}

func (c *trouble) mend() {
	clear(c.cut)
}

// end brings all up again, and looks what has become of it.
func (c *trouble) end() {
	c.mend()
	for _, s := range c.servers {
		s.frozen, s.late = false, false
		if s.node == nil {
			s.start()
		}
	}
	c.play("pass 15s")
	require.NotContains(c.t, c.out.String(), "failed")
	for asked, s := range c.asked {
		require.True(c.t, c.told[asked] || s == nil, "%v of %v", asked, s)
	}
	for _, s := range c.servers {
		require.Zero(c.t, s.node.Pending(), s.name)
		require.Zero(c.t, s.node.Keys(), s.name)
		require.Zero(c.t, s.node.WaitingBytes(), s.name)
		require.Equal(c.t, *c.servers[0].k, *s.k, s.name)
		require.Empty(c.t, s.k.Timers)
		require.Zero(c.t, s.node.State().Sessions)
	}
	c.out.Reset()
	c.play("request a CheckState", "pass 2s", "hashes")
	require.NotContains(c.t, c.out.String(), "differs")
	require.Equal(c.t, 3, strings.Count(c.out.String(), " snapshot:"), c.out.String())
	done := map[string]int{}
	require.Contains(c.t, strings.Join(c.servers[0].k.Applied, " "), "abandoned_")
	for _, what := range c.servers[0].k.Applied {
		if word := regexp.MustCompile(`_w\d+(#\d+)?@`).FindString(what); word != "" {
			byTimer := strings.HasPrefix(what, "timer_put") || strings.HasPrefix(what, "timer_answer")
			word = fmt.Sprint(byTimer, word[:strings.IndexAny(word, "#@")])
			done[word]++
			require.Equal(c.t, 1, done[word], what)
		}
	}
	require.NotEmpty(c.t, done)
	outcomes, same := map[place]string{}, 0
	for asked, place := range c.places {
		answer, told := c.answers[asked]
		if !told || regexp.MustCompile(`code 1(06|07|08|10|11)\)`).MatchString(answer) {
			continue
		}
		if before, found := outcomes[place]; found {
			require.Equal(c.t, before, answer, "%+v", place)
			same++
		}
		outcomes[place] = answer
	}
	require.NotZero(c.t, same)
}
