package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// The HTTP wire: POST /db/TENANT with a request, POST /watch/TENANT with a watchRequest. README.md has its answers.

const (
	maxBody  = 16<<20 - 1024    // bytes: with its tenant a request fits into a server's MaxLine
	margin   = 10 * time.Second // beyond LockWait: a leader may have to be found
	watching = 30 * time.Second // a watch is answered after that at the latest
)

// applier is a *raftpico.Server.
type applier interface {
	Apply(ctx context.Context, kind machine.Kind, input any) (json.RawMessage, error)
}

// newPost is the part of the wire that a kept listener serves.
func newPost(s applier) postFunc {
	return func(ctx context.Context, path string, body []byte) (status int, answer []byte) {
		place, tenant, _ := strings.Cut(path[1:], "/")
		serve, ok := map[string]serveFunc{"db": do, "watch": watch}[place]
		if !ok || tenant == "" || strings.Contains(tenant, "/") {
			return refused(errNotFound).answer()
		}
		out, err := serve(ctx, s, tenant, body)
		if err != nil {
			return refused(err).answer()
		}
		return http.StatusOK, out
	}
}

// serveFunc answers the body of a POST with JSON.
type serveFunc func(ctx context.Context, s applier, tenant string, body []byte) (json.RawMessage, error)

// newWire serves the HTTP wire. Pages of other sites that a browser shows can't use it.
func newWire(s applier) http.Handler {
	mux := http.NewServeMux()
	post := func(path string, serve serveFunc) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost {
				w.Header().Set("Allow", http.MethodPost)
				refuse(w, &refusal{http.StatusMethodNotAllowed, "method_not_allowed", "want a POST"})
				return
			}
			out, err := read(w, r)
			if err == nil {
				out, err = serve(r.Context(), s, r.PathValue("tenant"), out)
			}
			if err != nil {
				refuse(w, err)
				return
			}
			w.Header()["Content-Type"] = jsonType
			patience := http.NewResponseController(w)
			_ = patience.SetWriteDeadline(time.Now().Add(keptIdle)) // the answer is not kept for a client that does not read
			_, _ = w.Write(out)
			_ = patience.SetWriteDeadline(time.Time{})
		})
	}
	post("/db/{tenant}", do)
	post("/watch/{tenant}", watch)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, errNotFound) })
	return http.NewCrossOriginProtection().Handler(mux)
}

var jsonType = []string{"application/json"}

// read reads a request's body. What it costs grows with what has come, and not with the length that a client claims.
func read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	patience := http.NewResponseController(w)
	_ = patience.SetReadDeadline(time.Now().Add(keptIdle)) // a writer of a test may have none
	var body bytes.Buffer
	body.Grow(int(min(max(r.ContentLength, 0), keptBody)) + bytes.MinRead)
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	_ = patience.SetReadDeadline(time.Time{}) // the answer may take longer
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, &refusal{http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the request is longer than %d bytes", maxBody)}
	}
	if err != nil {
		return nil, badRequest(fmt.Errorf("the body: %w", err))
	}
	return body.Bytes(), nil
}

// do carries out a request. Its client may go, and ctx end: then the machine is told.
func do(ctx context.Context, s applier, tenant string, body []byte) (json.RawMessage, error) {
	var q request
	if err := decode(body, &q); err != nil {
		return nil, err
	}
	if q.Tenant != "" {
		return nil, badRequest(errors.New("the tenant belongs into the path"))
	}
	q.Tenant = tenant
	if err := q.check(); err != nil {
		return nil, badRequest(err)
	}
	within, cancel := context.WithTimeout(ctx, q.patience()+margin)
	defer cancel()
	if q.getsOnly() {
		return s.Apply(within, machine.Query, input("Get", q.Tenant, body))
	}
	out, err := s.Apply(within, machine.Command, input("Do", q.Tenant, body))
	if err == nil && ctx.Err() != nil && q.LockID != "" && q.LockID != q.UnlockID {
		giveBack(ctx, s, &q, out)
	}
	return out, err
}

// giveBack unlocks what was locked for a client that has gone just then. The machine is not told of it, since the answer is here.
func giveBack(ctx context.Context, s applier, q *request, out json.RawMessage) {
	var got response
	if json.Unmarshal(out, &got) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), margin)
	defer cancel()
	unlock := map[string]request{"Do": {Tenant: q.Tenant, UnlockID: q.LockID, Unlock: got.Lock}}
	_, _ = s.Apply(ctx, machine.Command, unlock) // if it fails, the lock ends by itself
}

// watch waits until a value has another version.
func watch(ctx context.Context, s applier, tenant string, body []byte) (json.RawMessage, error) {
	var q watchRequest
	if err := decode(body, &q); err != nil {
		return nil, err
	}
	if q.Tenant != "" {
		return nil, badRequest(errors.New("the tenant belongs into the path"))
	}
	q.Tenant = tenant
	if err := q.check(); err != nil {
		return nil, badRequest(err)
	}
	within, cancel := context.WithTimeout(ctx, watching+margin)
	defer cancel()
	out, err := s.Apply(until{within, time.Now().Add(watching)}, machine.Query, input("Watch", q.Tenant, body))
	if err != nil {
		return nil, err
	}
	// The version is the last member of a keyValue.
	if same := fmt.Appendf(nil, `,"Version":%d}`, q.Version); bytes.HasSuffix(out, same) {
		return nil, &refusal{http.StatusRequestTimeout, "no_change", fmt.Sprintf("nothing has changed in %v", watching)}
	}
	return out, nil
}

// until is a context with a deadline before it ends. A server that has much to do at the deadline has time to answer then.
type until struct {
	context.Context
	deadline time.Time
}

func (u until) Deadline() (deadline time.Time, ok bool) { return u.deadline, true }

// decode decodes a body as the machine does.
func decode(body []byte, dst any) error {
	if err := (machine.Union{Value: body}).Decode(dst); err != nil {
		return badRequest(errors.Unwrap(err))
	}
	return nil
}

// input makes an input of the machine of a body, which is a JSON object: its members, and the tenant.
func input(tag, tenant string, body []byte) json.RawMessage {
	members := bytes.TrimLeft(bytes.TrimSpace(body)[1:], " \t\r\n")
	name, _ := json.Marshal(tenant) // a string can always be encoded
	in := make([]byte, 0, len(members)+len(name)+32)
	in = append(append(append(in, `{"`...), tag...), `":{"Tenant":`...)
	in = append(in, name...)
	if members[0] != '}' {
		in = append(in, ',')
	}
	return append(append(in, members...), '}')
}

// refusal is an answer that is an error.
type refusal struct {
	status        int
	code, message string
}

func (r *refusal) Error() string { return r.code + ": " + r.message }

var errNotFound = &refusal{http.StatusNotFound, "not_found", "want /db/TENANT or /watch/TENANT"}

func badRequest(err error) error {
	return &refusal{http.StatusBadRequest, "bad_request", err.Error()}
}

// refusals are the errors of servers and of the machine, on the wire. Where there is no message, it is the error's reason.
var refusals = map[int]refusal{
	errDuplicate.Code: {http.StatusConflict, "duplicate_request", ""},
	errNotLocked.Code: {http.StatusConflict, "not_locked", "another one holds the lock; nothing is done"},
	errNotHolder.Code: {http.StatusConflict, "not_holder", "the handle does not hold the lock; nothing is done"},
	errFull.Code:      {http.StatusInsufficientStorage, "full", "there is no room; nothing is done"},

	raftpico.ErrUnknown.Code:       {http.StatusServiceUnavailable, "unknown", "it may have been done, or may be done yet"},
	raftpico.ErrRejected.Code:      {http.StatusServiceUnavailable, "rejected", "nothing is done: ask again, also another server"},
	raftpico.ErrNoLeader.Code:      {http.StatusServiceUnavailable, "no_leader", "nothing is done: ask again later"},
	raftpico.ErrBusy.Code:          {http.StatusServiceUnavailable, "busy", "nothing is done: ask again later"},
	raftpico.ErrNotMember.Code:     {http.StatusServiceUnavailable, "not_member", "nothing is done: ask another server"},
	raftpico.ErrInvalidInput.Code:  {http.StatusBadRequest, "bad_request", ""},
	raftpico.ErrInvalidParams.Code: {http.StatusBadRequest, "bad_request", ""},
}

// answer is what the client gets.
func (r *refusal) answer() (status int, body []byte) {
	body, _ = json.Marshal(struct {
		Code    string
		Message string `json:",omitempty"`
	}{r.code, r.message})
	return r.status, append(body, '\n')
}

func refuse(w http.ResponseWriter, err error) {
	status, body := refused(err).answer()
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// refused is any error as a refusal.
func refused(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	e, ok := errors.AsType[*raftpico.Error](err)
	if !ok {
		return &refusal{http.StatusInternalServerError, "internal", err.Error()}
	}
	r, ok := refusals[e.Code]
	if !ok {
		r = refusal{http.StatusInternalServerError, "internal", e.Error()}
	}
	var data struct{ Reason string }
	if r.message == "" && json.Unmarshal(e.Data, &data) == nil {
		r.message = data.Reason
	}
	return &r
}
