//go:build unix

package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	retrying "github.com/raftpico/go/client"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
)

// ask is a request to a lock server. All that is in it is done at one moment.
type ask struct {
	Tenant string `json:",omitempty"` // over HTTP it is in the path

	LockID            string   `json:",omitempty"`
	LockDur, LockWait int      `json:",omitempty"` // seconds
	UnlockID          string   `json:",omitempty"`
	Unlock            uint64   `json:",omitempty"`
	IdempotencyIDs    []string `json:",omitempty"`
	Atomic            []change `json:",omitempty"`
	KVSet             []set    `json:",omitempty"`
	KVGet             []string `json:",omitempty"`
}

type change struct {
	Key            string
	Add, Set, IfEq *int64 `json:",omitempty"`
}

type set struct {
	Key    string
	Value  int64 `json:",omitempty"`
	Delete bool  `json:",omitempty"`
}

func (a *ask) String() string {
	text, err := json.Marshal(a)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// patience is how long it may stand in line.
func (a *ask) patience() time.Duration { return time.Duration(a.LockWait) * time.Second }

// longPoll is how long a watch over HTTP takes if nothing changes.
const longPoll = 30 * time.Second

func (a *ask) gets() bool {
	return a.LockID == "" && a.UnlockID == "" && len(a.IdempotencyIDs)+len(a.Atomic)+len(a.KVSet) == 0
}

// told is its answer.
type told struct {
	Lock   uint64     `json:"l"`
	KV     []keyValue `json:"kv"`
	Atomic []changed  `json:"atm"`
}

type keyValue struct {
	Key     string
	Value   int64 // 0: none
	Version uint64
}

type changed struct {
	Key      string `json:"k"`
	Old, New int64
	Failed   bool `json:"f"`
}

// Why a lock server has done nothing.
const (
	duplicate = "duplicate_request"
	notLocked = "not_locked"
	notHolder = "not_holder"
)

// reply is what became of a request: why names the reason if it was answered that nothing was done.
type reply struct {
	told
	outcome   outcome
	why       string
	call, ret int64
}

func (r reply) String() string {
	return fmt.Sprintf("%v %s %+v, from %v to %v", r.outcome, r.why, r.told, time.Duration(r.call), time.Duration(r.ret))
}

// door is a way to a lock server, for one goroutine.
type door interface {
	// do makes a request. It ends early with ctx, as if the client had been killed.
	do(ctx context.Context, a *ask) reply
	// watch waits until a key has another version.
	watch(ctx context.Context, tenant, key string, version uint64) (keyValue, outcome)
	close()
}

// roughDoor is JSON-RPC, where what is not answered stays unknown.
type roughDoor struct{ *rough }

func (d roughDoor) do(ctx context.Context, a *ask) (is reply) {
	if !d.connect(ctx) {
		return reply{outcome: refused}
	}
	conn := d.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	kind, input := input(a)
	got := d.rough.apply(kind, input, a.patience(), &is.told)
	is.outcome, is.call, is.ret = got.outcome, got.call, got.ret
	if got.err != nil {
		is.why = d.reason(a, got.err)
	}
	return is
}

// input is a request as the machine takes it.
func input(a *ask) (machine.Kind, any) {
	if a.gets() {
		return machine.Query, map[string]any{"Get": a}
	}
	return machine.Command, map[string]any{"Do": a}
}

// reason is the machine's. Any but those above is a fault.
func (t *tally) reason(a *ask, err *jsonrpc.Error) string {
	switch err.Message {
	case duplicate, notLocked, notHolder:
	default:
		t.fault(fmt.Errorf("%v was answered %w", a, err))
	}
	return err.Message
}

func (d roughDoor) watch(ctx context.Context, tenant, key string, version uint64) (now keyValue, is outcome) {
	if !d.connect(ctx) {
		return now, refused
	}
	conn := d.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	got := d.rough.apply(machine.Query, watching(tenant, key, version), longPoll, &now)
	if got.err != nil {
		d.fault(fmt.Errorf("watch %s: %w", key, got.err))
	}
	return now, got.outcome
}

func watching(tenant, key string, version uint64) any {
	return map[string]any{"Watch": map[string]any{"Tenant": tenant, "ID": key, "Version": version}}
}

// sureDoor is package client. Whatever happens to servers, all is answered.
type sureDoor struct {
	*tally
	client *retrying.Client
}

func (d sureDoor) do(parent context.Context, a *ask) (is reply) {
	ctx, cancel := context.WithTimeout(parent, longest)
	defer cancel()
	kind, input := input(a)
	is.call = d.now()
	err := d.client.Apply(ctx, kind, input, &is.told)
	is.ret = d.now()
	var refusal *machine.Error
	switch {
	case err == nil:
	case errors.As(err, &refusal):
		is.why = d.reason(a, &jsonrpc.Error{Code: refusal.Code, Message: refusal.Message})
	default:
		is.outcome = unknown
		if parent.Err() == nil {
			d.fault(fmt.Errorf("%v through package client: %w", a, err))
		}
	}
	return is
}

func (d sureDoor) watch(parent context.Context, tenant, key string, version uint64) (now keyValue, is outcome) {
	ctx, cancel := context.WithTimeout(parent, longest)
	defer cancel()
	if err := d.client.Apply(ctx, machine.Query, watching(tenant, key, version), &now); err != nil {
		if parent.Err() == nil {
			d.fault(fmt.Errorf("watch %s through package client: %w", key, err))
		}
		return now, unknown
	}
	return now, answered
}

func (sureDoor) close() {}

// webDoor is HTTP.
type webDoor struct{ *web }

func (d webDoor) do(ctx context.Context, a *ask) (is reply) {
	untold := *a
	untold.Tenant = ""
	body, err := json.Marshal(untold)
	if err != nil {
		panic(err) // requests are ours
	}
	got := d.request(ctx, http.MethodPost, "/db/"+a.Tenant, "application/json", body, a.patience())
	is.outcome, is.call, is.ret = got.outcome, got.call, got.ret
	switch {
	case is.outcome != answered:
	case got.status == http.StatusOK:
		if err := json.Unmarshal(got.body, &is.told); err != nil {
			d.fault(fmt.Errorf("%v: %s was answered %.200s: %w", d.server, body, got.body, err))
		}
	default:
		is.why = d.whyNot(body, got)
	}
	return is
}

// whyNot reads the error of an answer.
func (d webDoor) whyNot(asked []byte, got page) string {
	var says struct{ Code string }
	err := json.Unmarshal(got.body, &says)
	known := says.Code == duplicate || says.Code == notLocked || says.Code == notHolder
	if err != nil || got.status != http.StatusConflict || !known {
		d.fault(fmt.Errorf("%v: %s was answered %d, %.200s", d.server, asked, got.status, got.body))
	}
	return says.Code
}

func (d webDoor) watch(ctx context.Context, tenant, key string, version uint64) (now keyValue, is outcome) {
	body := fmt.Appendf(nil, `{"ID":%q,"Version":%d}`, key, version)
	got := d.request(ctx, http.MethodPost, "/watch/"+tenant, "application/json", body, longPoll)
	if got.outcome != answered {
		return now, got.outcome
	}
	if got.status == http.StatusRequestTimeout { // nothing has changed
		return keyValue{Version: version}, answered
	}
	if err := json.Unmarshal(got.body, &now); err != nil || got.status != http.StatusOK {
		d.fault(fmt.Errorf("%v: %s was answered %d, %.200s", d.server, body, got.status, got.body))
		return now, unknown
	}
	return now, answered
}
