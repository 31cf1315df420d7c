package raftpico

import (
	"context"
	"sync"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/loop"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Begin is [Server.Apply] that does not wait: so whoever has many requests under way needs no goroutine for each of them.
// Commands that one goroutine begins are taken in that order. The deadline of ctx always counts; that it was cancelled is
// noticed in Wait. With Limits.MaxPending requests under way it is ErrBusy.
func (s *Server) Begin(ctx context.Context, kind machine.Kind, input any) *Pending {
	p := new(Pending)
	if s.loop.Crowded() {
		p.over, p.err = true, ErrBusy.Because("too many requests are under way")
		return p
	}
	p.asked, p.err = s.ask(ctx, kind, wire.SessionSeq{}, input)
	p.over = p.err != nil
	return p
}

// Pending is a request that was begun. It must not be copied.
type Pending struct {
	mu     sync.Mutex
	asked  loop.Asked
	over   bool // it has ended so:
	result json.RawMessage
	err    error
}

// Wait waits for the outcome, which is that of [Server.Apply]. It may be called on any goroutine, and again: then the outcome is
// the same, in the same memory. Nobody has to call it.
func (p *Pending) Wait() (json.RawMessage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		result, err := p.asked.Wait()
		p.asked, p.over, p.result, p.err = loop.Asked{}, true, result, api.Own(err)
	}
	return p.result, p.err
}
