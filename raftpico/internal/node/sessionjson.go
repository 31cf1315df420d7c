package node

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// sessionJSON is the form of a session in snapshots.
type sessionJSON struct {
	ID       uint64        `json:"id"`
	TTL      int64         `json:"ttl"`
	Last     int64         `json:"last"`
	Acked    uint64        `json:"acked,omitempty"`
	Outcomes []outcomeJSON `json:"outcomes,omitempty"`
}

// outcomeJSON is the form of an outcome. With neither a result nor an error it is deferred.
type outcomeJSON struct {
	Seq    uint64          `json:"seq"`
	At     machine.Ticket  `json:"at"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *jsonrpc.Error  `json:"error,omitempty"`
}

// append appends the JSON array of the sessions, in their order: as they are, or without what may differ from server to
// server.
func (s *sessions) append(dst []byte, alike bool) []byte {
	number := func(name string, n uint64) {
		dst = append(dst, name...)
		dst = strconv.AppendUint(dst, n, 10)
	}
	dst = append(slices.Grow(dst, s.bytes+128*s.count()), '[')
	for e := s.all.Front(); e != nil; e = e.Next() {
		it := e.Value.(*session)
		if e != s.all.Front() {
			dst = append(dst, ',')
		}
		number(`{"id":`, it.id)
		number(`,"ttl":`, uint64(it.ttl))
		dst = append(dst, `,"last":`...)
		dst = strconv.AppendInt(dst, it.last, 10)
		if it.acked > 0 {
			number(`,"acked":`, it.acked)
		}
		for i, o := range it.outcomes {
			if i == 0 {
				dst = append(dst, `,"outcomes":[`...)
			} else {
				dst = append(dst, ',')
			}
			number(`{"seq":`, o.seq)
			number(`,"at":{"index":`, o.ticket.Index)
			number(`,"offset":`, uint64(o.ticket.Offset))
			dst = append(dst, '}')
			switch {
			case o.err != nil:
				dst = append(dst, `,"error":`...)
				dst = append(dst, encodeError(o.err, alike)...)
			case o.done:
				dst = append(dst, `,"result":`...)
				dst = append(dst, o.result...)
			}
			dst = append(dst, '}')
		}
		if len(it.outcomes) > 0 {
			dst = append(dst, ']')
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func encodeError(e *jsonrpc.Error, alike bool) []byte {
	if alike && worded(e) {
		e = &jsonrpc.Error{Code: e.Code, Message: e.Message}
	}
	b, err := wire.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("node: encode an outcome: %v", err)) // its data are JSON: it can't fail
	}
	return b
}

// decodeSessions is the inverse of append.
func decodeSessions(encoded []sessionJSON) (*sessions, error) {
	s := newSessions()
	for i := range encoded {
		j := &encoded[i]
		if s.by[j.ID] != nil || j.ID == 0 || j.TTL <= 0 {
			return nil, fmt.Errorf("bad session %d", j.ID)
		}
		it := &session{id: j.ID, ttl: j.TTL, last: j.Last, acked: j.Acked}
		s.add(it)
		for k := range j.Outcomes {
			o := &j.Outcomes[k]
			if _, found := it.index(o.Seq); found || o.Seq <= it.acked || o.At.Offset < 0 {
				return nil, fmt.Errorf("bad seq %d of session %d", o.Seq, j.ID)
			}
			s.keep(&outcome{of: it, seq: o.Seq, ticket: o.At, done: o.Result != nil || o.Error != nil, result: o.Result, err: o.Error})
		}
	}
	return s, nil
}
