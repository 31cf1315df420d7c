package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico"
)

// JoinOptions say how [Join] finds a cluster.
type JoinOptions struct {
	// Addrs are the servers that are asked, host:port each. The server's own may be among them.
	Addrs []string

	// Bootstrap makes a cluster if there is none. Then Addrs must be the same for all servers, and each server's own address
	// must be among them.
	Bootstrap bool

	// Timeouts are those of a cluster that Bootstrap makes.
	Timeouts raftpico.Timeouts

	// Dial, if not nil, opens the connections. It must heed its context. Give the server's [raftpico.Options.Dial].
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Logger, if not nil, is told what is waited for. Nil is slog.Default.
	Logger *slog.Logger

	slow time.Duration // the pause after refusals that need an operator; zero: 5 s. For tests
}

// Join makes a server that belongs to no cluster a member of the one to which others belong. It asks them until one has
// added it, less and less often, up to every 2 s or so. It returns nil when the server belongs to a cluster; at once if it
// does already, whatever the options are. Else the error is that of ctx; or [raftpico.ErrNotMember] for a server that was removed from its cluster,
// [raftpico.ErrRejected] for one that has ended; or it tells what is wrong with the options, before anybody was asked.
//
// With Bootstrap, one server creates the cluster: the one whose address sorts first as a text, and only when all others have
// answered that they belong to none. While one of them is away, nobody creates a cluster. So servers may be started in any order
// and at once, and one that has lost its file does not begin a second cluster while another one has its own. NB: That all
// are given the same Addrs can't be checked: two servers with different lists may create a cluster each.
//
// A server that has lost its file, and whose address is still a member's, is not added: its votes are lost too. Join logs that it must
// be removed first ([raftpico.Server.RemoveServer], on a member), and adds it when that has been done.
func Join(ctx context.Context, s *raftpico.Server, o JoinOptions) error {
	if belongs, err := standing(s.Status()); belongs || err != nil {
		return err
	}
	j, err := newJoiner(s, o)
	if err != nil {
		return err
	}
	asking, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { j.run(asking) })
	defer wg.Wait()
	defer stop()
	for now := range s.Events(ctx) {
		if belongs, err := standing(now); belongs || err != nil {
			return err
		}
	}
	return ctx.Err()
}

// standing tells whether a server belongs to a cluster; an error means that it never will again.
func standing(now raftpico.Status) (belongs bool, err error) {
	switch {
	case now.Removed:
		return false, raftpico.ErrNotMember.Because("this server was removed from its cluster; delete its file to add it anew")
	case now.Ended:
		return false, raftpico.ErrRejected.Because("the server has ended")
	}
	return now.NodeID != 0, nil
}

const (
	askPatience = 2 * time.Second  // for the state of a server
	addPatience = 15 * time.Second // for AddServer, which is answered within the server's deadline
	firstPause  = 50 * time.Millisecond
	longPause   = 2 * time.Second
	slowPause   = 5 * time.Second
)

// joiner asks for one server. Owner: one goroutine.
type joiner struct {
	JoinOptions
	server *raftpico.Server
	others []string
	first  bool              // its address sorts first
	added  bool              // somebody has added it, and the leader will tell it
	exists int               // how often it was told, in a row, that it is a member
	said   map[string]string // what was logged last, by whom it is about
}

func newJoiner(s *raftpico.Server, o JoinOptions) (*joiner, error) {
	addrs, err := o.check(s.Addr())
	if err != nil {
		return nil, err
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.slow == 0 {
		o.slow = slowPause
	}
	j := &joiner{JoinOptions: o, server: s, first: slices.Min(addrs) == s.Addr(), said: map[string]string{}}
	j.others = slices.DeleteFunc(addrs, func(addr string) bool { return addr == s.Addr() })
	return j, nil
}

// check returns the addresses in the form in which servers are known. Own is the server's.
func (o JoinOptions) check(own string) (addrs []string, err error) {
	for _, addr := range o.Addrs {
		known, err := known(addr)
		if err != nil {
			return nil, fmt.Errorf("join: %w", err)
		}
		if slices.Contains(addrs, known) {
			return nil, fmt.Errorf("join: the address %s is given twice", known)
		}
		addrs = append(addrs, known)
	}
	switch {
	case o.Bootstrap && !slices.Contains(addrs, own):
		return nil, fmt.Errorf("join: to create a cluster, the server's own address %s must be one of %q", own, o.Addrs)
	case !o.Bootstrap && len(slices.DeleteFunc(slices.Clone(addrs), func(addr string) bool { return addr == own })) == 0:
		return nil, errors.New("join: no address of another server is given")
	}
	return addrs, nil
}

// run asks until ctx ends.
func (j *joiner) run(ctx context.Context) {
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, longPause) {
		d := pause
		if j.round(ctx) {
			d = j.slow
		}
		select {
		case <-ctx.Done():
		case <-time.After(d/2 + rand.N(d)): // servers that were started at once don't ask at once
		}
	}
}

// round asks each of the others once who it is, and then does what can be done. Slow means that an operator must act first.
func (j *joiner) round(ctx context.Context) (slow bool) {
	states := make([]*api.State, len(j.others))
	errs := make([]error, len(j.others))
	var wg sync.WaitGroup
	for i, addr := range j.others {
		wg.Go(func() { states[i], errs[i] = j.state(ctx, addr) })
	}
	wg.Wait()
	blank := 0
	for _, i := range rand.Perm(len(j.others)) {
		addr, state := j.others[i], states[i]
		switch {
		case ctx.Err() != nil:
			return false
		case errs[i] != nil:
			j.say(slog.LevelInfo, "join: no answer", "from", addr, "error", errs[i])
		case state.Removed:
			j.say(slog.LevelWarn, "join: a server was removed from its cluster, and can add nobody", "server", addr)
		case state.NodeID != nil:
			if slow, done := j.ask(ctx, addr); done {
				return slow
			}
		case j.Bootstrap && state.Addr != addr:
			j.say(slog.LevelWarn, "join: a server is known by another address than it was asked at: no cluster is created",
				"asked", addr, "known", state.Addr)
		default:
			blank++
		}
	}
	switch {
	case blank < len(j.others) || ctx.Err() != nil:
	case j.Bootstrap && j.first:
		j.create(ctx)
	case j.Bootstrap:
		j.say(slog.LevelInfo, "join: waiting for the cluster to be created", "by", slices.Min(j.others))
	default:
		j.say(slog.LevelInfo, "join: the others belong to no cluster yet", "asked", j.others)
	}
	return false
}

func (j *joiner) create(ctx context.Context) {
	j.say(slog.LevelInfo, "join: no server belongs to a cluster: creating one", "servers", j.Addrs)
	if _, err := j.server.CreateCluster(ctx, j.Timeouts); err != nil && ctx.Err() == nil {
		j.say(slog.LevelWarn, "join: the cluster could not be created", "servers", j.Addrs, "error", err)
	}
}

// ask asks a member to add the server. Done means that asking another one would be of no more use.
func (j *joiner) ask(ctx context.Context, addr string) (slow, done bool) {
	err := j.call(ctx, addPatience, addr, "AddServer", map[string]string{"addr": j.server.Addr()}, nil)
	exists := errors.Is(err, api.ErrServerExists)
	if !exists {
		j.exists = 0
	}
	switch {
	case ctx.Err() != nil:
		return false, true
	case err == nil:
		j.added = true
		j.say(slog.LevelInfo, "join: added; waiting for the leader", "by", addr)
		return false, true
	case exists && j.added:
		j.say(slog.LevelInfo, "join: added; waiting for the state", "from", addr)
		return false, true
	case exists:
		// The leader may be about to tell: the answer to an earlier AddServer was lost, or somebody else has asked.
		if j.exists++; j.exists <= 2 {
			return false, true
		}
		j.say(slog.LevelWarn, "join: the cluster has a member of this address, and this server is not it. If its file was lost, "+
			"remove the member first (RemoveServer), and it will be added anew", "asked", addr)
		return true, true
	case errors.Is(err, api.ErrUnreachable):
		j.say(slog.LevelWarn, "join: refused", "by", addr, "error", err)
		return true, true
	}
	j.say(slog.LevelInfo, "join: not added", "by", addr, "error", err)
	return false, false
}

// state asks a server who it is.
func (j *joiner) state(ctx context.Context, addr string) (*api.State, error) {
	var state api.State
	err := j.call(ctx, askPatience, addr, "GetServerState", map[string]bool{"machines": false}, &state)
	return &state, err
}

func (j *joiner) call(ctx context.Context, patience time.Duration, addr, method string, params, result any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	nc, err := j.Dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	c := jsonrpc.NewClient(nc)
	defer c.Close()
	return c.Call(ctx, method, params, result)
}

// say logs what is not what was logged last about the same server: the first of the facts.
func (j *joiner) say(level slog.Level, message string, facts ...any) {
	about, said := fmt.Sprint(facts[1]), fmt.Sprint(message, facts)
	if j.said[about] != said {
		j.said[about] = said
		j.Logger.Log(context.Background(), level, message, append([]any{"server", j.server.Addr()}, facts...)...)
	}
}
