package peer

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// A snapshot travels in pieces over a connection of its own, so that heartbeats need not wait behind it. After the
// handshake comes
//
//	> {"jsonrpc":"2.0","method":"raftpico.Snapshot","params":{"message":{"type":"MsgSnap",…},"bytes":1073741824},"id":2}
//	< {"jsonrpc":"2.0","id":2,"result":{}}
//	> {"jsonrpc":"2.0","method":"raftpico.Chunk","params":{"data":"eyJh…"},"id":3}      and so on
//	< {"jsonrpc":"2.0","id":3,"result":{}}
//	> {"jsonrpc":"2.0","method":"raftpico.Install","params":{"crc":2583613377},"id":9}
//	< {"jsonrpc":"2.0","id":9,"result":{}}                                                when it is durable, and in use
//
// The message is a MsgSnap without the user's state; the chunks are that state, in base64; the crc is CRC-32C over
// it. What breaks off is begun anew by Raft. One transfer a link at a time, and none outlives the link's main connection:
// that one's pings notice when the other side is gone.

// The methods of a transfer.
const (
	MethodSnapshot = "raftpico.Snapshot"
	MethodChunk    = "raftpico.Chunk"
	MethodInstall  = "raftpico.Install"
)

// Snapshot announces a transfer.
type Snapshot struct {
	Message json.RawMessage `json:"message"`
	Bytes   int64           `json:"bytes"` // of the user's state
}

// Chunk is the next piece of the state.
type Chunk struct {
	Data []byte `json:"data"`
}

// Install ends a transfer.
type Install struct {
	CRC uint32 `json:"crc"`
}

// Castagnoli is the polynomial of a transfer's crc.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	chunkSize     = 1 << 20          // bytes of state
	maxUnanswered = 4                // chunks under way
	chunkPatience = 20 * time.Second // for the answer to one: the other side's disk may be slow
)

// State is the user's state of a snapshot.
type State interface {
	io.Reader
	io.Closer
	Size() int64 // bytes
}

// SendSnapshot starts the transfer of a MsgSnap and its state, on a goroutine that ends with it or with the link; the
// event Delivered or Lost tells how. It also takes what is under way already. False means that it was not taken. The state is
// closed in any case.
func (l *Link) SendSnapshot(m *wire.Message, state State) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	wanted := &sending{ctx: l.upCtx, term: m.Raft.GetTerm(), last: m.Snapshot.LastIncluded}
	if !l.up || l.sending != nil {
		_ = state.Close()
		return l.up && *l.sending == *wanted // the library may ask for it twice in a turn
	}
	l.sending = wanted
	l.bulk.Go(func() {
		err := l.transfer(wanted.ctx, m, state)
		_ = state.Close()
		l.ends(m, err)
		l.mu.Lock()
		l.sending = nil // afterwards: who is told of this end must not take it for that of the next one
		l.mu.Unlock()
	})
	return true
}

// sending names a transfer that is under way.
type sending struct {
	ctx  context.Context // ends with the link's connection
	term uint64          // of the leader
	last wire.EntryID    // in the snapshot
}

// ends tells how a transfer has ended.
func (l *Link) ends(m *wire.Message, err error) {
	if err == nil {
		l.opts.Event(l, Delivered)
		return
	}
	if l.ctx.Err() == nil {
		l.opts.Logger.Info("snapshot not sent", "server", l.ID, "index", m.Snapshot.LastIncluded.Index, "err", err)
	}
	l.opts.Event(l, Lost)
	if errors.Is(err, errUnread) {
		l.opts.Event(l, Spoiled)
	}
}

var errUnread = errors.New("peer: the state can't be read")

func (l *Link) transfer(ctx context.Context, m *wire.Message, state State) error {
	x, err := l.open(ctx, l.connected())
	if err != nil {
		return err
	}
	defer x.conn.Close()
	defer context.AfterFunc(ctx, func() { x.conn.Close() })()
	message, err := wire.AppendMessage(nil, m)
	if err != nil {
		return err
	}
	if err := x.call(MethodSnapshot, &Snapshot{message, state.Size()}, new(struct{})); err != nil {
		return err
	}
	crc, err := x.sendChunks(state)
	if err != nil {
		return err
	}
	if err := x.conn.SetReadDeadline(time.Time{}); err != nil { // the other side decodes the state now
		return err
	}
	return x.call(MethodInstall, &Install{crc}, new(struct{}))
}

// sendChunks sends the state, with a few chunks under way, and returns its crc.
func (x *exchange) sendChunks(state io.Reader) (crc uint32, err error) {
	data, line := make([]byte, chunkSize), []byte(nil)
	first := x.id // that is not answered
	answer := func() error {
		if err := x.conn.SetReadDeadline(time.Now().Add(chunkPatience)); err != nil {
			return err
		}
		first++
		return x.answer(MethodChunk, first-1, new(struct{}))
	}
	for more := true; more; {
		n, err := io.ReadFull(state, data)
		more = err == nil
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return 0, fmt.Errorf("%w: %w", errUnread, err)
		}
		crc = crc32.Update(crc, Castagnoli, data[:n])
		line = append(line[:0], `{"jsonrpc":"2.0","method":"`+MethodChunk+`","params":{"data":"`...)
		line = base64.StdEncoding.AppendEncode(line, data[:n])
		line = strconv.AppendInt(append(line, `"},"id":`...), int64(x.id), 10)
		if err := writeAll(x.conn, append(line, "}\n"...)); err != nil {
			return 0, err
		}
		if x.id++; x.id-first >= maxUnanswered {
			if err := answer(); err != nil {
				return 0, err
			}
		}
	}
	for first < x.id {
		if err := answer(); err != nil {
			return 0, err
		}
	}
	return crc, nil
}
