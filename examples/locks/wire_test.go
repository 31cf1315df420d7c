package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

// wire is a server's HTTP wire, for tests.
type wire struct {
	t   *testing.T
	url string
}

func startWire(t *testing.T) (*raftpico.Server, *wire) {
	cluster := memnet.Start(t, 1, newService)
	server := httptest.NewServer(newWire(cluster.Servers[0]))
	t.Cleanup(server.Close)
	return cluster.Servers[0], &wire{t, server.URL}
}

// post sends a body, and returns what comes.
func (w *wire) post(path, body string) (status int, answer string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+path, strings.NewReader(body))
	require.NoError(w.t, err)
	got, err := http.DefaultClient.Do(r)
	require.NoError(w.t, err)
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	require.NoError(w.t, err)
	require.Equal(w.t, "application/json", got.Header.Get("Content-Type"))
	return got.StatusCode, strings.TrimSpace(string(text))
}

// want sends a body, and compares what comes.
func (w *wire) want(path, body string, status int, answer string) {
	w.t.Helper()
	gotStatus, got := w.post(path, body)
	require.Equal(w.t, answer, got, body)
	require.Equal(w.t, status, gotStatus, body)
}

// TestTheModelsWire has each line of the model's wire.
func TestTheModelsWire(t *testing.T) {
	_, w := startWire(t)
	w.want("/db/my_env", `{"LockID":"ABC","LockDur":30,"LockWait":30}`, 200, `{"l":1}`)
	w.want("/db/my_env", `{"UnlockID":"ABC","Unlock":1}`, 200, `{}`)
	w.want("/db/my_env", `{"KVSet":[{"Key":"CDE","Value":{"my":"json"}}],"Atomic":[{"Key":"n","Set":332}]}`, 200,
		`{"atm":[{"k":"n","new":332,"f":false}]}`)
	w.want("/db/my_env", `{"KVSet":[{"Key":"ABC","Value":"123"}],"KVGet":["CDE"],"Atomic":[{"Key":"n","Add":1}]}`, 200,
		`{"kv":[{"Key":"CDE","Value":{"my":"json"},"Delete":false,"Version":1}],"atm":[{"k":"n","old":332,"new":333,"f":false}]}`)
	w.want("/db/my_env", `{"Atomic":[{"Key":"n","Set":5,"IfEq":4}]}`, 200, `{"atm":[{"k":"n","old":333,"f":true}]}`)
	w.want("/watch/my_env", `{"ID":"ABC","Version":0}`, 200, `{"Key":"ABC","Value":"123","Delete":false,"Version":2}`)
	w.want("/db/my_env", `{"IdempotencyIDs":["ABC_create"],"Atomic":[{"Key":"n","Add":1}]}`, 200, `{"atm":[{"k":"n","old":333,"new":334,"f":false}]}`)
	w.want("/db/my_env", `{"IdempotencyIDs":["ABC_create"],"Atomic":[{"Key":"n","Add":1}]}`, 409, `{"Code":"duplicate_request"}`)
	w.want("/db/my_env", `{"KVGet":["ABC","none"],"Atomic":[{"Key":"n","Add":0}]}`, 200, `{"kv":[{"Key":"ABC","Value":"123","Delete":false,"Version":2},`+
		`{"Key":"none","Value":null,"Delete":false,"Version":0}],"atm":[{"k":"n","old":334,"new":334,"f":false}]}`)
}

func TestTheWireKeepsValuesAsTheyCame(t *testing.T) {
	_, w := startWire(t)
	for i, value := range []string{`1.000`, `1e400`, `{"b":1,"a":{"b":[]}}`, `"<é\u00e9\/&>"`, `null`, `""`, `"` + strings.Repeat("v", 1<<20-2) + `"`} {
		w.want("/db/t", `{"KVSet":[{"Key":"a","Value":`+value+`}]}`, 200, `{}`)
		w.want("/db/t", `{"KVGet":["a"]}`, 200, fmt.Sprintf(`{"kv":[{"Key":"a","Value":%s,"Delete":false,"Version":%d}]}`, value, i+1))
	}
	w.want("/db/t", " {\n \"KVSet\" : [ {\"Key\":\"a\", \"Value\": {\"x\": 1} } ] }\n", 200, `{}`)
	w.want("/db/t", `{"KVGet":["a"]}`, 200, `{"kv":[{"Key":"a","Value":{"x":1},"Delete":false,"Version":8}]}`)
}

func TestTheWireTellsWhatIsWrong(t *testing.T) {
	s, w := startWire(t)
	w.want("/db/t", `{"Atomic":[{"Key":"max","Set":9223372036854775807},{"Key":"min","Set":-9223372036854775808}]}`, 200,
		`{"atm":[{"k":"max","new":9223372036854775807,"f":false},{"k":"min","new":-9223372036854775808,"f":false}]}`)
	before := stateOf(t, s)
	bodies := bad()
	for _, broken := range []string{``, `{`, `{"KVGet":["a"]}}`, `{"KVGet":["a"]} {}`, "{\"KVGet\":[\"\xff\"]}", `{"KVGet":["a"],}`, `{"Tenant":"u","KVGet":["a"]}`} {
		bodies[broken] = ""
	}
	for body, says := range bodies {
		status, got := w.post("/db/t", body)
		require.Equal(t, 400, status, "%.200s", body)
		var answer struct{ Code, Message string }
		require.NoError(t, json.Unmarshal([]byte(got), &answer))
		require.Equal(t, "bad_request", answer.Code)
		require.NotEmpty(t, answer.Message)
		require.Contains(t, answer.Message, says)
	}
	for _, body := range []string{``, `{}`, `{"ID":""}`, `{"ID":"a","Version":-1}`, `{"ID":"a","Version":1.5}`, `{"ID":"a","Version":"1"}`, `{"ID":1}`,
		`{"ID":"a","Wait":1}`, `{"Tenant":"u","ID":"a"}`, `[]`, `null`} {
		status, got := w.post("/watch/t", body)
		require.Equal(t, 400, status, body)
		require.Contains(t, got, `{"Code":"bad_request","Message":"`)
	}
	status, _ := w.post("/db/"+strings.Repeat("x", maxTenant+1), `{"KVGet":["a"]}`)
	require.Equal(t, 400, status)
	status, _ = w.post("/db/a%00b", `{"KVGet":["a"]}`)
	require.Equal(t, 400, status)
	w.want("/db", `{"KVGet":["a"]}`, 404, `{"Code":"not_found","Message":"want /db/TENANT or /watch/TENANT"}`)
	w.want("/db/t", `{"KVGet":["`+strings.Repeat("x", maxBody)+`"]}`, 413, `{"Code":"too_large","Message":"the request is longer than 16776192 bytes"}`)
	require.Equal(t, before, stateOf(t, s), "nothing has changed")
}

// stateOf is the machine's state at a server.
func stateOf(t *testing.T, s *raftpico.Server) string {
	t.Helper()
	state, err := s.State(t.Context(), true)
	require.NoError(t, err)
	return string(state.Machines.User)
}

func TestTheWireOfLocks(t *testing.T) {
	_, w := startWire(t)
	w.want("/db/t", `{"LockID":"a","LockDur":60}`, 200, `{"l":1}`)
	w.want("/db/t", `{"LockID":"a","LockDur":60}`, 409, `{"Code":"not_locked","Message":"another one holds the lock; nothing is done"}`)
	w.want("/db/t", `{"LockID":"a","LockDur":60,"LockWait":1}`, 409, `{"Code":"not_locked","Message":"another one holds the lock; nothing is done"}`)
	w.want("/db/t", `{"UnlockID":"a","Unlock":2}`, 409, `{"Code":"not_holder","Message":"the handle does not hold the lock; nothing is done"}`)
	w.want("/db/t", `{"LockID":"a","LockDur":90,"UnlockID":"a","Unlock":1}`, 200, `{"l":1}`)
	w.want("/db/%C3%A4%2Fb", `{"LockID":"a","LockDur":60}`, 200, `{"l":2}`)
}

// TestTheWireOfWatches has two who watch, of whom one has an old version.
func TestTheWireOfWatches(t *testing.T) {
	s, w := startWire(t)
	w.want("/db/t", `{"KVSet":[{"Key":"a","Value":1}]}`, 200, `{}`)
	var all sync.WaitGroup
	all.Go(func() {
		w.want("/watch/t", `{"ID":"a","Version":1}`, 200, `{"Key":"a","Value":2,"Delete":false,"Version":3}`)
	})
	waitFor(t, []*raftpico.Server{s}, 1)
	w.want("/watch/t", `{"ID":"a","Version":7}`, 200, `{"Key":"a","Value":1,"Delete":false,"Version":1}`)
	w.want("/db/t", `{"KVSet":[{"Key":"b","Value":1}]}`, 200, `{}`)
	w.want("/db/t", `{"KVSet":[{"Key":"a","Value":2}]}`, 200, `{}`)
	all.Wait()
}

// waitFor waits until as many requests wait at all servers together.
func waitFor(t testing.TB, servers []*raftpico.Server, want int) {
	t.Helper()
	require.Eventually(t, func() bool {
		sum := 0
		for _, s := range servers {
			if state, err := s.State(t.Context(), false); err == nil {
				sum += state.Waiting
			}
		}
		return sum == want
	}, time.Minute, time.Millisecond)
}

// broken is a server that answers an error.
type broken struct{ err error }

func (b broken) Apply(context.Context, machine.Kind, any) (json.RawMessage, error) { return nil, b.err }

func TestTheWireOfErrors(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
		code   string
	}{
		{raftpico.ErrUnknown, 503, "unknown"}, {raftpico.ErrRejected, 503, "rejected"}, {raftpico.ErrNoLeader, 503, "no_leader"},
		{raftpico.ErrBusy, 503, "busy"}, {raftpico.ErrNotMember, 503, "not_member"}, {errors.Join(raftpico.ErrUnknown, context.DeadlineExceeded), 503, "unknown"},
		{raftpico.ErrInvalidInput.Because("why"), 400, "bad_request"}, {errors.New("what"), 500, "internal"}, {raftpico.ErrNoOutput, 500, "internal"},
	} {
		w := httptest.NewRecorder()
		newWire(broken{test.err}).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/db/t", strings.NewReader(`{"KVGet":["a"]}`)))
		require.Equal(t, test.status, w.Code, test.err)
		require.Contains(t, w.Body.String(), `{"Code":"`+test.code+`"`)
	}
	w := httptest.NewRecorder()
	newWire(broken{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/db/t", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
	require.Equal(t, "POST", w.Header().Get("Allow"))

	foreign := httptest.NewRequest(http.MethodPost, "/db/t", strings.NewReader(`{"KVGet":["a"]}`))
	foreign.Header.Set("Sec-Fetch-Site", "cross-site")
	w = httptest.NewRecorder()
	newWire(broken{}).ServeHTTP(w, foreign)
	require.Equal(t, http.StatusForbidden, w.Code)
}

// slow is a server that is late with the answer to a watch.
type slow struct{}

func (slow) Apply(ctx context.Context, _ machine.Kind, _ any) (json.RawMessage, error) {
	deadline, _ := ctx.Deadline()
	time.Sleep(time.Until(deadline) + time.Second)
	return json.RawMessage(`{"Key":"a","Value":null,"Delete":false,"Version":0}`), ctx.Err()
}

func TestAWatchThatEndsLateIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := httptest.NewRecorder()
		newWire(slow{}).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/watch/t", strings.NewReader(`{"ID":"a","Version":0}`)))
		require.Equal(t, http.StatusRequestTimeout, w.Code, w.Body)
		require.Equal(t, watching+time.Second, time.Since(began))
	})
}

// TestALengthThatIsOnlyClaimedCostsNothing: clients that send no body take no memory for one.
func TestALengthThatIsOnlyClaimedCostsNothing(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/db/t", strings.NewReader(`{"KVGet":["a"`))
	r.ContentLength = maxBody
	newWire(broken{}).ServeHTTP(w, r)
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
	require.Equal(t, http.StatusBadRequest, w.Code)
}

// TestABodyThatIsBroken is the client's fault, and not the server's.
func TestABodyThatIsBroken(t *testing.T) {
	_, w := startWire(t)
	k := dial(t, strings.TrimPrefix(w.url, "http://"))
	k.say("POST /db/t HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
	got, err := http.ReadResponse(k.in, nil)
	require.NoError(t, err)
	defer got.Body.Close()
	require.Equal(t, http.StatusBadRequest, got.StatusCode)
	body, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), `{"Code":"bad_request","Message":"the body: `)
}

// TestWhatGosClientsSend: they leave nothing out.
func TestWhatGosClientsSend(t *testing.T) {
	_, w := startWire(t)
	w.want("/db/t", `{"LockWait":30,"LockDur":30,"LockID":"a","UnlockID":"","Unlock":0,"IdempotencyIDs":null,"Atomic":null,`+
		`"KVSet":null,"KVGet":null}`, 200, `{"l":1}`)
	w.want("/db/t", `{"LockWait":0,"LockDur":0,"LockID":"","UnlockID":"a","Unlock":1,"IdempotencyIDs":[],`+
		`"Atomic":[{"Key":"n","Add":1,"Set":0,"IfEq":null},{"Key":"m","Add":0,"Set":4,"IfEq":0}],`+
		`"KVSet":[{"Key":"k","Value":1,"Delete":false,"Version":7},{"Key":"l","Value":null,"Delete":true,"Version":0}],"KVGet":["k"]}`,
		200, `{"kv":[{"Key":"k","Value":null,"Delete":false,"Version":0}],"atm":[{"k":"n","new":1,"f":false},{"k":"m","new":4,"f":false}]}`)
	w.want("/watch/t", `{"ID":"k","Version":7}`, 200, `{"Key":"k","Value":1,"Delete":false,"Version":1}`)
}

// vanishing is a server whose client goes just when it is given a lock.
type vanishing struct {
	gone   func()
	inputs []string
}

func (v *vanishing) Apply(ctx context.Context, _ machine.Kind, input any) (json.RawMessage, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	text, err := json.Marshal(input)
	v.inputs = append(v.inputs, string(text))
	v.gone()
	return json.RawMessage(`{"l":7}`), err
}

func TestALockForAClientThatHasGoneIsGivenBack(t *testing.T) {
	for body, second := range map[string]string{
		`{"LockID":"a","LockDur":60}`:                                    `{"Do":{"Tenant":"t","UnlockID":"a","Unlock":7}}`,
		`{"LockID":"a","LockDur":60,"UnlockID":"b","Unlock":3}`:          `{"Do":{"Tenant":"t","UnlockID":"a","Unlock":7}}`,
		`{"LockID":"a","LockDur":60,"UnlockID":"a","Unlock":7}`:          "",
		`{"UnlockID":"a","Unlock":7,"KVSet":[{"Key":"k","Value":true}]}`: "",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		v := &vanishing{gone: cancel}
		newWire(v).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/db/t", strings.NewReader(body)).WithContext(ctx))
		require.Equal(t, second, strings.Join(v.inputs[1:], ""), body)
	}
}
