package raftpico

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/addr"
	"github.com/raftpico/go/raftpico/internal/join"
	"github.com/raftpico/go/raftpico/internal/logs"
	"github.com/raftpico/go/raftpico/internal/loop"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/peer"
)

// maxBootstrap bounds how many servers may create a cluster together.
const maxBootstrap = 32

// checkJoin brings Join into the form in which servers are known, and refuses what can never work.
func (o *Options) checkJoin() error {
	var all []string
	for _, one := range o.Join {
		known, err := addr.Canonical(one)
		if err != nil {
			return fmt.Errorf("join: %w", err)
		}
		if slices.Contains(all, known) {
			return fmt.Errorf("join: the address %s is given twice", known)
		}
		all = append(all, known)
	}
	if _, err := o.Timeouts.filled(); err != nil {
		return err
	}
	switch o.Join = all; {
	case o.Bootstrap < 0 || o.Bootstrap > maxBootstrap:
		return fmt.Errorf("bootstrap: %d servers; it must be 1 to %d, or 0 for none", o.Bootstrap, maxBootstrap)
	case o.Bootstrap > 0 && o.Bootstrap != len(all):
		return fmt.Errorf("bootstrap: %d servers are to create the cluster, and %d addresses are given to join", o.Bootstrap, len(all))
	}
	return nil
}

// checkEarly is checkOwn before anything is begun, as far as the address is known and the server can't belong to a cluster.
func (o *Options) checkEarly() error {
	known, err := addr.Canonical(o.Addr)
	if err != nil {
		return nil // port 0, or what is refused later
	}
	if _, err := os.Stat(o.File); o.InMemory || errors.Is(err, fs.ErrNotExist) {
		return o.checkOwn(known)
	}
	return nil
}

// checkOwn refuses a Join that leads nowhere for the server at addr, which belongs to no cluster.
func (o *Options) checkOwn(addr string) error {
	own := slices.Contains(o.Join, addr)
	switch {
	case o.Bootstrap > 0 && !own:
		return fmt.Errorf("bootstrap: the server's own address %s must be one of %q", addr, o.Join)
	case o.Bootstrap == 0 && own && len(o.Join) == 1:
		return errors.New("join: no address of another server is given")
	}
	return nil
}

// founders are those that create the cluster, sorted; nil: it is not for them to do.
func (o *Options) founders() []string {
	if o.Bootstrap == 0 {
		return nil
	}
	return slices.Sorted(slices.Values(o.Join))
}

// How long a joiner waits, for what.
const (
	askPatience  = 2 * time.Second  // for a server to tell who it is
	addPatience  = 15 * time.Second // for AddServer, which is answered within the server's deadline
	firstPause   = 50 * time.Millisecond
	longPause    = 2 * time.Second
	searchPause  = time.Second // before the addresses of Join are looked at for members that can't be reached
	searchPeriod = 2 * time.Second
)

// slowPause is how long a joiner waits when an operator must act first.
var slowPause = 5 * time.Second

// joiner brings a server into a cluster (package join), and finds members again that have moved. Its goroutine ends with the
// server, or when that was removed.
type joiner struct {
	*Server
	asker *join.Asker
	said  map[string]string // what was logged last, by whom it is about
}

func newJoiner(s *Server) *joiner {
	a := join.NewAsker(s.opts.Addr, s.loop.Instance(), s.opts.Join, s.opts.Bootstrap > 0, s.loop.Cluster())
	return &joiner{s, a, map[string]string{}}
}

// run joins, and searches, until ctx or the server ends.
func (j *joiner) run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		now, ended := j.loop.Standing()
		switch {
		case ended:
			return
		case now.Removed:
			j.opts.Logger.Warn("join: this server was removed from its cluster: delete its file to have it added anew", "self", j.opts.Addr)
			return
		case now.NodeID == 0:
			d := pause
			if j.round(ctx) {
				d = slowPause
			}
			sleep(ctx, d/2+rand.N(d)) // servers that were started at once don't ask at once
			pause = min(2*pause, longPause)
		case !lacksLinks(now):
			_ = j.loop.Watch(ctx, func(now *node.Standing, ended bool) bool { return !ended && !now.Removed && !lacksLinks(now) })
			sleep(ctx, searchPause) // most often it is there again
		default:
			j.search(ctx)
			sleep(ctx, searchPeriod)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// round asks each of the others once, and does what follows. Slow means that an operator must act first.
func (j *joiner) round(ctx context.Context) (slow bool) {
	for {
		asked := j.loop.Elapsed()
		step := j.asker.Heard(asked, j.ask(ctx, j.asker.Question()))
		if ctx.Err() != nil {
			return false
		}
		j.tell(step.Notes)
		switch step.Do {
		case join.Again:
			continue
		case join.Create:
			j.create(ctx, step.Until)
		case join.Add:
			return j.join(ctx, step.Members)
		}
		return step.Slow
	}
}

// ask asks all others at once. Their answers are in no order, so that not all servers go to the same one first.
func (j *joiner) ask(ctx context.Context, q *join.Question) []join.Heard {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	all := make([]join.Heard, len(j.asker.Others))
	var wg sync.WaitGroup
	for i, addr := range j.asker.Others {
		wg.Go(func() {
			h := &all[i]
			h.Addr = addr
			if q != nil {
				h.Answer, h.Err = peer.Ask(ctx, j.opts.Dial, j.opts.TLS, addr, q)
			} else {
				var who node.Who
				who, h.Err = loop.Who(ctx, j.opts.Dial, j.opts.TLS, addr)
				h.Answer = join.Answer{Addr: addr, Instance: who.Instance, Member: who.ClusterID != ""}
			}
			if failure, ok := errors.AsType[*peer.ProbeError](h.Err); ok {
				h.Err = failure.Err // whom to ask is the operator's choice: there is no secret in it
			}
		})
	}
	wg.Wait()
	rand.Shuffle(len(all), func(a, b int) { all[a], all[b] = all[b], all[a] })
	return all
}

func (j *joiner) create(ctx context.Context, until time.Duration) {
	timeouts, err := j.opts.Timeouts.filled()
	if err == nil {
		_, err = j.members(ctx, node.Request{Op: node.CreateCluster, Timeouts: timeouts, Until: until, Leases: node.Choose(j.opts.LeaseReads)})
	}
	if err != nil && ctx.Err() == nil {
		j.tell([]join.Note{{Warn: true, Text: "join: the cluster could not be created", Facts: []any{"servers", j.opts.Join, "error", err}}})
	}
}

// join asks members, one after the other, to add the server.
func (j *joiner) join(ctx context.Context, members []string) (slow bool) {
	for _, addr := range members {
		err := j.call(ctx, addr)
		if ctx.Err() != nil || j.Status().NodeID != 0 {
			return false
		}
		step, another := j.asker.Added(addr, err)
		j.tell(step.Notes)
		if !another {
			return step.Slow
		}
	}
	return false
}

// maxDetours is how often call dials anew where it finds no member: a name may lead to several servers.
const maxDetours = 8

// call is AddServer of this server, over a connection of its own.
func (j *joiner) call(ctx context.Context, addr string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, addPatience)
	defer cancel()
	for range maxDetours {
		var member bool
		if member, err = j.callMember(ctx, addr); member || !errors.Is(err, api.ErrNotMember) {
			break
		}
	}
	return err
}

// callMember is call, if a member is there.
func (j *joiner) callMember(ctx context.Context, addr string) (member bool, err error) {
	nc, err := j.opts.Dial(ctx, "tcp", addr)
	if err == nil {
		nc, err = jsonrpc.Secure(ctx, j.opts.TLS, nc, addr)
	}
	if err != nil {
		return false, err
	}
	c := jsonrpc.NewClient(nc)
	defer c.Close()
	var who peer.HelloAnswer
	if err := c.Call(ctx, peer.MethodHello, peer.Hello{Protocol: peer.Protocol}, &who); err != nil {
		return false, err
	}
	if who.ClusterID == "" {
		return false, api.ErrNotMember
	}
	return true, c.Call(ctx, "AddServer", map[string]string{"addr": j.opts.Addr}, nil)
}

// lacksLinks tells whether a member can't be reached, or none is known: the leader has not found this server yet.
func lacksLinks(now *node.Standing) bool {
	return len(now.Members) == 0 || slices.ContainsFunc(now.Members, func(m node.StandingMember) bool { return !m.Linked && m.ID != now.NodeID })
}

// search looks at the addresses of Join for members that can't be reached: they may have moved there.
func (j *joiner) search(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	var wg sync.WaitGroup
	for _, addr := range j.asker.Others {
		wg.Go(func() {
			if who, err := loop.Who(ctx, j.opts.Dial, j.opts.TLS, addr); err == nil {
				j.loop.Found(addr, who)
			}
		})
	}
	wg.Wait()
}

// tell logs what is not what was logged last about the same.
func (j *joiner) tell(notes []join.Note) {
	for _, n := range notes {
		level := slog.LevelInfo
		if n.Warn {
			level = slog.LevelWarn
		}
		about, said := fmt.Sprint(n.Facts[1]), n.Text
		for _, fact := range n.Facts {
			if err, ok := fact.(error); ok {
				fact = logs.Gist(err.Error())
			}
			said += fmt.Sprint(" ", fact)
		}
		if j.said[about] != said {
			j.said[about] = said
			j.opts.Logger.Log(context.Background(), level, n.Text, append([]any{"self", j.opts.Addr}, n.Facts...)...)
		}
	}
}
