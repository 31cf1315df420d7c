package raftpico

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync/atomic"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// reception is a snapshot on its way in (package peer, bulk.go). The reader of its connection writes the state into a new
// log file, piece by piece, and has the machine load it; the loop is asked before, and puts it in place at the end. One
// at a time: a newer one supersedes an older one, whose sender is then told.
type reception struct {
	from  uint64
	m     *wire.Message
	bytes int64 // of the state, as announced

	file    *storage.Replacement // nil: the server has none
	memory  *memoryFile          // instead
	state   stateWriter
	checked *jsonrpc.Compactor // what comes goes through it into state
	crc     uint32
	came    int64        // bytes so far
	heard   atomic.Int64 // when, in Unix nanoseconds

	install   func() error // puts the state into the machine
	installed bool
	done      chan error // capacity 1
}

// receptionPatience is how long a sender may be silent while a snapshot of this server's own is wanted.
const receptionPatience = 30 * time.Second

// silent is how long nothing has come.
func (r *reception) silent() time.Duration { return time.Since(time.Unix(0, r.heard.Load())) }

// stateWriter is where a state is written.
type stateWriter interface {
	io.Writer
	Close() error
	Size() int64
}

// receive carries out a step of a transfer, on the reader of its connection.
func (s *Server) receive(ses *session, call *jsonrpc.Call) {
	var err error
	switch {
	case ses.from == 0:
		err = ErrNotMember.Because("this connection has not made itself known as a member")
	case call.Method == peer.MethodSnapshot:
		s.drop(ses)
		err = s.beginReception(ses, call.Params)
	case ses.incoming == nil:
		err = jsonrpc.ErrInvalidParams.Because("no snapshot is on its way")
	case call.Method == peer.MethodChunk:
		err = ses.incoming.take(call.Params)
	default:
		err = s.endReception(ses, call.Params)
	}
	if err == nil {
		call.Result(json.RawMessage("{}"))
		return
	}
	s.drop(ses)
	refusal, ok := err.(*jsonrpc.Error)
	if !ok {
		refusal = jsonrpc.ErrInternal.Because(cut(err))
	}
	call.Fail(refusal)
}

// beginReception asks the loop for a new file.
func (s *Server) beginReception(ses *session, params json.RawMessage) error {
	var p peer.Snapshot
	if err := json.Unmarshal(params, &p); err != nil {
		return jsonrpc.ErrInvalidParams.Because(cut(err))
	}
	m, err := wire.DecodeMessage(p.Message)
	if err != nil {
		return jsonrpc.ErrInvalidParams.Because(cut(err))
	}
	r := &reception{from: ses.from, m: m, bytes: p.Bytes, done: make(chan error, 1)}
	r.heard.Store(time.Now().UnixNano())
	if err := ask(s, func() error { return s.loop.beginReception(r) }); err != nil {
		return err
	}
	r.checked = jsonrpc.NewCompactor(r.state, maxPeerDepth)
	ses.incoming = r
	return nil
}

func (l *loop) beginReception(r *reception) error {
	if len(l.ready) > 0 {
		return ErrRejected.Because("another snapshot has just come")
	}
	if err := l.node.WantSnapshot(r.from, r.m); err != nil {
		return err
	}
	if l.log == nil {
		r.memory = &memoryFile{at: r.m.Snapshot.LastIncluded}
		r.state = memoryWriter{&r.memory.Buffer}
		return nil
	}
	identity, _ := l.node.Identity()
	file, err := l.log.BeginAnew()
	if err == nil {
		err = file.Write(&wire.Record{Identity: &identity})
	}
	if err != nil {
		if file != nil {
			l.log.Abort(file)
		}
		return err
	}
	r.file, r.state = file, file.BeginState(r.m.Snapshot)
	l.receiving = r
	return nil
}

// take writes the next piece.
func (r *reception) take(params json.RawMessage) error {
	var text []byte
	err := jsonrpc.Members(params, func(name, value []byte) error {
		if string(name) == "data" && len(value) >= 2 {
			text = value[1 : len(value)-1]
		}
		return nil
	})
	if err != nil {
		return jsonrpc.ErrInvalidParams.Because(cut(err))
	}
	data := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(data, text)
	if err != nil {
		return jsonrpc.ErrInvalidParams.Because(cut(err))
	}
	r.heard.Store(time.Now().UnixNano())
	if r.came += int64(n); r.came > r.bytes {
		return fmt.Errorf("raftpico: more than the %d bytes announced", r.bytes)
	}
	r.crc = crc32.Update(r.crc, peer.Castagnoli, data[:n])
	if _, err := r.checked.Write(data[:n]); err != nil {
		return fmt.Errorf("raftpico: write a snapshot: %w", err)
	}
	return nil
}

// endReception has the machine load what came, and the loop install it.
func (s *Server) endReception(ses *session, params json.RawMessage) error {
	r := ses.incoming
	var p peer.Install
	if err := json.Unmarshal(params, &p); err != nil {
		return jsonrpc.ErrInvalidParams.Because(cut(err))
	}
	if err := r.load(s, p.CRC); err != nil {
		return err
	}
	if !s.inbox.post(func() { s.loop.arrived(r) }) {
		return ErrRejected.Because("the server has stopped")
	}
	select {
	case err := <-r.done:
		if err == nil {
			ses.incoming = nil
		}
		return err
	case <-s.loopDone:
		return ErrRejected.Because("the server has stopped")
	}
}

// load completes the new file but for its last line, and reads the state from it.
func (r *reception) load(s *Server, crc uint32) error {
	if err := r.checked.Close(); err != nil {
		return err
	}
	if err := r.state.Close(); err != nil {
		return err
	}
	if r.crc != crc || r.state.Size() != r.bytes {
		return fmt.Errorf("raftpico: the snapshot is not what was sent: %d of %d bytes", r.state.Size(), r.bytes)
	}
	var state io.Reader
	if r.memory != nil {
		state = r.memory.open()
	} else {
		if err := r.file.Sync(); err != nil {
			return err
		}
		state = r.file.State()
	}
	s.loading.Lock()
	defer s.loading.Unlock()
	var err error
	r.install, err = node.Load(s.machine, state, r.bytes)
	return err
}

// arrived gives a snapshot whose state is there to the core. The next Flush decides on it.
func (l *loop) arrived(r *reception) {
	if r.file != nil && l.receiving != r {
		r.done <- storage.ErrSuperseded
		return
	}
	if err := l.node.Snapshot(r.from, r.m, uint64(r.bytes)); err != nil {
		r.done <- err
		return
	}
	l.ready = append(l.ready, r)
}

// Install implements node.Env.
func (l *loop) Install(snap *wire.Snapshot, hard *wire.HardState) error {
	for _, r := range l.ready {
		if r.m.Snapshot.LastIncluded == snap.LastIncluded && !r.installed {
			return l.installReceived(r, hard)
		}
	}
	return errors.New("raftpico: its state is not there")
}

func (l *loop) installReceived(r *reception, hard *wire.HardState) error {
	if r.file != nil {
		if err := r.file.Write(&wire.Record{HardState: hard}); err != nil {
			return err
		}
	}
	if err := r.install(); err != nil {
		return err
	}
	if r.file != nil {
		if err := l.commit(r.file); err != nil {
			return err
		}
	} else {
		l.memory = r.memory
	}
	r.installed = true
	if l.receiving == r {
		l.receiving = nil
	}
	return nil
}

// settleReceptions tells those who sent snapshots what a Flush has made of them.
func (l *loop) settleReceptions() {
	for _, r := range l.ready {
		if r.installed {
			r.done <- nil
		} else {
			r.done <- errors.New("raftpico: the snapshot is not wanted any more")
		}
	}
	l.ready = nil
}

// drop gives up what a connection was sending. The reader does not touch it any more.
func (s *Server) drop(ses *session) {
	r := ses.incoming
	if r == nil {
		return
	}
	ses.incoming = nil
	taken := s.inbox.post(func() {
		if s.loop.receiving == r {
			s.loop.receiving = nil
		}
		if r.file != nil && !r.installed {
			s.loop.abort(r.file)
		}
	})
	if !taken && r.file != nil && !r.installed {
		r.file.Drop() // closing the log removes its name
	}
}

// memoryWriter writes a state into memory.
type memoryWriter struct{ buf *bytes.Buffer }

func (w memoryWriter) Write(p []byte) (int, error) { return w.buf.Write(p) }
func (w memoryWriter) Close() error                { return nil }
func (w memoryWriter) Size() int64                 { return int64(w.buf.Len()) }
