package loop

import (
	"context"
	"errors"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// Call takes the way of a request from the network, for a caller in process, and waits for its answer.
func (l *Loop) Call(ctx context.Context, r node.Request) (json.RawMessage, error) {
	c := l.Ask(ctx, r, nil)
	return c.Wait()
}

// Asked is a request of a caller in process that is under way.
type Asked struct {
	loop   *Loop
	ctx    context.Context
	reads  bool    // it changes nothing
	waiter *waiter // nil: the request is over
	result json.RawMessage
	err    error
}

// Done is a request that is over.
func Done(result json.RawMessage, err error) Asked { return Asked{result: result, err: err} }

// Ask is Call that does not wait. A result that fits into room's capacity is put there: nobody else may touch that any more.
func (l *Loop) Ask(ctx context.Context, r node.Request, room []byte) Asked {
	if err := ctx.Err(); err != nil {
		return Done(nil, errors.Join(node.ErrRejected.Because("the context had ended before"), err))
	}
	if l.needsNoTurn(&r) {
		if o, done := l.atOnce(&r); done {
			return Done(o.unpack())
		}
	}
	c := Asked{loop: l, ctx: ctx, reads: r.Op == node.Apply && r.Kind != machine.Command}
	if end, ends := ctx.Deadline(); ends {
		r.Deadline = max(time.Until(end)-margin, 1)
	}
	w := waiters.Get().(*waiter)
	w.room, w.method, w.came = room, MethodOf(&r), l.began.Add(time.Since(l.began)) // half as much as time.Now
	r.Near = true
	if !l.inbox.put(nil, Request{Request: r, caller: w}) {
		return Done(nil, errStopped)
	}
	l.inbox.ringNear()
	c.waiter = w
	return c
}

// Crowded tells whether so much waits for the next turn that who need not wait for an answer must ask for no more: nothing else
// bounds that.
func (l *Loop) Crowded() bool { return l.inbox.crowded(l.MaxPending) }

// Wait waits for the answer. It is called once, or often where the request is over.
func (c *Asked) Wait() (json.RawMessage, error) {
	w := c.waiter
	if w == nil {
		return c.result, c.err
	}
	if o, came := w.receive(c.ctx.Done()); came {
		if !o.early {
			w.room = nil
			waiters.Put(w)
		}
		if o.err != nil && c.late() {
			return nil, o.late(context.DeadlineExceeded)
		}
		return o.unpack()
	}
	// NB: From here on w is never used again: a Cancel that comes late must find nobody else.
	c.loop.inbox.submit(Request{Request: node.Request{Op: node.Cancel}, caller: w})
	patience := time.NewTimer(margin)
	defer patience.Stop()
	select {
	case o := <-w.outcome: // what became of it is certain, perhaps
		return o.result, o.late(c.ctx.Err())
	case <-patience.C: // the disk hangs, or the machine is at work
		if !w.tell(outcome{}) {
			o := <-w.outcome
			return o.result, o.late(c.ctx.Err())
		}
		certain := node.ErrUnknown
		if c.reads {
			certain = node.ErrRejected
		}
		return nil, errors.Join(certain.Because("the context ended"), c.ctx.Err())
	}
}

// late tells whether the context ends about now.
func (c *Asked) late() bool {
	end, ends := c.ctx.Deadline()
	return ends && time.Until(end) <= margin
}

// receive waits for the outcome, unless the channel, which may be nil, is closed before.
func (w *waiter) receive(over <-chan struct{}) (o outcome, came bool) {
	if over == nil {
		return <-w.outcome, true // a quarter of what the other one costs
	}
	select {
	case o = <-w.outcome:
		return o, true
	case <-over:
		return o, false
	}
}

// late is the error of an outcome that is received when the context has ended, with why. What the machine has said itself came
// before that.
func (o outcome) late(ended error) error {
	switch {
	case o.err == nil:
		return nil
	case o.err.Code >= 1000:
		return o.err
	}
	return errors.Join(o.err, ended)
}

// margin is how much before its caller's deadline a request ends, so that the answer is there in time.
const margin = 5 * time.Millisecond
