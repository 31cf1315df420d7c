package client

import (
	"context"
	"fmt"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/api"
)

// What GetServerState and CheckState answer, in the words of package api.
type (
	State     = api.State
	StateHash = api.StateHash
)

// Timeouts are a cluster's election timeouts, in whole milliseconds. A Min of zero means 300 ms, a Max of zero 2 s, or 2·Min
// if that is more.
type Timeouts struct{ Min, Max time.Duration }

// CreateCluster makes the first server that New was given the first member of a new cluster, and returns the members. If ctx
// ends first, or the answer is lost, a second call tells by ErrClusterExists that it was made.
func (c *Client) CreateCluster(ctx context.Context, t Timeouts) ([]string, error) {
	if len(c.servers.given) == 0 {
		return nil, ErrInvalidParams.Because("the client was given no address")
	}
	params := map[string]int64{}
	if t.Min != 0 {
		params["min_election_timeout_ms"] = t.Min.Milliseconds()
	}
	if t.Max != 0 {
		params["max_election_timeout_ms"] = t.Max.Milliseconds()
	}
	list, err := ask[members](ctx, c, &request{method: "CreateCluster", only: c.servers.given[0]}, params)
	c.servers.due.Store(0)
	return list.Members, err
}

// AddServer adds the server that listens at addr, and returns the members. It may still be catching up. After ErrUnknown
// a second call tells by ErrServerExists that it was added.
func (c *Client) AddServer(ctx context.Context, addr string) ([]string, error) {
	return c.change(ctx, "AddServer", map[string]any{"addr": addr})
}

// AddNonvoter is AddServer of a server that learns for good: it serves queries, passes commands on, and never counts in a
// majority.
func (c *Client) AddNonvoter(ctx context.Context, addr string) ([]string, error) {
	return c.change(ctx, "AddServer", map[string]any{"addr": addr, "voter": false})
}

// SetVoter tells whether the member at addr is to vote, or to learn for good, and returns the members. With true, it may
// still be catching up. With false, it returns when the member's vote is not needed any more. If it is so already, nothing
// changes. After ErrUnknown call it again: it waits for the same change.
func (c *Client) SetVoter(ctx context.Context, addr string, voter bool) ([]string, error) {
	return c.change(ctx, "SetVoter", map[string]any{"addr": addr, "voter": voter})
}

// Configuration is what holds for a whole cluster, and can be changed.
type Configuration struct {
	LeaseReads bool `json:"lease_reads"` // leaders answer queries under a lease: docs/API.md, Configure
}

// Configure sets all that a Configuration tells. After ErrUnknown call it again.
func (c *Client) Configure(ctx context.Context, to Configuration) error {
	_, err := ask[struct{}](ctx, c, &request{method: "Configure", leader: true}, to)
	return err
}

// TransferLeader hands leadership to the voter at addr, and returns when that leads. ErrInvalidParams means that there is no
// such voter. After ErrUnknown it may take over yet; call it again to make sure.
func (c *Client) TransferLeader(ctx context.Context, addr string) error {
	_, err := ask[struct{}](ctx, c, &request{method: "TransferLeader", leader: true}, map[string]string{"addr": addr})
	c.servers.due.Store(0)
	return err
}

// RemoveServer removes the member at addr, and returns those left when its vote is not needed any more: then it may be
// stopped. After ErrUnknown call it again: it waits for the same removal.
func (c *Client) RemoveServer(ctx context.Context, addr string) ([]string, error) {
	return c.change(ctx, "RemoveServer", map[string]any{"addr": addr})
}

// TakeSnapshot makes every server take a snapshot at the same entry, and returns its index when it is durable on one of them.
func (c *Client) TakeSnapshot(ctx context.Context) (index uint64, err error) {
	taken, err := ask[struct {
		Index uint64 `json:"snapshot_index"`
	}](ctx, c, &request{method: "TakeSnapshot", leader: true, again: true}, nil)
	return taken.Index, err
}

// CheckState makes every server hash its state as of the same entry and compare that with the others' within seconds: State then
// shows what came of it. It returns the hash of one of them.
func (c *Client) CheckState(ctx context.Context) (StateHash, error) {
	return ask[StateHash](ctx, c, &request{method: "CheckState", leader: true, again: true}, nil)
}

// State is what the server at addr knows of itself and of its cluster; the addr "" is any server. With machines, the states of
// the machines are in it, unless they are very large. The server need not belong to a cluster. The call waits until the
// server can be reached, or ctx ends.
func (c *Client) State(ctx context.Context, addr string, machines bool) (*State, error) {
	r := &request{method: "GetServerState", again: true}
	if addr != "" {
		r.only = c.servers.named(addr)
	}
	state, err := ask[State](ctx, c, r, map[string]bool{"machines": machines})
	if err != nil {
		return nil, err
	}
	return &state, nil
}

type members struct {
	Members []string `json:"members"`
}

// change asks for a change of the members.
func (c *Client) change(ctx context.Context, method string, params map[string]any) ([]string, error) {
	list, err := ask[members](ctx, c, &request{method: method, leader: true}, params)
	c.servers.due.Store(0)
	return list.Members, err
}

// ask carries out a method other than Apply.
func ask[Out any](ctx context.Context, c *Client, r *request, params any) (result Out, err error) {
	if params != nil {
		if r.head, err = json.Marshal(params); err != nil {
			return result, fmt.Errorf("client: encode params: %w", err)
		}
	}
	out, err := c.do(ctx, r)
	return result, decode(out, err, &result)
}
