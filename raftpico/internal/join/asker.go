package join

import (
	"errors"
	"slices"
	"time"

	"github.com/raftpico/go/api"
)

// Asker is one server that looks for a cluster. It goes round by round: Question is what to ask each of Others, Heard takes their
// answers and tells what to do. Owner: its driver.
type Asker struct {
	Others []string // addresses

	addr     string
	servers  []string // sorted; nil: it creates no cluster
	instance string
	cluster  string
	blank    []string // the instances of the others, as of the round before, if all may be part of a cluster; else nil
	added    bool     // somebody has added it, and the leader will tell it
	exists   int      // how often it was told, in a row, that it is a member
}

// NewAsker makes one for the server at addr, with a file of this instance. Addrs are the servers that it asks, perhaps itself among them. With
// bootstrap they are all that are to be a cluster, and cluster is the one that this server would create.
func NewAsker(addr, instance string, addrs []string, bootstrap bool, cluster string) *Asker {
	a := &Asker{addr: addr, instance: instance, cluster: cluster}
	a.Others = slices.DeleteFunc(slices.Clone(addrs), func(other string) bool { return other == addr })
	if bootstrap {
		a.servers = slices.Sorted(slices.Values(addrs))
	}
	return a
}

// Question is what to ask each of Others next. Nil: only who they are.
func (a *Asker) Question() *Question {
	if a.servers == nil {
		return nil
	}
	return &Question{Servers: a.servers, From: a.addr, Instance: a.instance, Cluster: a.cluster, Promise: a.blank != nil}
}

// Heard is what a round has brought from one of the others.
type Heard struct {
	Addr string
	Answer
	Err error // it has not answered
}

// Do is what to do next.
type Do uint8

const (
	Wait   Do = iota // and go round again
	Again            // go round at once
	Add              // ask the Step's Members to add this server, until Added says that it is enough
	Create           // create the cluster, not later than Step.Until
)

// Step is what follows from a round.
type Step struct {
	Do      Do
	Members []string // addresses
	Until   time.Duration
	Slow    bool   // an operator must act first
	Notes   []Note // for the log
}

// Note is for the log. The first of the facts is what it is about.
type Note struct {
	Warn  bool
	Text  string
	Facts []any
}

func (s *Step) info(text string, facts ...any) { s.Notes = append(s.Notes, Note{false, text, facts}) }
func (s *Step) warn(text string, facts ...any) { s.Notes = append(s.Notes, Note{true, text, facts}) }

// Heard takes the answers to a Question that was asked at a time: one of each of Others, in any order.
func (a *Asker) Heard(asked time.Duration, all []Heard) (step Step) {
	promising := a.blank != nil
	blank := make([]string, len(a.Others))
	promised := 0
	for _, h := range all {
		switch {
		case h.Err != nil:
			step.info("join: no answer", "from", h.Addr, "error", h.Err)
		case h.Removed:
			step.warn("join: a server was removed from its cluster, and can add nobody", "server", h.Addr)
		case h.Member:
			step.Do, step.Members = Add, append(step.Members, h.Addr)
		case a.servers == nil && h.Instance == a.instance:
			step.warn("join: this address leads to this server itself", "asked", h.Addr)
		case a.servers == nil:
			blank[slices.Index(a.Others, h.Addr)] = h.Instance
		case h.Refusal != "":
			step.warn("join: a server refuses: no cluster is created", "server", h.Addr, "why", h.Refusal)
		case h.Addr != h.Answer.Addr:
			step.warn("join: a server is known by another address than it was asked at: no cluster is created", "asked", h.Addr, "known", h.Answer.Addr)
		case h.Instance == a.instance || slices.Contains(blank, h.Instance):
			step.warn("join: two addresses lead to one server, or two servers have copies of a file: no cluster is created", "asked", h.Addr)
		default:
			i := slices.Index(a.Others, h.Addr)
			blank[i] = h.Instance
			if h.Promised && promising && a.blank[i] == h.Instance {
				promised++
			}
		}
	}
	a.blank = nil
	whole := !slices.Contains(blank, "")
	switch {
	case step.Do == Add || !whole:
	case a.servers == nil:
		step.info("join: the others belong to no cluster yet", "asked", a.Others)
	case a.addr != a.servers[0]:
		step.info("join: waiting for the cluster to be created", "by", a.servers[0])
	case promising && promised == len(a.Others):
		step.Do, step.Until = Create, asked+Fresh
		step.info("join: all servers are there, and none belongs to a cluster: creating one", "servers", a.servers)
	case promising: // one of them is another instance by now
	default:
		step.Do, a.blank = Again, blank
	}
	return step
}

// untold is how often in a row a server that was added waits, before it says that something is wrong.
const untold = 6

// Added takes what became of the question to the member at addr to add this server. Another tells whether it is of use to ask
// another one too.
func (a *Asker) Added(addr string, err error) (step Step, another bool) {
	var answer *api.Error
	exists := errors.Is(err, api.ErrServerExists)
	if !exists {
		a.exists = 0
	}
	switch {
	case err == nil:
		a.added = true
		step.info("join: added; waiting for the leader", "by", addr)
	case exists && errors.As(err, &answer) && len(answer.Data) > 0: // which tells of another address
		if a.exists++; a.exists > 2 {
			step.Slow = true
			step.warn("join: this server was added at another address, and moved before it was told. Start it there, or remove that member "+
				"(RemoveServer) and delete this server's file", "asked", addr, "error", err)
		}
	case exists:
		// The leader may be about to tell: the answer to an earlier AddServer was lost, or somebody else has asked.
		a.exists++
		switch {
		case a.added && a.exists <= untold:
			step.info("join: added; waiting for the leader to tell", "from", addr)
		case a.added:
			step.Slow = true
			step.warn("join: added, but no member has told this server. Does its address lead the members to it, and not to another server? "+
				"The leader's log tells more", "asked", addr)
		case a.exists > 2:
			step.Slow = true
			step.warn("join: the cluster has a member of this address, and this server is not it. If its file was lost, "+
				"remove the member first (RemoveServer), and it will be added anew; else give it an address of its own", "asked", addr)
		}
	case errors.Is(err, api.ErrUnreachable):
		step.Slow = true
		step.warn("join: refused", "by", addr, "error", err)
	default:
		step.info("join: not added", "by", addr, "error", err)
		return step, true
	}
	return step, false
}
