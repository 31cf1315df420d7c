//go:build unix

package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/raftpico/go/jsonrpc"
)

const (
	clients = 16
	depth   = 8 // requests that a client has under way, if it writes

	deadline  = 5 * time.Second  // of kvs, within which it answers every request
	impatient = 3 * time.Second  // most clients give up earlier
	patient   = 20 * time.Second // some see whether the server keeps its deadline
	hasty     = 250 * time.Millisecond

	perConnection = 3000 // requests; then a client goes to another server
)

// load is clients that keep a cluster busy. It ends with its context.
type load struct {
	*tally
	history *history
	servers []*server
	tokens  turns
	wg      sync.WaitGroup
}

// begin starts the clients, which together do as many operations a second as told, if the cluster can.
func (l *load) begin(ctx context.Context, rate int, seed uint64) {
	l.tokens = make(turns, clients*depth)
	l.wg.Go(func() { l.tokens.give(ctx, rate) })
	for i := range clients {
		c := &client{load: l, id: i, timeout: impatient, depth: depth}
		switch i % 4 {
		case 0:
			c.timeout = patient
		case 1: // NB: Others soon wait for writes when there is no quorum, and would not find a leader of old that still answers reads
			c.timeout, c.reads, c.depth = hasty, true, 2
		}
		l.wg.Go(func() { c.run(ctx, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
}

// note counts an operation.
func (l *load) note(o operation) {
	l.count(o.kind.String() + " " + o.outcome.String())
	if o.outcome == answered && (o.kind == put || o.kind == del) {
		l.wrote(o.ret)
	}
}

// client is one of them. It has one connection at a time.
type client struct {
	load    *load
	id      int
	timeout time.Duration
	depth   int
	reads   bool // and does not write
}

func (c *client) run(ctx context.Context, rng *rand.Rand) {
	for ctx.Err() == nil {
		s := c.load.servers[rng.IntN(len(c.load.servers))]
		conn, err := s.dial(ctx)
		if err != nil {
			select { // not to dial without pause while all servers are down
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
			continue
		}
		var wg sync.WaitGroup
		for range c.depth {
			own := rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
			wg.Go(func() {
				for range perConnection / c.depth {
					if !c.step(ctx, conn, own) {
						conn.Close() // the others are to leave too
						return
					}
				}
			})
		}
		wg.Wait()
		conn.Close()
	}
}

// step does one operation. False means that it is better to go to another server.
func (c *client) step(ctx context.Context, conn *conn, rng *rand.Rand) bool {
	if !c.load.tokens.take(ctx) {
		return false
	}
	o := operation{kind: put}
	switch n := rng.IntN(100); {
	case n < 5:
		o.kind = local
	case n < 40 || c.reads:
		o.kind = get
	case n < 45:
		o.kind = del
	}
	h := c.load.history
	r, value := h.begin(rng.IntN(keys))
	if o.kind == put {
		o.wrote = value
	}
	good := c.do(conn, r.key, &o)
	if h.end(r, o) {
		last := operation{kind: del} // a key that is done with leaves nothing behind, if possible
		good = c.do(conn, r.key, &last) && good
		h.submit(r, last)
	}
	return good
}

// do carries out an operation. False means that the connection, or its server, is not good for another.
func (c *client) do(conn *conn, key string, o *operation) bool {
	defer func() { c.load.note(*o) }()
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	s := conn.server
	o.client, o.server, o.boot = c.id, s.id, conn.boot
	o.call = c.load.now()
	out, err := conn.CallRaw(ctx, "Apply", o.params(key))
	o.ret = c.load.now()
	if err == nil {
		o.saw, err = parseValue(string(out))
		if err != nil {
			c.load.fault(fmt.Errorf("%s: %w", s.addr, err))
		}
		return true
	}
	o.outcome = unknown
	var answer *jsonrpc.Error
	if !errors.As(err, &answer) {
		took := time.Duration(o.ret - o.call)
		// NB: Who gives up earlier, and yet waited for so long, was on a machine that stood still.
		if errors.Is(err, context.DeadlineExceeded) && c.timeout > deadline+deadline/2 && !s.disturbed(took) {
			c.load.fault(fmt.Errorf("%s has not answered within its deadline: %v", s.addr, o))
		}
		return false
	}
	switch answer.Code {
	case 107:
	case 102, 106, 108, 110:
		o.outcome = refused
	default:
		c.load.fault(fmt.Errorf("%s answered %w: %v", s.addr, answer, o))
	}
	return answer.Code != 102 && answer.Code != 108
}

func (o *operation) params(key string) []byte {
	switch o.kind {
	case put:
		return fmt.Appendf(nil, `{"kind":"Command","input":{"Put":[%q,%d]}}`, key, o.wrote)
	case del:
		return fmt.Appendf(nil, `{"kind":"Command","input":{"Delete":%q}}`, key)
	case local:
		return fmt.Appendf(nil, `{"kind":"LocalQuery","input":{"Get":%q}}`, key)
	}
	return fmt.Appendf(nil, `{"kind":"Query","input":{"Get":%q}}`, key)
}

func parseValue(text string) (int64, error) {
	if text == "null" {
		return 0, nil
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value <= 0 {
		return 0, fmt.Errorf("answered a value that nobody wrote: %.200q", text)
	}
	return value, nil
}
