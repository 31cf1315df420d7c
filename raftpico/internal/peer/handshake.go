// Package peer keeps the links from one server to the others: dial, handshake, queue, redial.
//
// # Handshake
//
// A link carries messages one way, from the server that dialled; answers come over a link of the other's own. It runs
// over the same port and the same framing as clients' requests, and begins with
//
//	> {"jsonrpc":"2.0","method":"raftpico.Hello","params":{"protocol":1,"cluster_id":"…","from":{"id":1,"instance":"…","addr":"…"},"to":{"id":5,"instance":"…"},"nonce":"…"},"id":0}
//	< {"jsonrpc":"2.0","id":0,"result":{"protocol":1,"instance":"…","cluster_id":"…","node_id":5,"nonce":"…","mac":"…"}}
//	> {"jsonrpc":"2.0","method":"raftpico.Prove","params":{"mac":"…"},"id":1}
//	< {"jsonrpc":"2.0","id":1,"result":{}}
//	> {"jsonrpc":"2.0","method":"raftpico.Message","params":{…}}        and so on, notifications
//	> {"jsonrpc":"2.0","method":"raftpico.Ping","id":0}                  every second
//	< {"jsonrpc":"2.0","id":0,"result":{"log_bytes":48213,"snapshot_bytes":17100,"clock_ms":1795265203908,"state_hash":{"index":907,"hash":"snapshot:08c9406a14dc3429"}}}
//
// Both sides prove that they know the cluster's key by an HMAC over all that was said, the accepting side first. A
// Hello without a cluster only asks who is there. Where the answer names the instance that the dialler means and no
// cluster, the dialler gives that server its place in the cluster, and says Hello again:
//
//	> {"jsonrpc":"2.0","method":"raftpico.Join","params":{"identity":{"cluster_id":"…","key":"…","node_id":5},"instance":"…"},"id":1}
//	< {"jsonrpc":"2.0","id":1,"result":{}}
//
// An answer to Hello has "level" too: what the release can read (wire.Level; missing: 0). It has "machine_version" if the
// machine has one (machine.Versioned); a pong has "state_hash" as soon as the state was hashed once, and
// "moved", as from is above, where members have proved to be at other addresses than the list has.
//
// # Bootstrap
//
// Servers that are to create a cluster ask each other, each time over a connection of its own (package join):
//
//	> {"jsonrpc":"2.0","method":"raftpico.Bootstrap","params":{"protocol":1,"servers":["a:4000","b:4000"],"from":"a:4000","instance":"…","cluster_id":"…","promise":true},"id":0}
//	< {"jsonrpc":"2.0","id":0,"result":{"addr":"b:4000","instance":"…","promised":true}}
//
// # Trust
//
// This keeps clients from posing as members. It does not hide anything from a listener on the wire.
package peer

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/join"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Protocol is the version of what servers say to each other.
const Protocol = 1

// The methods between servers.
const (
	MethodHello   = "raftpico.Hello"
	MethodJoin    = "raftpico.Join"
	MethodProve   = "raftpico.Prove"
	MethodMessage = "raftpico.Message"
	MethodPing    = "raftpico.Ping"

	MethodBootstrap = "raftpico.Bootstrap"
)

// Name is a server as a handshake names it.
type Name struct {
	ID       uint64 `json:"id"`
	Instance string `json:"instance"`
	Addr     string `json:"addr,omitempty"`
}

// Hello opens a handshake. Without a ClusterID it only asks who is there.
type Hello struct {
	Protocol  int    `json:"protocol"`
	ClusterID string `json:"cluster_id,omitempty"`
	From      Name   `json:"from,omitzero"`
	To        Name   `json:"to,omitzero"`
	Nonce     string `json:"nonce,omitempty"`
}

// HelloAnswer tells who accepted. ClusterID and NodeID are empty if it belongs to no cluster; then there is no MAC.
type HelloAnswer struct {
	Protocol  int    `json:"protocol"`
	Instance  string `json:"instance"`
	ClusterID string `json:"cluster_id,omitempty"`
	NodeID    uint64 `json:"node_id,omitempty"`
	Nonce     string `json:"nonce,omitempty"`
	MAC       string `json:"mac,omitempty"`
	Version   int    `json:"machine_version,omitempty"` // of its machine (machine.Versioned)
	Level     int    `json:"level,omitempty"`           // what its release can read (wire.Level)
}

// Join gives a server without a cluster its place in one. Instance names whom it is for.
type Join struct {
	Identity wire.Identity `json:"identity"`
	Instance string        `json:"instance"`
}

// Prove is the dialler's proof.
type Prove struct {
	MAC string `json:"mac"`
}

// ErrRemoved is the accepting side's answer to a Prove of a server that was a member and is none any more. Its data
// tells it from other refusals with its code.
var ErrRemoved = &jsonrpc.Error{Code: 102, Message: "Not a cluster member", Data: json.RawMessage(`{"reason":"removed from the cluster"}`)}

// NewNonce draws 128 random bits.
func NewNonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// The sides of a handshake. Their names go into their proofs, so that one can't be sent back as the other's.
const (
	Accepting = "accept"
	Dialling  = "dial"
)

// MAC is a side's proof that it knows the key and heard what the other side said.
func MAC(key, side string, h *Hello, answerNonce string) string {
	said, err := json.Marshal([]string{side, strconv.Itoa(h.Protocol), h.ClusterID,
		strconv.FormatUint(h.From.ID, 10), h.From.Instance, h.From.Addr, strconv.FormatUint(h.To.ID, 10), h.To.Instance, h.Nonce, answerNonce})
	if err != nil {
		panic(fmt.Sprintf("peer: encode a handshake: %v", err)) // strings: it can't fail
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(said)
	return hex.EncodeToString(mac.Sum(nil))
}

// ValidMAC compares in constant time.
func ValidMAC(got, want string) bool { return hmac.Equal([]byte(got), []byte(want)) }

// Local is this server, as it introduces itself.
type Local struct {
	Identity wire.Identity
	Instance string
	Addr     string
}

// exchange is a handshake seen from the dialling side.
type exchange struct {
	conn    net.Conn
	in      *bufio.Reader
	id      int
	version int // of the other side's machine, when introduce has returned
	level   int // of its release, then too
}

// maxRefusal bounds an error that is handed on, in bytes: ours are shorter.
const maxRefusal = 1000

// maxAnswer bounds an answer of a handshake, in bytes: the other side is not trusted yet.
const maxAnswer = 64 << 10

func newExchange(conn net.Conn) *exchange {
	return &exchange{conn: conn, in: bufio.NewReaderSize(conn, maxAnswer)}
}

// call sends a request and reads its answer. An error answer is a *jsonrpc.Error.
func (x *exchange) call(method string, params, result any) error {
	p, err := wire.Marshal(params)
	if err != nil {
		return fmt.Errorf("peer: encode %s: %w", method, err)
	}
	id := x.id
	x.id++
	line := append(jsonrpc.AppendRequest(nil, &jsonrpc.Request{Method: method, Params: p, ID: json.RawMessage(strconv.Itoa(id))}), '\n')
	if err := x.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("peer: send %s: %w", method, err)
	}
	if _, err := x.conn.Write(line); err != nil {
		return fmt.Errorf("peer: send %s: %w", method, err)
	}
	return x.answer(method, id, result)
}

// answer reads the next answer, which must be that to the request with the id.
func (x *exchange) answer(method string, id int, result any) error {
	line, err := x.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return fmt.Errorf("peer: the answer to %s is longer than %d bytes", method, maxAnswer)
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("peer: %s was not answered: the connection was closed", method)
	}
	if err != nil {
		return fmt.Errorf("peer: %s was not answered: %w", method, err)
	}
	var answer struct {
		ID     json.RawMessage `json:"id"`
		Result json.RawMessage `json:"result"`
		Error  *jsonrpc.Error  `json:"error"`
	}
	if err := json.Unmarshal(line, &answer); err != nil || answer.Error == nil && (string(answer.ID) != strconv.Itoa(id) || answer.Result == nil) {
		return fmt.Errorf("peer: the answer to %s is none of this protocol: %.80q", method, line)
	}
	if e := answer.Error; e != nil {
		if len(e.Message)+len(e.Data) > maxRefusal { // it goes into logs and answers
			return fmt.Errorf("peer: %s was refused: %.200q", method, e.Message)
		}
		return e
	}
	if err := json.Unmarshal(answer.Result, result); err != nil {
		return fmt.Errorf("peer: decode the answer to %s: %w", method, err)
	}
	return nil
}

// hello says h and checks the form of the answer.
func (x *exchange) hello(h *Hello) (*HelloAnswer, error) {
	a := new(HelloAnswer)
	if err := x.call(MethodHello, h, a); err != nil {
		return nil, err
	}
	if a.Protocol != Protocol || !wire.ValidToken(a.Instance) {
		return nil, fmt.Errorf("peer: who answers is no raftpico server of protocol %d", Protocol)
	}
	return a, nil
}

// introduce makes this server known to another over a new connection. To a server without a cluster it gives its place only if
// it listens where it is listed: an instance alone proves nothing. The error is ErrRemoved if that says, and has
// proved to know, that this server was removed.
func (x *exchange) introduce(local Local, to Name, listed bool) error {
	h := &Hello{Protocol: Protocol, ClusterID: local.Identity.ClusterID, To: to,
		From: Name{ID: local.Identity.NodeID, Instance: local.Instance, Addr: local.Addr}, Nonce: NewNonce()}
	a, err := x.hello(h)
	if err != nil {
		return err
	}
	if a.Instance != to.Instance {
		return fmt.Errorf("peer: server %d is another instance now: its file was deleted or replaced", to.ID)
	}
	if a.ClusterID == "" && !listed {
		return fmt.Errorf("peer: who answers belongs to no cluster, and is not where server %d is listed", to.ID)
	}
	if a.ClusterID == "" {
		place := local.Identity
		place.NodeID = to.ID
		if err := x.call(MethodJoin, &Join{Identity: place, Instance: to.Instance}, new(struct{})); err != nil {
			return fmt.Errorf("peer: give server %d its place: %w", to.ID, err)
		}
		if a, err = x.hello(h); err != nil {
			return err
		}
	}
	if a.ClusterID != h.ClusterID || a.NodeID != to.ID {
		return fmt.Errorf("peer: server %d calls itself server %d of cluster %.64q", to.ID, a.NodeID, a.ClusterID)
	}
	if !ValidMAC(a.MAC, MAC(local.Identity.Key, Accepting, h, a.Nonce)) {
		return fmt.Errorf("peer: server %d does not know the cluster's key", to.ID)
	}
	x.version, x.level = a.Version, a.Level
	err = x.call(MethodProve, &Prove{MAC: MAC(local.Identity.Key, Dialling, h, a.Nonce)}, new(struct{}))
	var refusal *jsonrpc.Error
	if errors.As(err, &refusal) && refusal.Code == ErrRemoved.Code && string(refusal.Data) == string(ErrRemoved.Data) {
		return ErrRemoved
	}
	return err
}

// Dial opens connections; net.Dialer.DialContext is one.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// ProbeError is why a probe has found no server. Anybody may have a server probe any address, also one that only this server can
// reach: so its text tells whether a connection came about, and nothing of what was said over it. That is in Err.
type ProbeError struct {
	Connected bool
	Err       error
}

func (e *ProbeError) Error() string {
	if e.Connected {
		return "no raftpico server answers there; why, the log of the server asked tells"
	}
	return "nobody can be reached there"
}

func (e *ProbeError) Unwrap() error { return e.Err }

// Probe asks who listens at addr. Ctx bounds it. The error is a *ProbeError.
func Probe(ctx context.Context, dial Dial, s jsonrpc.Security, addr string) (a *HelloAnswer, err error) {
	err = once(ctx, dial, s, addr, func(x *exchange) error {
		a, err = x.hello(&Hello{Protocol: Protocol})
		return err
	})
	return a, err
}

// Question is what a server asks that is to create a cluster with others.
type Question struct {
	Protocol int `json:"protocol"`
	join.Question
}

// Ask asks the server at addr. Ctx bounds it. The error is a *ProbeError.
func Ask(ctx context.Context, dial Dial, s jsonrpc.Security, addr string, q *join.Question) (a join.Answer, err error) {
	err = once(ctx, dial, s, addr, func(x *exchange) error {
		err := x.call(MethodBootstrap, &Question{Protocol, *q}, &a)
		if err == nil && !wire.ValidToken(a.Instance) {
			err = fmt.Errorf("peer: who answers is no raftpico server of protocol %d", Protocol)
		}
		return err
	})
	return a, err
}

// once opens a connection for one exchange.
func once(ctx context.Context, dial Dial, s jsonrpc.Security, addr string, do func(*exchange) error) error {
	conn, err := dial(ctx, "tcp", addr)
	if err != nil {
		return &ProbeError{Err: err}
	}
	if conn, err = jsonrpc.Secure(ctx, s, conn, addr); err != nil {
		return &ProbeError{Connected: true, Err: err}
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := do(newExchange(conn)); err != nil {
		return &ProbeError{Connected: true, Err: err}
	}
	return nil
}
