package front

import (
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/node"
)

// What the short way takes, it takes as the general one does.
func FuzzApplyTheShortWay(f *testing.F) {
	for _, params := range []string{
		`{"kind":"Command","input":{"Put":["k",1]}}`, `{"kind":"Query","input":"List"}`, `{"kind":"LocalQuery","input":null}`,
		`{"kind":"Command","input":{"a" : 1}}`, `{"kind":"Command","input":1 }`, `{"kind":"Command","input": 1}`, `{"kind":"Command","input":[],"timeout_ms":5}`,
		`{"kind":"Command","input":[],"input":[]}`, `{"kind":"Command","input":[],"kind":"Query"}`, `{"kind":"Other","input":1}`, `{"kind":"Command"}`,
		`{"kind":"Comm\u0061nd","input":1}`, `{"input":1,"kind":"Command"}`, `["Command",1]`, `{}`, `{"kind":"Command","input":"}"}`, `{"kind":"Command","input":{"x":"\""}}`,
		`{"kind":"Command","input":1,"session":{"id":1,"seq":1,"ack":0}}`,
	} {
		f.Add(params)
	}
	f.Fuzz(func(t *testing.T, params string) {
		var got, want node.Request
		if jsonrpc.Valid([]byte(params), jsonrpc.MaxDepth) != nil || !shortApply(&got, json.RawMessage(params)) {
			require.Equal(t, want, got, "nothing is set")
			return
		}
		require.NoError(t, methods["Apply"].decode(&want, json.RawMessage(params)))
		require.Equal(t, want, got)
	})
}

// What most clients write goes the short way.
func TestMostAppliesGoTheShortWay(t *testing.T) {
	for _, params := range []string{`{"kind":"Command","input":{"Put":["k",1]}}`, `{"kind":"Query","input":"List"}`, `{"kind":"LocalQuery","input":null}`} {
		require.True(t, shortApply(new(node.Request), json.RawMessage(params)), params)
	}
}
