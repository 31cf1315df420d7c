package loop

import (
	"context"
	"errors"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/raftpico/internal/node"
)

// Call takes the way of a request from the network, for a caller in process, and waits for its answer.
func (l *Loop) Call(ctx context.Context, r node.Request) (json.RawMessage, error) {
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(node.ErrRejected.Because("the context had ended before"), err)
	}
	if isLocal(&r) {
		if o, done := l.locally(r.Input); done {
			return o.unpack()
		}
	}
	w := waiters.Get().(waiter)
	if !l.inbox.submit(Request{Request: r, caller: w}) {
		return nil, errStopped
	}
	select {
	case o := <-w:
		waiters.Put(w)
		return o.unpack()
	case <-ctx.Done():
		return nil, errors.Join(node.ErrUnknown.Because("the context ended"), ctx.Err())
	}
}
