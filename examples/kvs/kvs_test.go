package main

import (
	"encoding/json"
	"strings"
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
		{machine.Query, `{"GetVersion":"n"}`, `{"version":5,"value":null}`},
		{machine.Query, `{"GetVersion":"bar"}`, `{"version":0,"value":null}`},
		{machine.Command, `{"PutIf":["bar",0,1]}`, `{"version":6}`},
		{machine.Command, `{"PutIf":["bar",6,2]}`, `{"version":7}`},
		{machine.Command, `{"Delete":"bar"}`, `2`},
		{machine.Command, `{"Put":["bar",3]}`, `null`},
		{machine.Query, `{"Watch":["bar",7]}`, `{"version":8,"value":3}`},
		{machine.Command, `{"Delete":"bar"}`, `3`},
		{machine.LocalQuery, `{"Watch":["bar",8]}`, `{"version":0,"value":null}`},
		{machine.Command, `{"PutIf":["foo",2,124]}`, `{"version":9}`},
		{machine.Command, `{"PutIf":["new",0,0]}`, `{"version":10}`},
		{machine.Command, `{"Delete":"new"}`, `0`},

		{machine.Command, `{"PutIf":["foo",2,0]}`, ``},
		{machine.Command, `{"PutIf":["foo",0,0]}`, ``},
		{machine.Command, `{"PutIf":["foo",-1,0]}`, ``},
		{machine.Command, `{"PutIf":["foo",9.5,0]}`, ``},
		{machine.Command, `{"PutIf":["foo",null,0]}`, ``},
		{machine.Command, `{"PutIf":["foo",9]}`, ``},
		{machine.Query, `{"PutIf":["foo",9,0]}`, ``},
		{machine.Command, `{"Watch":["foo",1]}`, ``},
		{machine.Query, `{"Watch":["foo"]}`, ``},
		{machine.Query, `{"GetVersion":["foo"]}`, ``},

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

		{machine.Command, `{"PutAll":[["p/2",2],["p/1",null],["foo",124]]}`, `{"version":13}`},
		{machine.Query, `{"GetVersion":"p/1"}`, `{"version":12,"value":null}`},
		{machine.Query, `{"Keys":{}}`, `{"keys":["foo","n","p/1","p/2"],"more":false}`},
		{machine.LocalQuery, `{"Keys":{"prefix":"p/"}}`, `{"keys":["p/1","p/2"],"more":false}`},
		{machine.Command, `{"Keys":{"prefix":"p/","limit":1}}`, `{"keys":["p/1"],"more":true}`},
		{machine.Query, `{"Keys":{"prefix":"p/","after":"p/1","limit":1000}}`, `{"keys":["p/2"],"more":false}`},
		{machine.Query, `{"Keys":{"prefix":"p/","after":"z"}}`, `{"keys":[],"more":false}`},
		{machine.Command, `{"Delete":"p/1"}`, `null`},
		{machine.Command, `{"Delete":"p/2"}`, `2`},
		{machine.Command, `{"PutIf":["foo",13,124]}`, `{"version":14}`},

		{machine.Query, `{"PutAll":[["foo",0]]}`, ``},
		{machine.Command, `"PutAll"`, ``},
		{machine.Command, `{"PutAll":[]}`, ``},
		{machine.Command, `{"PutAll":null}`, ``},
		{machine.Command, `{"PutAll":{"foo":0}}`, ``},
		{machine.Command, `{"PutAll":["foo",0]}`, ``},
		{machine.Command, `{"PutAll":[["foo",0],["foo",1]]}`, ``},
		{machine.Command, `{"PutAll":[["foo",0],["n"]]}`, ``},
		{machine.Command, `{"PutAll":[["foo",0],["n",1,2]]}`, ``},
		{machine.Command, `{"PutAll":[["foo",0],[5,1]]}`, ``},
		{machine.Command, `{"PutAll":[["foo",0],null]}`, ``},
		{machine.Command, `{"PutAll":[["x0",0]` + strings.Repeat(`,["x",0]`, mostPairs) + `]}`, ``},
		{machine.Query, `"Keys"`, ``},
		{machine.Query, `{"Keys":null}`, ``},
		{machine.Query, `{"Keys":"p"}`, ``},
		{machine.Query, `{"Keys":{"limit":-1}}`, ``},
		{machine.Query, `{"Keys":{"limit":1001}}`, ``},
		{machine.Query, `{"Keys":{"limit":1.5}}`, ``},
		{machine.Query, `{"Keys":{"limit":99999999999999999999}}`, ``},
		{machine.Query, `{"Keys":{"prefix":5}}`, ``},
		{machine.Query, `{"Keys":{"first":1}}`, ``},
	} {
		ctx := machine.NewContext(tt.kind, 2, time.Now())
		ctx.Version = 2
		out, err := m.Apply(ctx, []byte(tt.input))
		if tt.wants == "" {
			require.Error(t, err, tt.input)
			continue
		}
		require.NoError(t, err, tt.input)
		require.Equal(t, tt.wants, text(t, out), tt.input)
	}

	snapshot, err := m.Snapshot()
	require.NoError(t, err)
	require.JSONEq(t, `[14,{"foo":[14,124],"n":[5,null]}]`, string(snapshot))
	var restored kvs
	restored.put("old", json.RawMessage(`1`))
	require.NoError(t, machine.JSON(&restored).Restore(snapshot))
	require.Equal(t, []string{"foo", "n"}, restored.keys(), "nothing of before is left")
	require.Equal(t, `124`, string(restored.get("foo").value))
	require.Equal(t, `null`, string(restored.get("n").value))
}

// text is what the client sees of an output.
func text(t *testing.T, out any) string {
	if raw, ok := out.(*json.RawMessage); ok && *raw != nil {
		return string(*raw)
	}
	b, err := json.Marshal(out)
	require.NoError(t, err)
	return string(b)
}

// What an older build does not know is kept from it.
func TestNewCommandsNeedTheirVersion(t *testing.T) {
	for tag, version := range map[string]int{"Put": 0, "Delete": 0, "Get": 0, "List": 0, "PutIf": 1, "PutAll": 2, "Keys": 2} {
		require.Equal(t, version, new(kvs).Needs(machine.Union{Tag: tag}), tag)
	}
	require.Equal(t, 2, new(kvs).Version())
}

// Those who watch a key are woken by whatever puts it or takes it away, and by nothing else.
func TestWatchersOfAKeyAreWoken(t *testing.T) {
	m := machine.JSON(&kvs{})
	apply := func(kind machine.Kind, input string) machine.Effects {
		ctx := machine.NewContext(kind, 2, time.Now())
		ctx.Version = 1
		_, _ = m.Apply(ctx, []byte(input))
		return ctx.Effects()
	}
	require.Equal(t, []string{"k"}, apply(machine.Query, `{"Watch":["k",0]}`).Waits)
	require.Equal(t, []string{"k"}, apply(machine.Command, `{"Put":["k",1]}`).Wakes)
	require.Empty(t, apply(machine.Query, `{"Watch":["k",0]}`).Waits)
	require.Equal(t, []string{"k"}, apply(machine.Command, `{"PutIf":["k",1,2]}`).Wakes)
	require.Empty(t, apply(machine.Command, `{"PutIf":["k",1,3]}`).Wakes)
	require.Equal(t, []string{"k"}, apply(machine.Command, `{"Delete":"k"}`).Wakes)
	require.Empty(t, apply(machine.Query, `{"Put":["k",1]}`).Wakes)
	require.Equal(t, []string{"b", "a"}, apply(machine.Command, `{"PutAll":[["b",1],["a",2]]}`).Wakes)
	require.Empty(t, apply(machine.Command, `{"PutAll":[["b",1],["b",2]]}`).Wakes)
}

// Whatever snapshot of the first build a server starts from, it comes to the same versions as the others: they are counted from the
// command on at which all servers know them.
func TestVersionsBeginAtOneCommand(t *testing.T) {
	log := []struct {
		version int
		input   string
	}{
		{0, `{"Put":["a",1]}`}, {0, `{"Put":["b",2]}`}, {0, `{"Put":["a",3]}`}, {0, `{"Delete":"b"}`}, {0, `{"Put":["c",4]}`},
		{1, `{"Put":["c",5]}`}, {1, `{"Put":["d",6]}`}, {1, `{"PutIf":["a",1,7]}`},
	}
	apply := func(m machine.Machine, from, to int) {
		for i := from; i < to; i++ {
			ctx := machine.NewContext(machine.Command, uint64(i+2), time.Now())
			ctx.Version = log[i].version
			_, err := m.Apply(ctx, []byte(log[i].input))
			require.NoError(t, err)
		}
	}
	for at := range log {
		early := machine.JSON(&kvs{})
		apply(early, 0, at)
		snapshot, err := early.Snapshot()
		require.NoError(t, err)
		late := machine.JSON(&kvs{})
		require.NoError(t, late.Restore(snapshot))
		apply(late, at, len(log))
		state, err := late.Snapshot()
		require.NoError(t, err)
		require.JSONEq(t, `[4,{"a":[4,7],"c":[2,5],"d":[3,6]}]`, string(state), "from the snapshot at %d", at)
	}
}
