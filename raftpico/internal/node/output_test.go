package node_test

import (
	"strings"
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/node"
)

// A pointer to a raw output is that output, and costs no allocation. One that is wrong is refused in the words of package json, as
// any other type's is: sessions keep them, and servers of older releases have no other way for it.
func TestPointerToARawOutputIsThatOutput(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, text := range []string{`1`, `{"a":"<"}`, ` {"a": [ ] }`, `{"a":1,"a":1.0}`, `"\u0061\/\ud800"`, deep(1000), `"\xff"`, "\"\xff\"", `{"half":`, ``, ` `, deep(1100)} {
		raw := json.RawMessage(text)
		want, refusal := node.EncodeAny(&raw)
		got, err := node.EncodeOutput(&raw, nil)
		require.Equal(t, string(want), string(got), "%.20q", text)
		require.Equal(t, refusal, err, "%.20q", text)
		if err == nil && len(text) < 1100 {
			got, err = node.EncodeOutput(raw, nil)
			require.Equal(t, string(want), string(got), "%.20q", text)
			require.Nil(t, err)
		}
	}
	for _, null := range []*json.RawMessage{nil, new(json.RawMessage)} {
		got, err := node.EncodeOutput(null, nil)
		require.Nil(t, err)
		require.Equal(t, "null", string(got))
	}
	raw := json.RawMessage(`{"a":[1,2]}`)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = node.EncodeOutput(&raw, nil) }))
}
