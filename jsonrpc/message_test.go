package jsonrpc

import (
	"errors"
	"fmt"
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"
)

func TestMessagesAreWrittenInOneMemberOrder(t *testing.T) {
	for _, c := range []struct{ got, want, why string }{
		{string(AppendRequest(nil, &Request{"Add", []byte(`{"by":2}`), []byte(`0`)})),
			`{"jsonrpc":"2.0","method":"Add","params":{"by":2},"id":0}`, "the request of the package comment"},
		{string(AppendRequest([]byte("x"), &Request{Method: "a\"<é\n"})),
			`x{"jsonrpc":"2.0","method":"a\"<é\n"}`, "a notification; escapes only where needed"},
		{string(AppendResult(nil, []byte(`0`), []byte(`2`))),
			`{"jsonrpc":"2.0","id":0,"result":2}`, "the result of the package comment"},
		{string(AppendResult(nil, nil, nil)), `{"jsonrpc":"2.0","id":null,"result":null}`, "empty is null"},
		{string(AppendError(nil, []byte(`0`), ErrInvalidParams.Because("by: not a number"))),
			`{"jsonrpc":"2.0","id":0,"error":{"code":-32602,"message":"Invalid params","data":{"reason":"by: not a number"}}}`,
			"the error of the package comment"},
		{string(AppendError(nil, []byte(`7`), &Error{Code: 100, Message: "Cluster already created"})),
			`{"jsonrpc":"2.0","id":7,"error":{"code":100,"message":"Cluster already created"}}`, "no data"},
		{string(AppendError(nil, nil, (&Error{Code: 1}).With("<&>"))),
			`{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"","data":"<&>"}}`, "no id; no HTML escapes"},
	} {
		require.Equal(t, c.want, c.got, c.why)
	}
}

func TestErrorIsComparedByCode(t *testing.T) {
	err := fmt.Errorf("call: %w", ErrInvalidParams.Because("why"))
	require.ErrorIs(t, err, ErrInvalidParams)
	require.ErrorIs(t, err, &Error{Code: -32602, Message: "as another server words it"})
	require.NotErrorIs(t, err, ErrParse)
	require.NotErrorIs(t, err, errors.New("x"))
	require.Nil(t, ErrInvalidParams.Data, "With copies")
	require.Equal(t, `Invalid params (code -32602): {"reason":"why"}`, errors.Unwrap(err).Error())
	require.Equal(t, `Parse error (code -32700)`, ErrParse.Error())
	require.Nil(t, ErrParse.With(func() {}).Data, "what can't be encoded is left out")
	require.Equal(t, json.RawMessage(`{"a":1}`), ErrParse.With(json.RawMessage("{ \"a\":\n1}")).Data, "one line")
}
