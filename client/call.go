package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
)

// Bounds of what servers take, unless their options say otherwise.
const (
	longestTimeout = 5 * time.Minute
	firstTimeout   = 10 * time.Second
	maxDepth       = jsonrpc.MaxDepth - 2 // of an input: the request and its params are around it
	maxInput       = 16<<20 - 1<<10       // bytes: a line of 16 MiB, and what is around the input
)

// maxKept is how large memory may be that is kept for the next request, in bytes.
const maxKept = 64 << 10

// Waits between attempts, when one was refused.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = 500 * time.Millisecond
	shunning   = time.Second      // how long a server that refused or was lost is not asked if others are there
	banishing  = 10 * time.Second // and one that belongs to no cluster
)

// Applier is a Client or a Session.
type Applier interface {
	Apply(ctx context.Context, kind machine.Kind, input, output any) error
}

// Call is Apply that returns the output:
//
//	sum, err := client.Call[int](ctx, c, machine.Command, 5)
func Call[Out any](ctx context.Context, a Applier, kind machine.Kind, input any) (out Out, err error) {
	err = a.Apply(ctx, kind, input, &out)
	return out, err
}

// Apply hands input to the cluster's machine, and decodes what it answers into output, unless that is nil. Input is encoded as
// JSON, json.RawMessage taken as it is.
//
// It tries until there is an answer or ctx ends, so give ctx a deadline. Then the error wraps ctx's, and ErrUnknown if a
// Command may have been applied; else ErrRejected, ErrNoLeader or ErrBusy. Errors of the machine are returned at once: errors.As
// finds its own ones as a *machine.Error, and [ErrorData] their data.
func (c *Client) Apply(ctx context.Context, kind machine.Kind, input, output any) error {
	r := requests.Get().(*request)
	defer r.release()
	if err := r.apply(kind, input); err != nil {
		return err
	}
	var out json.RawMessage
	var err error
	if kind == machine.Command && !c.opts.NoSessions {
		out, err = c.pool.apply(ctx, r)
	} else {
		out, err = c.do(ctx, r)
	}
	return decode(out, err, output)
}

// request is one that may take several attempts.
type request struct {
	method   string
	leader   bool // the leader has to see it anyway
	again    bool // it does no harm twice
	timed    bool // its deadline is told (Apply)
	harmless bool // nobody minds if it is carried out in vain

	only    *server // nil: any
	session *session
	seq     uint64

	head           []byte // params up to what each attempt adds
	params         []byte // of an attempt
	out            []byte // memory for the result
	doubt          bool   // an attempt may have been applied
	doubts         int    // attempts of which that is true
	refusedTimeout int64  // in milliseconds: it may be why an attempt was refused, and is left out
}

var requests = sync.Pool{New: func() any { return new(request) }}

func (r *request) release() {
	if cap(r.params) <= maxKept && cap(r.out) <= maxKept {
		*r = request{head: r.head[:0], params: r.params[:0], out: r.out[:0]}
		requests.Put(r)
	}
}

// apply makes r an Apply.
func (r *request) apply(kind machine.Kind, input any) error {
	name, err := kind.MarshalText()
	if err != nil {
		return ErrInvalidParams.Because(err.Error())
	}
	encoded, ok := input.(json.RawMessage)
	if !ok || encoded == nil {
		if encoded, err = json.MarshalWithOption(input, json.DisableHTMLEscape()); err != nil {
			return fmt.Errorf("client: encode the input: %w", err)
		}
	}
	if err := jsonrpc.Valid(encoded, maxDepth); err != nil {
		return ErrInvalidParams.Because(err.Error())
	}
	if len(encoded) > maxInput {
		return ErrInvalidParams.Because(fmt.Sprintf("the input is longer than %d bytes", maxInput))
	}
	reads := kind != machine.Command
	r.method, r.leader, r.again, r.timed, r.harmless = "Apply", !reads, reads, true, reads
	r.head = append(append(append(r.head[:0], `{"kind":"`...), name...), `","input":`...)
	r.head = append(r.head, jsonrpc.Compact(encoded)...)
	return nil
}

// attempt is the params of an attempt; timeout is in milliseconds, 0: the server's own.
func (r *request) attempt(timeout int64) []byte {
	if !r.timed {
		return r.head
	}
	p := append(r.params[:0], r.head...)
	if timeout > 0 {
		p = strconv.AppendInt(append(p, `,"timeout_ms":`...), timeout, 10)
	}
	if r.session != nil {
		p = r.session.appendTo(p, r.seq)
	}
	r.params = append(p, '}')
	return r.params
}

// do carries a request out: it makes attempts until one is decisive, or ctx ends.
func (c *Client) do(ctx context.Context, r *request) (json.RawMessage, error) {
	var last error
	var strangers []*server
	for tries := 0; ; tries++ {
		s, conn, err := c.connected(ctx, r)
		if err != nil {
			if last == nil {
				last = c.servers.why()
			}
			return nil, ended(r.doubt, last, err)
		}
		timeout := c.timeout(ctx, r)
		out, err := conn.AppendCall(ctx, r.out[:0], r.method, r.attempt(timeout))
		if r.refusedTimeout > 0 && !errors.Is(err, ErrInvalidParams) { // that was it
			c.longest.Store(r.refusedTimeout / 2)
			r.refusedTimeout = 0
		}
		if err == nil {
			r.out = out
			return out, nil
		}
		_, answered := err.(*jsonrpc.Error)
		if !answered && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil, ended(r.doubt || !r.harmless && !isNotSent(err), last, ctx.Err())
		}
		last = err
		if !answered {
			c.servers.lost(s, conn)
			if tooLong(r, err) {
				return nil, ended(!r.harmless, nil, err)
			}
		}
		pause := tries > 0
		means := judge(err)
		if means != final {
			tell(ctx, err)
		}
		switch means {
		case final:
			if timeout > 0 && errors.Is(err, ErrInvalidParams) { // its limit may be lower than we know
				r.refusedTimeout = timeout
				continue
			}
			if r.doubt && !isOutcome(err) {
				err = fmt.Errorf("client: %w: %w", ErrUnknown, err)
			}
			return nil, err
		case refused:
			if leader := leaderOf(err); leader != "" && leader != s.addr {
				c.servers.led(leader)
			} else {
				pause = answered || pause
			}
			if r.session != nil && !r.doubt && errors.Is(err, ErrBusy) && c.pool.full(r.session) {
				return nil, errMove
			}
			c.servers.shun(s, shunning)
		case stranger:
			c.servers.shun(s, banishing)
			strangers = append(strangers, s)
			if !r.doubt && (r.only != nil || c.servers.homeless(strangers)) {
				return nil, err
			}
		case doubtful:
			r.doubt = !r.harmless
			r.doubts++
			c.servers.shun(s, shunning)
			if !r.again && r.session == nil {
				if answered {
					return nil, err
				}
				if c.ctx.Err() != nil {
					err = ErrClosed
				}
				return nil, fmt.Errorf("client: %w: %w", ErrUnknown, err)
			}
		}
		if pause {
			if err := c.pause(ctx, jitter(min(firstPause<<min(tries, 10), lastPause))); err != nil {
				return nil, ended(r.doubt, last, err)
			}
		}
	}
}

// connected is a server to ask, with its connection: it waits for one until ctx or the client ends.
func (c *Client) connected(ctx context.Context, r *request) (*server, *jsonrpc.Client, error) {
	for {
		s := r.only
		if s == nil {
			s = c.servers.choose(r.leader)
		}
		if s != nil {
			conn, full := s.conn()
			if full {
				c.servers.more(s)
			}
			if conn != nil {
				return s, conn, nil
			}
		}
		if why := c.servers.why(); why != nil {
			tell(ctx, why)
		}
		changed, again := c.servers.connect(r.only)
		t := time.NewTimer(again)
		select {
		case <-changed:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, nil, ctx.Err()
		case <-c.ctx.Done():
			t.Stop()
			return nil, nil, ErrClosed
		}
		t.Stop()
	}
}

// timeout is how long a server may take, in milliseconds: until shortly before ctx ends, so that its answer still comes. Zero
// is what it does by itself. A Command in a session, which is sent again in any case, gets less at first: the server may be cut
// off, and another one know more.
func (c *Client) timeout(ctx context.Context, r *request) int64 {
	end, ok := ctx.Deadline()
	if !ok || !r.timed || r.refusedTimeout > 0 {
		return 0
	}
	left := time.Until(end)
	left -= min(left/10, 100*time.Millisecond)
	if r.session != nil {
		left = min(left, firstTimeout<<min(r.doubts, 8))
	}
	return min(max(left.Milliseconds(), 1), c.longest.Load())
}

// decode ends a call.
func decode(out json.RawMessage, err error, output any) error {
	if err != nil || output == nil {
		return api.Own(err)
	}
	if err := json.Unmarshal(out, output); err != nil {
		return fmt.Errorf("client: decode the output: %w", err)
	}
	return nil
}

// tooLong tells whether a connection may be lost because a server does not take so long a line: it says no more than that it
// refuses one. Sent again, it would break connections for ever.
func tooLong(r *request, err error) bool {
	refusal, ok := errors.AsType[*jsonrpc.Error](err)
	return ok && refusal != nil && len(r.head) > 64<<10
}

func isNotSent(err error) bool { return errors.Is(err, jsonrpc.ErrNotSent) }
