package jsonrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"
)

func dial(t testing.TB, addr string) *Client {
	t.Helper()
	c, err := Dial(t.Context(), addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestClientCallsFromManyGoroutines(t *testing.T) {
	c := dial(t, start(t, &Server{Handler: echo}))
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for j := range 20 {
				var out []string
				in := []string{fmt.Sprint(i, "<&>"), fmt.Sprint(j)}
				if err := c.Call(t.Context(), "echo", in, &out); err != nil || fmt.Sprint(in) != fmt.Sprint(out) {
					t.Errorf("got %v, %v, want %v", out, err, in)
				}
			}
		})
	}
	wg.Wait()
	require.Zero(t, c.Underway())
}

func TestClientParamsAndResults(t *testing.T) {
	c := dial(t, start(t, &Server{Handler: echo}))
	raw, err := c.CallRaw(t.Context(), "echo", json.RawMessage(`{"a":123456789012345678901234567890}`))
	require.NoError(t, err)
	require.Equal(t, `{"a":123456789012345678901234567890}`, string(raw))

	var out json.RawMessage
	require.NoError(t, c.Call(t.Context(), "echo", json.RawMessage("[\n1, \"<\"]"), &out))
	require.Equal(t, `[1,"<"]`, string(out), "raw params are made one line")
	require.NoError(t, c.Call(t.Context(), "echo", json.RawMessage(nil), &out))
	require.Equal(t, `null`, string(out), "no params")
	require.NoError(t, c.Call(t.Context(), "echo", nil, nil))
	require.Error(t, c.Call(t.Context(), "echo", json.RawMessage("{"), nil), "never sent")
	require.Error(t, c.Call(t.Context(), "echo", func() {}, nil), "never sent")
	require.Error(t, c.Notify(t.Context(), "echo", func() {}), "never sent")
	var wrong map[string]int
	require.ErrorContains(t, c.Call(t.Context(), "echo", []int{1}, &wrong), "decode the result of echo")

	err = c.Call(t.Context(), "fail", nil, nil)
	require.IsType(t, &Error{}, err)
	require.ErrorIs(t, err, ErrMethodNotFound)

	deep := strings.Repeat("[", 127) + strings.Repeat("]", 127)
	_, err = c.CallRaw(t.Context(), "echo", json.RawMessage(deep))
	require.NoError(t, err)
}

func TestClientNotifiesInOrder(t *testing.T) {
	calls := make(later, 1000)
	c := dial(t, start(t, &Server{Handler: calls.handle}))
	for i := range 500 {
		require.NoError(t, c.Notify(t.Context(), "n", []int{i}))
	}
	for i := 0; i < 500; {
		for _, call := range <-calls {
			require.Nil(t, call.ID)
			require.Equal(t, fmt.Sprintf("[%d]", i), string(call.Params))
			call.Result(nil)
			i++
		}
	}
}

func TestLateAnswerToACallGivenUpIsIgnored(t *testing.T) {
	calls := make(later, 10)
	c := dial(t, start(t, &Server{Handler: calls.handle}))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() { failed <- c.Call(ctx, "a", nil, nil) }()
	first := (<-calls)[0]
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	require.ErrorIs(t, c.Call(ctx, "never sent", nil, nil), context.Canceled)

	var out string
	go func() { failed <- c.Call(t.Context(), "b", nil, &out) }()
	second := (<-calls)[0]
	first.Result([]byte(`"a"`))
	second.Result([]byte(`"b"`))
	second.Conn().Flush()
	require.NoError(t, <-failed)
	require.Equal(t, "b", out)
}

func TestDeadConnectionFailsAllCalls(t *testing.T) {
	for _, c := range []struct {
		answer, want string
	}{
		{"", "lost: EOF"},
		{"{\n", "lost: Parse error"},
		{`{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid request"}}` + "\n", "lost: it refused a line: Invalid request"},
	} {
		client, server := net.Pipe()
		cl := NewClient(client)
		failed := make(chan error, 2)
		for range 2 {
			go func() { failed <- cl.Call(t.Context(), "m", nil, nil) }()
		}
		in := NewReader(server, 0)
		for range 2 {
			_, err := in.ReadLine()
			require.NoError(t, err)
		}
		_, _ = io.WriteString(server, c.answer)
		require.NoError(t, server.Close())
		require.ErrorContains(t, <-failed, c.want)
		require.ErrorContains(t, <-failed, c.want)
		require.ErrorContains(t, cl.Call(t.Context(), "m", nil, nil), c.want, "and all later ones")
		require.NoError(t, cl.Close())
	}
}

func TestClientClose(t *testing.T) {
	calls := make(later, 10)
	c := dial(t, start(t, &Server{Handler: calls.handle}))
	failed := make(chan error)
	go func() { failed <- c.Call(t.Context(), "m", nil, nil) }()
	<-calls
	require.NoError(t, c.Close())
	require.ErrorIs(t, <-failed, ErrClosed)
	require.ErrorIs(t, c.Notify(t.Context(), "m", nil), ErrClosed)
	require.NoError(t, c.Close())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Dial(ctx, "127.0.0.1:1")
	require.ErrorIs(t, err, context.Canceled)
}

// TestWhatWasNotSentIsTold: a call of which nothing left this side can be made again elsewhere.
func TestWhatWasNotSentIsTold(t *testing.T) {
	near, far := net.Pipe() // takes nothing that is not read
	c := NewClient(near)
	first, second := make(chan error), make(chan error)
	go func() { first <- c.Call(t.Context(), "m", nil, nil) }()
	_, err := far.Read(make([]byte, 1))
	require.NoError(t, err)
	go func() { second <- c.Call(t.Context(), "m", nil, nil) }()
	require.Eventually(t, func() bool { return c.Underway() == 2 }, time.Minute, time.Millisecond)
	require.NoError(t, far.Close())
	err = <-first
	require.ErrorContains(t, err, "lost")
	require.NotErrorIs(t, err, ErrNotSent)
	err = <-second
	require.ErrorContains(t, err, "lost")
	require.ErrorIs(t, err, ErrNotSent)
	require.ErrorIs(t, c.Call(t.Context(), "m", nil, nil), ErrNotSent, "it is lost already")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, c.Call(ctx, "m", nil, nil), ErrNotSent)
	require.NoError(t, c.Close())
}

// TestCallersWaitForRoom: a server that reads nothing makes them wait, and hold no more than that.
func TestCallersWaitForRoom(t *testing.T) {
	near, far := net.Pipe()
	c := NewClient(near)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	long := json.RawMessage(`["` + strings.Repeat("x", maxQueued/4) + `"]`)
	var wg sync.WaitGroup
	var unsent atomic.Int64
	for range 20 {
		wg.Go(func() {
			_, err := c.CallRaw(ctx, "m", long)
			if errors.Is(err, ErrNotSent) && errors.Is(err, context.DeadlineExceeded) {
				unsent.Add(1)
			}
		})
	}
	wg.Wait()
	require.GreaterOrEqual(t, unsent.Load(), int64(5))
	require.NoError(t, c.Close())
	require.NoError(t, far.Close())
}

// TestWatchNoticesSilence, but only of those who don't answer the watch either.
func TestWatchNoticesSilence(t *testing.T) {
	const silence = time.Second // far longer than a busy machine may stall
	calls := make(later, 100)
	c := dial(t, start(t, &Server{Handler: calls.handle}))
	c.Watch("are you there", silence)

	failed := make(chan error)
	go func() { failed <- c.Call(t.Context(), "long", nil, nil) }()
	long := (<-calls)[0]
	for range 3 { // it is there
		for _, call := range <-calls {
			require.Equal(t, "are you there", call.Method)
			call.Fail(ErrMethodNotFound)
			call.Conn().Flush()
		}
	}
	long.Result(nil)
	long.Conn().Flush()
	require.NoError(t, <-failed)

	go func() { failed <- c.Call(t.Context(), "long", nil, nil) }()
	err := <-failed
	require.ErrorIs(t, err, errSilent)
	require.NotErrorIs(t, err, ErrNotSent)
}

// TestPlainResults are those that ParseResponse takes for the same, and no others.
func TestPlainResults(t *testing.T) {
	for _, result := range []string{"null", "0", `{"a":[1,"}"]}`, `"\u00e4ä"`, "[]"} {
		for _, id := range []string{"0", "7", "123456789"} {
			line := AppendResult(nil, []byte(id), []byte(result))
			n, got, ok := plainResult(line)
			require.True(t, ok, string(line))
			require.Equal(t, id, fmt.Sprint(n))
			require.Equal(t, result, string(got))
			r, err := ParseResponse(line)
			require.NoError(t, err)
			require.Equal(t, id, string(r.ID))
			require.Equal(t, result, string(r.Result))
		}
	}
	for _, line := range []string{
		`{"jsonrpc":"2.0","id":1,"result":}`, `{"jsonrpc":"2.0","id":1,"result":1`, `{"jsonrpc":"2.0","id":1,"result":1}}`, `{"jsonrpc":"2.0","id":1,"result":1,"error":{}}`,
		`{"jsonrpc":"2.0","id":,"result":1}`, `{"jsonrpc":"2.0","id":01,"result":1}`, `{"jsonrpc":"2.0","id":1234567890,"result":1}`, `{"jsonrpc":"2.0","id":null,"result":1}`, `{"jsonrpc":"2.0","id":"1","result":1}`,
		`{"jsonrpc":"2.0","id":1.0,"result":1}`, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}`, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"\xff\"}", ``, `{`,
	} {
		_, _, ok := plainResult([]byte(line))
		require.False(t, ok, line)
	}
}
