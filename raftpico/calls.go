package raftpico

import (
	"context"
	"fmt"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	address "github.com/raftpico/go/raftpico/internal/addr"
	"github.com/raftpico/go/raftpico/internal/loop"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Timeouts are a cluster's election timeouts, in whole milliseconds. A Min of zero means 300 ms, a Max of zero 2 s, or 2·Min if
// that is more. A server that has not heard of a leader for [Min, 2·Min) starts an election; Max is only stored and shown.
type Timeouts struct{ Min, Max time.Duration }

// maxInputDepth bounds the nesting of inputs, as on the wire: there the request and its params are around them.
const maxInputDepth = jsonrpc.MaxDepth - 2

// Apply hands input to the machine and returns its output, as the wire's Apply does. Input is encoded as JSON; a
// json.RawMessage is taken as it is. If ctx ends first, the error wraps ErrUnknown and ctx's: a command may still be applied.
// A local query may be carried out on this goroutine: then it is over when the machine is through with it.
//
// An error of the machine's own is found by errors.As as a *machine.Error, with its Data as JSON (see [ErrorData]), and as
// the *Error that a client gets. [Apply], [Query] and [LocalQuery] return outputs as Go values.
func (s *Server) Apply(ctx context.Context, kind machine.Kind, input any) (json.RawMessage, error) {
	return s.apply(ctx, kind, wire.SessionSeq{}, input)
}

func (s *Server) apply(ctx context.Context, kind machine.Kind, session wire.SessionSeq, input any) (json.RawMessage, error) {
	asked, err := s.ask(ctx, kind, session, input, nil)
	if err != nil {
		return nil, err
	}
	result, err := asked.Wait()
	return result, api.Own(err)
}

// ask encodes the input, and asks without waiting. What is small is put into room, if that is not nil.
func (s *Server) ask(ctx context.Context, kind machine.Kind, session wire.SessionSeq, input any, room *room) (loop.Asked, error) {
	encoded, ok := input.(json.RawMessage)
	if !ok || encoded == nil {
		var err error
		if encoded, err = wire.Marshal(input); err != nil {
			return loop.Asked{}, fmt.Errorf("%w: %w", ErrUnencodable, err)
		}
	} else { // the caller may use it again, while the command is still under way
		encoded = append(room.forInput(len(encoded)), encoded...)
	}
	if err := jsonrpc.Valid(encoded, maxInputDepth); err != nil {
		return loop.Asked{}, ErrInvalidParams.Because(err.Error())
	}
	if len(encoded) > s.opts.Limits.MaxLine {
		return loop.Asked{}, ErrInvalidParams.Because(fmt.Sprintf("the input is longer than %d bytes", s.opts.Limits.MaxLine))
	}
	if kind < machine.Command || kind > machine.LocalQuery {
		return loop.Asked{}, ErrInvalidParams.Because("no kind")
	}
	return s.loop.Ask(ctx, node.Request{Op: node.Apply, Kind: kind, Input: jsonrpc.Compact(encoded), Session: session}, room.forResult()), nil
}

// CreateCluster makes this server the first member of a new cluster, and returns the members.
func (s *Server) CreateCluster(ctx context.Context, t Timeouts) ([]string, error) {
	timeouts, err := t.filled()
	if err != nil {
		return nil, ErrInvalidParams.Because(err.Error())
	}
	return s.members(ctx, node.Request{Op: node.CreateCluster, Timeouts: timeouts})
}

// filled are the timeouts as the core has them, with the defaults in place of zeros.
func (t Timeouts) filled() (node.Timeouts, error) {
	if t.Min < 0 || t.Max < 0 || t.Min%time.Millisecond != 0 || t.Max%time.Millisecond != 0 {
		return node.Timeouts{}, fmt.Errorf("election timeouts of %v and %v are no whole milliseconds", t.Min, t.Max)
	}
	timeouts := node.Timeouts{Min: uint64(t.Min.Milliseconds()), Max: uint64(t.Max.Milliseconds())}.Filled()
	return timeouts, timeouts.Check()
}

// Configuration is what holds for a whole cluster, and can be changed.
type Configuration struct {
	// LeaseReads lets leaders answer queries under a lease: at once, without asking the other servers. NB: Then a Query is
	// linearizable as long as the servers' clocks go at the same rate, within 20 %: see docs/SAFETY.md.
	LeaseReads bool
}

// Configure sets all that a Configuration tells, and returns when that is logged and applied here. ErrBusy means that a
// member runs a release that does not know it.
func (s *Server) Configure(ctx context.Context, c Configuration) error {
	_, err := s.loop.Call(ctx, node.Request{Op: node.Configure, Leases: node.Choose(c.LeaseReads)})
	return err
}

// AddServer adds the server that listens at addr, and returns the members. It may still be catching up.
func (s *Server) AddServer(ctx context.Context, addr string) ([]string, error) {
	return s.change(ctx, node.Request{Op: node.AddServer, Addr: addr})
}

// AddNonvoter is AddServer of a server that learns for good: it serves queries, passes commands on, and never counts in a
// majority. SetVoter gives it a vote later.
func (s *Server) AddNonvoter(ctx context.Context, addr string) ([]string, error) {
	return s.change(ctx, node.Request{Op: node.AddServer, Addr: addr, Voter: new(false)})
}

// SetVoter tells whether the member at addr is to vote, or to learn for good, and returns the members. With true, it may
// still be catching up. With false, it returns when the member's vote is not needed any more: then that may be stopped. If
// it is so already, nothing changes. ErrNotMember means that there is no such member; ErrLastServer, that no voter would be
// left; ErrBusy, that its demotion is under way: ask again when it is a learner. After ErrUnknown call it again.
func (s *Server) SetVoter(ctx context.Context, addr string, voter bool) ([]string, error) {
	return s.change(ctx, node.Request{Op: node.SetVoter, Addr: addr, Voter: &voter})
}

// RemoveServer removes the member at addr, and returns the members left when its vote is not needed any more: then it may
// be stopped, and its file deleted.
func (s *Server) RemoveServer(ctx context.Context, addr string) ([]string, error) {
	return s.change(ctx, node.Request{Op: node.RemoveServer, Addr: addr})
}

// TransferLeader hands leadership from this server to the voter with the id, and returns when that leads. ErrRejected
// means that nothing has changed, for this server does not lead; ErrInvalidParams, that no voter has that id; ErrUnknown,
// that the other has not taken over in time, and may do so yet.
func (s *Server) TransferLeader(ctx context.Context, id uint64) error {
	_, err := s.loop.Call(ctx, node.Request{Op: node.TransferLeader, NodeID: id})
	return err
}

func (s *Server) change(ctx context.Context, r node.Request) (members []string, err error) {
	if r.Addr, err = address.Canonical(r.Addr); err != nil {
		return nil, ErrInvalidParams.Because(err.Error())
	}
	return s.members(ctx, r)
}

func (s *Server) members(ctx context.Context, r node.Request) ([]string, error) {
	result, err := s.loop.Call(ctx, r)
	if err != nil {
		return nil, err
	}
	var list struct {
		Members []string `json:"members"`
	}
	if err := json.Unmarshal(result, &list); err != nil {
		return nil, fmt.Errorf("raftpico: decode the members: %w", err)
	}
	return list.Members, nil
}

// TakeSnapshot makes every server snapshot its state and shorten its log, and returns the snapshot's index when this
// server's is durable.
func (s *Server) TakeSnapshot(ctx context.Context) (index uint64, err error) {
	result, err := s.loop.Call(ctx, node.Request{Op: node.TakeSnapshot})
	if err != nil {
		return 0, err
	}
	var taken struct {
		Index uint64 `json:"snapshot_index"`
	}
	if err := json.Unmarshal(result, &taken); err != nil {
		return 0, fmt.Errorf("raftpico: decode the index: %w", err)
	}
	return taken.Index, nil
}

// CheckState makes every server hash its state as of one entry, and compare that with the others' within seconds: State
// then shows what came of it. It returns this server's hash. ErrBusy means that the state was hashed within the last
// second, or could not be hashed just then: ask again in a second.
func (s *Server) CheckState(ctx context.Context) (StateHash, error) {
	result, err := s.loop.Call(ctx, node.Request{Op: node.CheckState})
	if err != nil {
		return StateHash{}, err
	}
	var h StateHash
	if err := json.Unmarshal(result, &h); err != nil {
		return StateHash{}, fmt.Errorf("raftpico: decode the hash: %w", err)
	}
	return h, nil
}

// State describes this server as it is now, with the machines' states if asked for. It needs no cluster.
func (s *Server) State(ctx context.Context, machines bool) (*State, error) {
	result, err := s.loop.Call(ctx, node.Request{Op: node.GetServerState, Machines: machines})
	if err != nil {
		return nil, err
	}
	state := new(State)
	if err := json.Unmarshal(result, state); err != nil {
		return nil, fmt.Errorf("raftpico: decode the state: %w", err)
	}
	return state, nil
}
