package front

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/backup"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// A client gets a backup in pieces, over one connection:
//
//	> {"jsonrpc":"2.0","method":"BeginBackup","id":0}
//	< {"jsonrpc":"2.0","id":0,"result":{"format":1,"cluster_id":"…","index":907,…}}
//	> {"jsonrpc":"2.0","method":"ReadBackup","params":{"offset":0},"id":1}                    and so on
//	< {"jsonrpc":"2.0","id":1,"result":{"offset":0,"data":"eyJC…","end":false}}
//
// The pieces are the file's bytes (package backup). The server holds the file that its log was, however often that is
// replaced meanwhile, so there are few backups at once, and one that is not read on is dropped.

const (
	beginBackup = "BeginBackup"
	readBackup  = "ReadBackup"

	maxBackups     = 4           // at once
	backupPatience = time.Minute // from one piece to the next
	backupPiece    = 1 << 20     // bytes
)

// backups are those of all connections. Its methods may be called from any goroutine.
type backups struct {
	opening sync.WaitGroup // goroutines that wait for a snapshot; each ends with its request
	mu      sync.Mutex
	count   int
}

func (b *backups) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count >= maxBackups {
		return false
	}
	b.count++
	return true
}

func (b *backups) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count--
}

// outgoing is a connection's backup. It is read by the connection's reader, and dropped by that or by its timer.
type outgoing struct {
	of     *backups
	mu     sync.Mutex
	over   bool           // the connection has ended
	stream *backup.Stream // nil: there is none
	timer  *time.Timer
	buf    []byte
}

var (
	errManyBackups = node.ErrBusy.Because("as many backups are under way as there may be, " + strconv.Itoa(maxBackups))
	errNoBackup    = jsonrpc.ErrInvalidParams.Because("no backup is under way on this connection, or it was not read for a minute: begin it again")
)

// beginBackup lets a connection's backup be opened when the server has the snapshot for it. One that is under way on the
// connection ends.
func (f *Front) beginBackup(conn *jsonrpc.Conn, call *jsonrpc.Call, r node.Request) {
	out := sessionOf(conn).outgoing(&f.backups)
	out.drop()
	if !f.backups.enter() {
		f.count(beginBackup, errManyBackups)
		call.Fail(errManyBackups)
		return
	}
	own := *call // it may be copied, and this one is used again
	f.backups.opening.Go(func() {
		defer conn.Flush()
		head, err := f.openBackup(out, r)
		if err == nil {
			own.Result(head)
			return
		}
		f.backups.leave()
		own.Fail(asRefusal(err))
	})
}

func (f *Front) openBackup(out *outgoing, r node.Request) (head json.RawMessage, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(r.Deadline, f.loop.Deadline))
	defer cancel()
	if _, err := f.loop.Call(ctx, r); err != nil {
		return nil, err
	}
	stream, err := f.loop.OpenBackup(ctx)
	if err != nil {
		return nil, err
	}
	if head, err = wire.Marshal(stream.Head); err == nil {
		err = out.open(stream)
	}
	if err != nil {
		return nil, errors.Join(err, stream.Close())
	}
	return head, nil
}

// asRefusal is an error as a client gets it.
func asRefusal(err error) *jsonrpc.Error {
	if refusal, ok := errors.AsType[*jsonrpc.Error](err); ok {
		return refusal
	}
	return jsonrpc.ErrInternal.Because(cut(err))
}

// outgoing is the backup of a connection, which its reader asks for.
func (ses *session) outgoing(of *backups) *outgoing {
	if ses.backup == nil {
		ses.backup = &outgoing{of: of}
	}
	return ses.backup
}

func (o *outgoing) open(stream *backup.Stream) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.over:
		return node.ErrRejected.Because("the connection has ended")
	case o.stream != nil:
		return node.ErrRejected.Because("another backup was begun on this connection")
	}
	o.stream = stream
	o.timer = time.AfterFunc(backupPatience, o.drop)
	return nil
}

// drop gives up what is under way.
func (o *outgoing) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dropLocked()
}

func (o *outgoing) dropLocked() {
	if o.stream == nil {
		return
	}
	o.timer.Stop()
	_ = o.stream.Close()
	o.stream, o.buf = nil, nil
	o.of.leave()
}

// end is called when the connection is gone.
func (o *outgoing) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
	o.dropLocked()
}

// readBackup answers with the next piece, on the connection's reader.
func (f *Front) readBackup(conn *jsonrpc.Conn, call *jsonrpc.Call) {
	offset, err := decodeOffset(call.Params)
	if err != nil {
		call.Fail(jsonrpc.ErrInvalidParams.Because(cut(err)))
		return
	}
	answer, err := sessionOf(conn).outgoing(&f.backups).next(offset)
	if err != nil {
		call.Fail(asRefusal(err))
		return
	}
	call.Result(answer)
}

// next reads the next piece, which must begin at offset, and returns the answer.
func (o *outgoing) next(offset int64) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.stream == nil:
		return nil, errNoBackup
	case offset != o.stream.Bytes():
		return nil, jsonrpc.ErrInvalidParams.Because("offset must be " + strconv.FormatInt(o.stream.Bytes(), 10) + ": the pieces come in their order")
	}
	o.timer.Reset(backupPatience)
	if o.buf == nil {
		o.buf = make([]byte, backupPiece)
	}
	n, err := io.ReadFull(o.stream, o.buf)
	over := err == io.EOF || err == io.ErrUnexpectedEOF
	if err != nil && !over {
		o.dropLocked()
		return nil, err
	}
	answer := make([]byte, 0, base64.StdEncoding.EncodedLen(n)+64)
	answer = append(strconv.AppendInt(append(answer, `{"offset":`...), offset, 10), `,"data":"`...)
	answer = base64.StdEncoding.AppendEncode(answer, o.buf[:n])
	answer = append(strconv.AppendBool(append(answer, `","end":`...), over), '}')
	if over {
		o.dropLocked()
	}
	return answer, nil
}

// noOffset is one that no param can be.
const noOffset = math.MaxUint64

var readParams = method{params: []string{"offset"}, strict: true, set: func(r *node.Request, param string, value json.RawMessage) (err error) {
	r.NodeID, err = decodeNumber(param, value, 0, maxNumber)
	return err
}}

// decodeOffset decodes the params of ReadBackup.
func decodeOffset(params json.RawMessage) (int64, error) {
	r := node.Request{NodeID: noOffset}
	err := readParams.decode(&r, params)
	if err == nil && r.NodeID == noOffset {
		err = errors.New("offset is missing")
	}
	return int64(r.NodeID), err
}
