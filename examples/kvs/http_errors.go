package main

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// failure is an error as HTTP tells it: its status, and its JSON.
type failure struct {
	status  int
	Error   string  `json:"error"`
	Unknown *bool   `json:"unknown,omitempty"` // of a 503: the write may be carried out; false: it certainly was not
	Leader  string  `json:"leader,omitempty"`  // of a 503, where it is known
	Version *uint64 `json:"version,omitempty"` // of a 409: the one that the key has
}

func (f *failure) asError() error { return &failed{f} }

// failed makes an error of a failure.
type failed struct{ *failure }

func (f *failed) Error() string { return f.failure.Error }

// bad is a request that is wrong in itself.
func bad(format string, args ...any) error {
	return (&failure{status: http.StatusBadRequest, Error: fmt.Sprintf(format, args...)}).asError()
}

// failureOf judges the error of a handler. NB: What handlers give to the machine is well-formed, so a 103 is that of a command
// which not all servers know yet.
func failureOf(err error) *failure {
	if f, ok := errors.AsType[*failed](err); ok {
		return f.failure
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &failure{status: http.StatusRequestEntityTooLarge, Error: fmt.Sprintf("the body is longer than %d bytes", tooLarge.Limit)}
	}
	if own, ok := errors.AsType[*machine.Error](err); ok && own.Code == versionDiffers {
		f := &failure{status: http.StatusConflict, Error: "the key has another version"}
		if now, ok := raftpico.ErrorData[newVersion](err); ok {
			f.Version = &now.Version
		}
		return f
	}
	if errors.Is(err, raftpico.ErrInvalidParams) {
		return &failure{status: http.StatusBadRequest, Error: err.Error()}
	}
	for _, passing := range []error{raftpico.ErrRejected, raftpico.ErrNoLeader, raftpico.ErrBusy, raftpico.ErrNotMember, raftpico.ErrInvalidInput, raftpico.ErrUnknown} {
		if errors.Is(err, passing) {
			unknown := passing == raftpico.ErrUnknown
			return &failure{status: http.StatusServiceUnavailable, Error: err.Error(), Unknown: &unknown, Leader: leaderIn(err)}
		}
	}
	return &failure{status: http.StatusInternalServerError, Error: err.Error()}
}

// leaderIn is the leader that an error names, or empty.
func leaderIn(err error) string {
	var data struct {
		Leader string `json:"leader"`
	}
	if e, ok := errors.AsType[*raftpico.Error](err); ok {
		_ = json.Unmarshal(e.Data, &data) // there may be none
	}
	return data.Leader
}

// fail answers an error, also where the client seems to have gone: it may have closed its half of the connection only, and no answer
// would be a 200. A write that may have been carried out is not to be sent again by a client that knows no better: so only a
// 503 that changed nothing says when to try again.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	f := failureOf(err)
	if f.Unknown != nil && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		f.Unknown = new(bool) // a read writes nothing
	}
	if f.Unknown != nil && !*f.Unknown {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, f.status, f)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	encoded, err := json.MarshalWithOption(body, json.DisableHTMLEscape())
	if err != nil {
		status, encoded = http.StatusInternalServerError, []byte(`{"error":"the answer can't be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(encoded, '\n')) // a client that has gone reads nothing
}
