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
	if s.loop.Crowded() {
		return refused(ErrBusy.Because("too many requests are under way"))
	}
	p := new(Pending)
	var err error
	if p.asked, err = s.ask(ctx, kind, wire.SessionSeq{}, input, &p.room); err != nil {
		return refused(err)
	}
	return p
}

func refused(err error) *Pending { return &Pending{asked: loop.Done(nil, err), ended: true} }

// Pending is a request that was begun. It must not be copied.
type Pending struct {
	mu    sync.Mutex
	asked loop.Asked
	ended bool // asked has the outcome that Wait returns
	room  room
}

// room is for the input and the result of a request, where they are small: thousands a second are begun, and memory that comes
// with a Pending costs less than memory of its own.
type room struct{ input, result [32]byte }

// forInput is where n bytes of input are put, empty.
func (r *room) forInput(n int) []byte {
	if r == nil || n > len(r.input) {
		return make([]byte, 0, n)
	}
	return r.input[:0:n]
}

// forResult is where a result may be put, nil if nowhere.
func (r *room) forResult() []byte {
	if r == nil {
		return nil
	}
	return r.result[:0]
}

// Wait waits for the outcome, which is that of [Server.Apply]. It may be called on any goroutine, and again: then the outcome is
// the same, in the same memory. Nobody has to call it.
func (p *Pending) Wait() (json.RawMessage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		result, err := p.asked.Wait()
		p.asked, p.ended = loop.Done(result, api.Own(err)), true
	}
	return p.asked.Wait()
}
