package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
)

func TestKVS(t *testing.T) {
	m := machine.JSON(&kvs{})
	for _, tt := range []struct {
		kind         machine.Kind
		input, wants string // empty: an error
	}{
		{machine.Query, `"List"`, `[]`},
		{machine.Command, `{"Put":["foo",123]}`, `null`},
		{machine.Command, `{"Put":["foo",124]}`, `123`},
		{machine.Query, `{"Get":"foo"}`, `124`},
		{machine.LocalQuery, `{"Get":"nobody"}`, `null`},
		{machine.Command, `{"Put":["bar",{"x":[1,null,"<s>\u003c"],"x":2}]}`, `null`},
		{machine.Command, `"List"`, `["bar","foo"]`},
		{machine.Command, `{"Delete":"bar"}`, `{"x":[1,null,"<s>\u003c"],"x":2}`},
		{machine.Command, `{"Delete":"bar"}`, `null`},
		{machine.Command, `{"Put":["n",123456789012345678901234567890]}`, `null`},
		{machine.Query, `{"Get":"n"}`, `123456789012345678901234567890`},
		{machine.Command, `{"Put":["n",null]}`, `123456789012345678901234567890`},
		{machine.Query, `{"Get":"n"}`, `null`},
		{machine.LocalQuery, `"List"`, `["foo","n"]`},

		{machine.Query, `{"Put":["foo",0]}`, ``},
		{machine.LocalQuery, `{"Put":["foo",0]}`, ``},
		{machine.Query, `{"Delete":"foo"}`, ``},
		{machine.Command, `{"Put":["foo"]}`, ``},
		{machine.Command, `{"Put":["foo",0,0]}`, ``},
		{machine.Command, `{"Put":[1,0]}`, ``},
		{machine.Command, `{"Put":"foo"}`, ``},
		{machine.Command, `{"put":["foo",0]}`, ``},
		{machine.Command, `"Put"`, ``},
		{machine.Command, `{"Put":["foo",0],"Delete":"foo"}`, ``},
		{machine.Command, `{"Delete":["foo"]}`, ``},
		{machine.Command, `{"Delete":null}`, ``},
		{machine.Query, `{"Get":null}`, ``},
		{machine.Query, `{"List":null}`, ``},
		{machine.Query, `null`, ``},
		{machine.Query, `{"Get":"foo"}`, `124`},
	} {
		out, err := m.Apply(machine.NewContext(tt.kind, 2, time.Now()), []byte(tt.input))
		if tt.wants == "" {
			require.Error(t, err, tt.input)
			continue
		}
		require.NoError(t, err, tt.input)
		require.Equal(t, tt.wants, text(t, out), tt.input)
	}

	snapshot, err := m.Snapshot()
	require.NoError(t, err)
	require.JSONEq(t, `{"foo":124,"n":null}`, string(snapshot))
	var restored kvs
	restored.put("old", json.RawMessage(`1`))
	require.NoError(t, machine.JSON(&restored).Restore(snapshot))
	require.Equal(t, []string{"foo", "n"}, restored.keys(), "nothing of before is left")
	require.Equal(t, `124`, string(restored.get("foo")))
	require.Equal(t, `null`, string(restored.get("n")))
}

// text is what the client sees of an output.
func text(t *testing.T, out any) string {
	if raw, ok := out.(json.RawMessage); ok && raw != nil {
		return string(raw)
	}
	b, err := json.Marshal(out)
	require.NoError(t, err)
	return string(b)
}
