package raftpico

import (
	"context"
	"fmt"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Session is a command's place in its session: seq names the command, and the caller has the answers to all commands of
// the session up to ack. 1 ≤ Seq, Ack < Seq.
type Session struct{ ID, Seq, Ack uint64 }

// maxNumber is the largest number that a session may have, as on the wire.
const maxNumber = 1<<53 - 1

// OpenSession opens a session, and returns its id. It ends ttl after its last use, by the time that machines see: a second to
// seven days, 0 is an hour.
func (s *Server) OpenSession(ctx context.Context, ttl time.Duration) (id uint64, err error) {
	if ttl != 0 && (ttl < node.MinTTL || ttl > node.MaxTTL) || ttl%time.Millisecond != 0 {
		return 0, ErrInvalidParams.Because(fmt.Sprintf("a session can't last %v", ttl))
	}
	return s.session(ctx, node.Request{Op: node.OpenSession, TTL: ttl})
}

// KeepSession counts as a use of a session. ErrSessionEnded means that there is none any more.
func (s *Server) KeepSession(ctx context.Context, id uint64) error {
	_, err := s.session(ctx, node.Request{Op: node.KeepSession, Session: wire.SessionSeq{ID: id}})
	return err
}

// CloseSession ends a session.
func (s *Server) CloseSession(ctx context.Context, id uint64) error {
	_, err := s.session(ctx, node.Request{Op: node.CloseSession, Session: wire.SessionSeq{ID: id}})
	return err
}

func (s *Server) session(ctx context.Context, r node.Request) (uint64, error) {
	if r.Op != node.OpenSession && (r.Session.ID == 0 || r.Session.ID > maxNumber) {
		return 0, ErrInvalidParams.Because("no such session")
	}
	result, err := s.loop.Call(ctx, r)
	if err != nil {
		return 0, err
	}
	var opened struct {
		Session uint64 `json:"session"`
	}
	if err := json.Unmarshal(result, &opened); err != nil {
		return 0, fmt.Errorf("raftpico: decode the session: %w", err)
	}
	return opened.Session, nil
}

// ApplyOnce is Apply of a Command in a session: however often the same seq is sent, to whichever server, it is carried out
// once, and each call gets the same outcome. So after ErrUnknown, call it again with the same seq and input.
// ErrSessionEnded means that this call carried nothing out; whether an earlier one did can't be told any more.
func (s *Server) ApplyOnce(ctx context.Context, in Session, input any) (json.RawMessage, error) {
	if in.ID == 0 || in.Seq == 0 || in.Ack >= in.Seq || max(in.ID, in.Seq) > maxNumber {
		return nil, ErrInvalidParams.Because("a session needs an id, and 0 ≤ ack < seq < 2⁵³")
	}
	return s.apply(ctx, machine.Command, wire.SessionSeq(in), input)
}
