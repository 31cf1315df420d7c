package node_test

import (
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/node"
)

// A pointer to a raw output is that output, and costs no allocation.
func TestPointerToARawOutputIsThatOutput(t *testing.T) {
	for _, text := range []string{`1`, `{"a":"<"}`, ` {"a": [ ] }`, `"\xff"`, `{"half":`, ``, ` `} {
		raw := json.RawMessage(text)
		want, refusal := node.EncodeOutput(raw, nil)
		got, err := node.EncodeOutput(&raw, nil)
		require.Equal(t, want, got, "%q", text)
		require.Equal(t, refusal, err, "%q", text)
	}
	for _, null := range []*json.RawMessage{nil, new(json.RawMessage)} {
		got, err := node.EncodeOutput(null, nil)
		require.Nil(t, err)
		require.Equal(t, "null", string(got))
	}
	raw := json.RawMessage(`{"a":[1,2]}`)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = node.EncodeOutput(&raw, nil) }))
}
