package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-json"
	"github.com/goccy/go-json/jsontext"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/serve"
)

// maxBody is how many bytes the body of a request may have.
const maxBody = 1 << 20

// front is the surface for HTTP, beside JSON-RPC. It has no state: handlers run side by side, as net/http calls them.
type front struct {
	server *raftpico.Server
	places places
}

// handler answers with what is to be JSON, or with raw bytes.
type handler func(r *http.Request) (any, error)

// raw is an answer that is no JSON.
type raw []byte

// newFront returns the handler of a server's HTTP port. The README beside this file describes it.
func newFront(s *raftpico.Server, all places) http.Handler {
	f := &front{s, all}
	mux := http.NewServeMux()
	for path, methods := range map[string]map[string]handler{
		"/api/kv":     {"GET": f.get, "POST": f.put, "DELETE": f.remove},
		"/api/keys":   {"GET": f.keys},
		"/api/status": {"GET": f.status},
		"/konsen":     {"GET": f.getRaw, "POST": f.putForm},
	} {
		allowed := []string{}
		for method, h := range methods {
			mux.Handle(method+" "+path, h)
			allowed = append(allowed, method)
			if method == "GET" {
				allowed = append(allowed, "HEAD")
			}
		}
		slices.Sort(allowed)
		mux.Handle(path, notAllowed(strings.Join(allowed, ", ")))
	}
	for _, path := range []string{"/health", "/ready"} {
		mux.Handle("GET "+path, serve.Health(s))
		mux.Handle(path, notAllowed("GET, HEAD"))
	}
	mux.Handle("GET /{$}", showPage)
	mux.Handle("/{$}", notAllowed("GET, HEAD"))
	mux.Handle("/", handler(func(*http.Request) (any, error) {
		return nil, (&failure{status: http.StatusNotFound, Error: "no such path"}).asError()
	}))
	return guard(mux)
}

// notAllowed answers for the methods that a path does not have.
func notAllowed(methods string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", methods)
		writeJSON(w, http.StatusMethodNotAllowed, &failure{Error: "this path takes " + methods})
	})
}

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	limited := *r // the http.Server looks at r.Body itself, before it answers
	limited.Body = http.MaxBytesReader(w, r.Body, maxBody)
	out, err := h(&limited)
	if err != nil {
		fail(w, r, err)
		return
	}
	switch body := out.(type) {
	case raw:
		w.Header().Set("Content-Type", "application/octet-stream") // whatever it holds, a browser runs nothing of it
		_, _ = w.Write(body)                                       // a client that has gone reads nothing
	default:
		writeJSON(w, http.StatusOK, body)
	}
}

// value is a key with its value, as GET /api/kv answers it. A value that is no text has ValueBase64; one that is JSON, and no
// string, is Value with JSON set.
type value struct {
	Key         string  `json:"key"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 []byte  `json:"valueBase64,omitempty"`
	JSON        bool    `json:"json,omitempty"`
	Version     uint64  `json:"version,omitempty"`
	Found       bool    `json:"found"`
}

func (f *front) get(r *http.Request) (any, error) {
	key, err := keyOf(r)
	if err != nil {
		return nil, err
	}
	now, err := f.look(r.Context(), key)
	if err != nil {
		return nil, err
	}
	v := value{Key: key, Version: now.Version, Found: now.Version > 0}
	if !v.Found {
		return v, nil
	}
	b, is := decodeBytes(now.Value)
	if is == asBytes {
		v.ValueBase64 = b
		return v, nil
	}
	s := string(b)
	v.Value, v.JSON = &s, is == asJSON
	return v, nil
}

// look reads a key, linearizably. A key that is missing has version 0.
func (f *front) look(ctx context.Context, key string) (now versioned, err error) {
	out, err := f.server.Apply(ctx, machine.Query, machineInput("GetVersion", quote(key)))
	if err == nil {
		err = json.Unmarshal(out, &now) // raftpico.Query would refuse a member that is given twice, which a value may have
	}
	return now, err
}

// assignment is the body of POST /api/kv.
type assignment struct {
	Key         *string `json:"key"`
	Value       *string `json:"value"`
	ValueBase64 []byte  `json:"valueBase64"`
	JSON        bool    `json:"json"`
	Version     *uint64 `json:"version"`
}

// success answers a write.
type success struct {
	Success bool    `json:"success"`
	Version *uint64 `json:"version,omitempty"` // that the value has got, of a write that gave a version
}

func (f *front) put(r *http.Request) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, unread(err)
	}
	var a assignment
	if err := (machine.Union{Tag: "body", Value: body}).Decode(&a); err != nil {
		return nil, bad("%v", err)
	}
	if a.Key == nil {
		return nil, bad("key is missing")
	}
	if err := checkKey(*a.Key); err != nil {
		return nil, err
	}
	encoded, err := a.encoded()
	if err != nil {
		return nil, err
	}
	if a.Version == nil {
		_, err = f.command(r.Context(), "Put", list(quote(*a.Key), encoded))
		return success{Success: true}, err
	}
	version := strconv.AppendUint(nil, *a.Version, 10)
	out, err := f.command(r.Context(), "PutIf", list(quote(*a.Key), version, encoded))
	got, err := raftpico.Output[newVersion](out, err)
	return success{Success: true, Version: &got.Version}, err
}

// encoded is the machine's value of an assignment.
func (a *assignment) encoded() (json.RawMessage, error) {
	switch {
	case a.Value == nil && a.ValueBase64 == nil:
		return nil, bad("value or valueBase64 is missing")
	case a.Value != nil && a.ValueBase64 != nil:
		return nil, bad("value and valueBase64 are given; one is wanted")
	case a.ValueBase64 != nil && a.JSON:
		return nil, bad("json goes with value, not with valueBase64")
	case a.ValueBase64 != nil:
		return encodeBytes(a.ValueBase64), nil
	case !a.JSON:
		return quote(*a.Value), nil
	case !jsontext.Value(*a.Value).IsValid(jsontext.AllowDuplicateNames(true)): // nor has half of a surrogate pair, which machines refuse
		return nil, bad("value is not JSON")
	}
	return json.RawMessage(*a.Value), nil
}

func (f *front) remove(r *http.Request) (any, error) {
	key, err := keyOf(r)
	if err != nil {
		return nil, err
	}
	_, err = f.command(r.Context(), "Delete", quote(key))
	return success{Success: true}, err
}

// command lets the cluster carry out a command.
func (f *front) command(ctx context.Context, tag string, value json.RawMessage) (json.RawMessage, error) {
	return f.server.Apply(ctx, machine.Command, machineInput(tag, value))
}

func (f *front) keys(r *http.Request) (any, error) {
	q, err := query(r, "prefix", "after", "limit")
	if err != nil {
		return nil, err
	}
	p := page{Prefix: q.Get("prefix"), After: q.Get("after"), Limit: someKeys}
	if !utf8.ValidString(p.Prefix) || !utf8.ValidString(p.After) {
		return nil, bad("prefix and after must be UTF-8")
	}
	if q.Has("limit") {
		limit, err := strconv.Atoi(q.Get("limit"))
		if err != nil || limit < 1 {
			return nil, bad("limit must be a number from 1 to %d", mostKeys)
		}
		p.Limit = min(limit, mostKeys)
	}
	return raftpico.Query[keyPage](r.Context(), f.server, map[string]page{"Keys": p})
}

func (f *front) getRaw(r *http.Request) (any, error) {
	key, err := keyOf(r)
	if err != nil {
		return nil, err
	}
	now, err := f.look(r.Context(), key)
	if err != nil {
		return nil, err
	}
	if now.Version == 0 {
		return raw{}, nil
	}
	b, _ := decodeBytes(now.Value)
	return raw(b), nil
}

// putForm writes all fields of a form at once, in the order of their keys.
func (f *front) putForm(r *http.Request) (any, error) {
	const wanted = "application/x-www-form-urlencoded"
	if got, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); got != wanted {
		return nil, (&failure{status: http.StatusUnsupportedMediaType, Error: "the body must be " + wanted}).asError()
	}
	if _, err := query(r); err != nil {
		return nil, err
	}
	if err := r.ParseForm(); err != nil {
		return nil, unread(err)
	}
	if len(r.PostForm) == 0 || len(r.PostForm) > mostPairs {
		return nil, bad("the form must have 1 to %d fields; it has %d", mostPairs, len(r.PostForm))
	}
	var pairs []json.RawMessage
	for _, key := range slices.Sorted(maps.Keys(r.PostForm)) {
		values := r.PostForm[key]
		if err := checkKey(key); err != nil {
			return nil, err
		}
		if len(values) > 1 {
			return nil, bad("the key %.64q is given twice", key)
		}
		pairs = append(pairs, list(quote(key), encodeBytes([]byte(values[0]))))
	}
	_, err := f.command(r.Context(), "PutAll", list(pairs...))
	return raw{}, err
}

// unread is the error of a body that can't be read to its end, or not as a form.
func unread(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return bad("the body can't be read: %v", err)
}

// query is what a path's query says. It may have each of the names once, and nothing else.
func query(r *http.Request, names ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, bad("the query can't be read: %v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch {
		case !slices.Contains(names, name):
			return nil, bad("the query has an unknown name %.64q", name)
		case len(q[name]) > 1:
			return nil, bad("%s is given twice", name)
		}
	}
	return q, nil
}

// keyOf is the key that a query names.
func keyOf(r *http.Request) (string, error) {
	q, err := query(r, "key")
	if err != nil {
		return "", err
	}
	return q.Get("key"), checkKey(q.Get("key"))
}

func checkKey(key string) error {
	switch {
	case key == "":
		return bad("key is missing or empty")
	case !utf8.ValidString(key):
		return bad("key is not UTF-8")
	}
	return nil
}
