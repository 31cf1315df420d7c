//go:build unix

package torture

import (
	"math/rand/v2"
	"os/exec"
	"sync"
	"time"
)

// maxServers is how many servers a network has room for.
const maxServers = 5

// network carries what servers say to each other, through the weather that it is told.
type network interface {
	listen(id int) string // the address at which a server listens
	known(id int) string  // the one that leads the other servers to it
	http(id int) string   // where it speaks HTTP to clients
	command(id int, name string, args ...string) *exec.Cmd
	sky() *sky
}

// weather is what happens to what one server sends to another. The zero value is fine.
type weather struct {
	cut    bool          // nothing arrives
	delay  time.Duration // what arrives takes that long,
	jitter time.Duration // and up to that much longer
	loss   float64       // the share of packets that are lost; proxies lose none
}

// sky is the weather between all servers.
type sky struct {
	mu      sync.Mutex
	between [maxServers][maxServers]weather
	change  chan struct{} // closed at the next change
}

func newSky() *sky { return &sky{change: make(chan struct{})} }

// get tells the weather from one server to another, and how to learn of a change.
func (s *sky) get(from, to int) (weather, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.between[from][to], s.change
}

// set changes the weather wherever f says so.
func (s *sky) set(f func(from, to int, w *weather)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for from := range s.between {
		for to := range s.between[from] {
			if from != to {
				f(from, to, &s.between[from][to])
			}
		}
	}
	close(s.change)
	s.change = make(chan struct{})
}

func (s *sky) clear() { s.set(func(_, _ int, w *weather) { *w = weather{} }) }

// takes is how long something sent now is under way.
func (w weather) takes() time.Duration {
	if w.jitter == 0 {
		return w.delay
	}
	return w.delay + rand.N(w.jitter)
}
