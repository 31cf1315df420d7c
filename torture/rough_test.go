//go:build unix

package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
)

// rough is a client without patience or sessions: what it has no answer to stays unknown. It has one connection at a time, to
// one server after the other, and is one goroutine's.
type rough struct {
	*tally
	servers []*server
	rng     *rand.Rand
	timeout time.Duration
	conn    *conn
	left    int // requests until it goes to another server
}

// result is what became of a request.
type result struct {
	outcome   outcome
	err       *jsonrpc.Error // the machine's, if answered
	call, ret int64
}

func (r *run) rough(id int) *rough {
	timeout := impatient
	if id%4 == 0 {
		timeout = patient
	}
	return &rough{tally: r.tally, servers: r.servers, rng: rand.New(rand.NewPCG(r.seed, uint64(id))), timeout: timeout}
}

// connect finds a server, unless the load ends before.
func (c *rough) connect(loading context.Context) bool {
	if c.conn != nil && c.left > 0 {
		c.left--
		return true
	}
	c.close()
	for loading.Err() == nil {
		conn, err := c.servers[c.rng.IntN(len(c.servers))].dial(loading)
		if err == nil {
			c.conn, c.left = conn, perConnection/depth
			return true
		}
		select { // not to dial without pause while all servers are down
		case <-loading.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

func (c *rough) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// apply makes a call over the connection, which must be there. It goes to its end even if the load ends. The answer may take as
// much longer as is told.
func (c *rough) apply(kind machine.Kind, input any, longer time.Duration, output any) (is result) {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout+longer)
	defer cancel()
	is.call = c.now()
	out, err := c.conn.CallRaw(ctx, "Apply", params(kind, input, usualDeadline+longer))
	is.ret = c.now()
	var answer *jsonrpc.Error
	switch {
	case err == nil && output != nil:
		if err := json.Unmarshal(out, output); err != nil {
			c.fault(fmt.Errorf("%v answered %.200s to %v: %w", c.conn.server, out, input, err))
		}
	case err == nil:
	case !errors.As(err, &answer):
		is.outcome = unknown
		c.close()
	case answer.Code == 107:
		is.outcome = unknown
	case answer.Code == 102, answer.Code == 106, answer.Code == 108, answer.Code == 110:
		is.outcome = refused
		if answer.Code == 102 || answer.Code == 108 {
			c.close()
		}
	default:
		is.err = answer
	}
	return is
}

func params(kind machine.Kind, input any, within time.Duration) json.RawMessage {
	encoded, err := json.Marshal(map[string]any{"kind": kind.String(), "input": input, "timeout_ms": within.Milliseconds()})
	if err != nil {
		panic(err) // inputs are ours
	}
	return encoded
}
