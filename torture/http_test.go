//go:build unix

package torture

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
)

// TestHTTP runs clusters of kvs through faults, with clients that speak HTTP.
func TestHTTP(t *testing.T) { tortureAll(t, &httpService) }

var httpService = service{
	program: "kvs", http: true, deadline: deadline, begin: beginHTTP,
	command: map[string]any{"Put": []any{"frozen", 1}}, query: "List",
}

const httpClients = 24

// httpTrial is registers of which each is two keys that are always written together, by one form, and read one by one: if a write were
// not atomic, one of the two would tell. Clients of JSON-RPC write and read the first key too, of registers that have no second.
type httpTrial struct {
	*run
	history *history
	turns   turns
	wg      sync.WaitGroup
	pairs   []*register // whose two keys must be equal in the end
}

func beginHTTP(r *run, loading context.Context, rate int) trial {
	h := &httpTrial{run: r, history: newHistory(500, r.dir), turns: make(turns, httpClients)}
	h.wg.Go(func() { h.turns.give(loading, rate) })
	for id := range httpClients {
		c, rough := r.web(id), r.rough(id)
		h.wg.Go(func() {
			defer c.close()
			defer rough.close()
			for h.turns.take(loading) {
				h.step(loading, c, rough, id)
			}
		})
	}
	return h
}

// isPair tells whether a register is two keys. By its serial number, of which slots and kinds are independent.
func isPair(key string) bool { return (key[len(key)-1]-'0')%2 == 0 }

// key is one of a register's.
func half(reg string, rng *rand.Rand) string {
	if isPair(reg) && rng.IntN(2) == 0 {
		return reg + "/b"
	}
	return reg
}

func (h *httpTrial) step(loading context.Context, c *web, rough *rough, id int) {
	o := operation{kind: put, client: id}
	reg, value := h.history.begin(c.rng.IntN(keys))
	n := c.rng.IntN(100)
	switch {
	case n < 55:
		o.kind = get
	case n < 62 && !isPair(reg.key):
		o.kind = del
	default:
		o.wrote = value
	}
	if !isPair(reg.key) && o.kind != del && c.rng.IntN(4) == 0 {
		if !rough.connect(loading) {
			o.outcome = refused
		} else {
			h.apply(rough, reg.key, &o)
		}
	} else {
		h.request(c, reg.key, &o)
	}
	h.note(o)
	if h.history.end(reg, o) {
		h.submit(reg)
	}
}

func (h *httpTrial) note(o operation) {
	h.tally.count(o.kind.String() + " " + o.outcome.String())
	if o.kind != get && o.outcome == answered {
		h.tally.wrote(o.ret)
	}
}

func (h *httpTrial) submit(reg *register) {
	if isPair(reg.key) {
		h.history.mu.Lock()
		h.pairs = append(h.pairs, reg)
		h.history.mu.Unlock()
	}
	h.history.submit(reg)
}

// apply carries out a put or a get over JSON-RPC.
func (h *httpTrial) apply(c *rough, key string, o *operation) {
	input, kind := map[string]any{"Get": key}, machine.Query
	if o.kind == put {
		input, kind = map[string]any{"Put": []any{key, jsonValue(valueBytes(o.wrote))}}, machine.Command
	}
	var out json.RawMessage
	is := c.apply(kind, input, 0, &out)
	o.outcome, o.call, o.ret = is.outcome, is.call, is.ret
	switch {
	case is.err != nil:
		h.tally.fault(fmt.Errorf("%v was answered %w", input, is.err))
	case is.outcome == answered:
		o.saw = h.parse(*o, func() ([]byte, error) { return bytesOf(out) })
	}
}

// jsonValue is how the machine has bytes: text is a string, and what is none an object.
func jsonValue(b []byte) any {
	if utf8.Valid(b) {
		return string(b)
	}
	return map[string][]byte{"$bytes": b}
}

func bytesOf(value json.RawMessage) (b []byte, err error) {
	if value[0] != '{' {
		var text string
		err = json.Unmarshal(value, &text) // null leaves it empty
		return []byte(text), err
	}
	var object map[string][]byte
	err = json.Unmarshal(value, &object)
	return object["$bytes"], err
}

// request carries out an operation over HTTP.
func (h *httpTrial) request(c *web, reg string, o *operation) {
	o.blind = o.kind != get // HTTP does not tell what was there
	var is page
	var read func() ([]byte, error)
	switch key := half(reg, c.rng); {
	case o.kind == put && isPair(reg):
		text := string(valueBytes(o.wrote))
		form := url.Values{reg: {text}, reg + "/b": {text}}
		is = c.request(context.Background(), http.MethodPost, "/konsen", "application/x-www-form-urlencoded", []byte(form.Encode()), 0)
	case o.kind == put:
		body := map[string]any{"key": key, "value": string(valueBytes(o.wrote))}
		if !utf8.Valid(valueBytes(o.wrote)) {
			body = map[string]any{"key": key, "valueBase64": valueBytes(o.wrote)}
		}
		encoded, err := json.Marshal(body)
		if err != nil {
			panic(err) // it is ours
		}
		is = c.request(context.Background(), http.MethodPost, "/api/kv", "application/json", encoded, 0)
	case o.kind == del:
		is = c.request(context.Background(), http.MethodDelete, "/api/kv?key="+url.QueryEscape(key), "", nil, 0)
	case c.rng.IntN(2) == 0:
		is = c.request(context.Background(), http.MethodGet, "/konsen?key="+url.QueryEscape(key), "", nil, 0)
		read = func() ([]byte, error) { return is.body, nil }
	default:
		is = c.request(context.Background(), http.MethodGet, "/api/kv?key="+url.QueryEscape(key), "", nil, 0)
		read = func() ([]byte, error) { return found(is.body, key) }
	}
	o.outcome, o.call, o.ret, o.server = is.outcome, is.call, is.ret, c.server.id
	switch {
	case is.outcome != answered:
	case is.status != http.StatusOK:
		h.tally.fault(fmt.Errorf("%v: %v was answered %d, %.200s", c.server, *o, is.status, is.body))
	case read != nil:
		o.saw = h.parse(*o, read)
	}
}

// found is the value in an answer to GET /api/kv, empty if there is none.
func found(body []byte, key string) ([]byte, error) {
	var is struct {
		Key, Value  string
		ValueBase64 []byte
		Found       bool
	}
	if err := json.Unmarshal(body, &is); err != nil {
		return nil, err
	}
	b := append([]byte(is.Value), is.ValueBase64...)
	if is.Key != key || is.Found != (len(b) > 0) {
		return nil, fmt.Errorf("%s was asked for, and the answer is %s", key, body)
	}
	return b, nil
}

// valueBytes are the bytes of a value: its number, and bytes of all kinds. No two values have the same.
func valueBytes(value int64) []byte {
	b := fmt.Appendf(nil, "%d:", value)
	rng := rand.New(rand.NewPCG(uint64(value), 0))
	for range rng.IntN(40) {
		if value%3 == 0 {
			b = utf8.AppendRune(b, rune(rng.IntN(0xd800)))
		} else {
			b = append(b, byte(rng.Uint64()))
		}
	}
	return b
}

// parse tells which value was read, 0 for none.
func (h *httpTrial) parse(o operation, read func() ([]byte, error)) int64 {
	b, err := read()
	if err != nil || len(b) == 0 {
		if err != nil {
			h.tally.fault(fmt.Errorf("%v: %w", o, err))
		}
		return 0
	}
	number, _, _ := bytes.Cut(b, []byte(":"))
	value, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil || value <= 0 || !bytes.Equal(b, valueBytes(value)) {
		h.tally.fault(fmt.Errorf("%v: a value that nobody wrote: %s", o, base64.StdEncoding.EncodeToString(b)))
		return 0
	}
	return value
}

func (h *httpTrial) finish() { h.wg.Wait() }

func (h *httpTrial) breakOff() {
	h.wg.Wait()
	for _, reg := range h.history.rest() {
		h.history.submit(reg)
	}
}

// check reads each register, writes it, and reads it again, when all servers have been killed.
func (h *httpTrial) check() {
	h.t.Helper()
	c := h.web(4 * httpClients) // it is patient
	defer c.close()
	for _, reg := range h.history.rest() {
		for _, o := range []operation{{kind: get}, {kind: put}, {kind: get}, {kind: get}} {
			h.eventually("an answer", func() (bool, error) {
				try := o
				if try.kind == put { // a value is used once
					try.wrote = h.history.anotherValue()
				}
				h.request(c, reg.key, &try)
				reg.ops = append(reg.ops, try)
				return try.outcome == answered, fmt.Errorf("%v", try)
			})
		}
		h.submit(reg)
	}
}

// inspect compares the keys of each pair in the state of the machines.
func (h *httpTrial) inspect() {
	h.t.Helper()
	var revision uint64
	values := map[string]valueAt{}
	require.NoError(h.t, json.Unmarshal(h.final, &[]any{&revision, &values}))
	require.NotEmpty(h.t, h.pairs)
	for _, reg := range h.pairs {
		require.Equal(h.t, string(values[reg.key].value), string(values[reg.key+"/b"].value), "the two keys of %s", reg.key)
	}
}

func (h *httpTrial) verdict() []error { return h.history.verdict() }

func (h *httpTrial) report() string {
	return fmt.Sprintf("\n  %d pairs of keys; %d operations judged, %v at most for a key", len(h.pairs), h.history.judged, h.history.slow.Round(time.Millisecond))
}
