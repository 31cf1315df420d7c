package wire_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// atLevel0 are the kinds of commands that builds before v0.1.0 can read, with their members. Whatever is not here needs a
// level above 0: this test finds a kind or member that was added without one.
var atLevel0 = map[string][]string{
	"AddServer":    {"Addr", "Instance", "Version"},
	"RemoveServer": {"Addr"},
	"TakeSnapshot": {},
	"SetVersion":   {"Version", "Members"},
	"CheckState":   {},
	"Timer":        {"At"},
	"OpenSession":  {"TTL"},
	"KeepSession":  {"ID", "Ack"},
	"CloseSession": {"ID"},
	"Abandon":      {"Tickets"},
}

func TestWhatOlderReleasesCannotReadHasALevel(t *testing.T) {
	system := reflect.TypeFor[wire.System]()
	for i := range system.NumField() {
		kind := system.Field(i)
		known, old := atLevel0[kind.Name]
		command := func(set func(reflect.Value)) *wire.System {
			s, c := new(wire.System), reflect.New(kind.Type.Elem())
			if set != nil {
				set(c.Elem())
			}
			reflect.ValueOf(s).Elem().Field(i).Set(c)
			return s
		}
		bare := command(nil).Level()
		require.Equal(t, old, bare == 0, "%s without members has level %d", kind.Name, bare)
		require.LessOrEqual(t, bare, wire.Level, kind.Name)
		for j := range kind.Type.Elem().NumField() {
			member := kind.Type.Elem().Field(j).Name
			level := command(func(c reflect.Value) {
				if f := c.Field(j); f.Kind() == reflect.Bool {
					f.SetBool(true)
				} else if f.CanUint() {
					f.SetUint(1)
				}
			}).Level()
			if strings.Contains(fmt.Sprint(known), member) {
				require.Zero(t, level, "%s with %s", kind.Name, member)
			} else if old {
				require.Positive(t, level, "%s with %s: an older release would pass over that", kind.Name, member)
			}
		}
	}
}

// What a newer release may write is refused by name, wherever it stands; what is only broken is no such thing.
func TestWhatANewerReleaseWritesIsRefusedByName(t *testing.T) {
	batch := func(commands string) string {
		return `{"from":1,"boot":"b1","seq":0,"time":5,"commands":[` + commands + `]}`
	}
	entries := func(entry string) string {
		return `{"HardState":{"term":1,"vote":1,"commit":1},"LogEntries":{"prev":{"term":1,"index":1},"entries":[` + entry + `]}`
	}
	appended := func(entry string) string {
		return `{"type":"MsgApp","from":1,"to":2,"term":1,"log_term":1,"index":1,"entries":[` + entry + `]}`
	}
	decode := map[string]func(text string) error{
		"batch":   func(text string) error { _, err := wire.DecodeBatch([]byte(text)); return err },
		"record":  func(text string) error { _, err := wire.DecodeRecord([]byte(text)); return err },
		"message": func(text string) error { _, err := wire.DecodeMessage([]byte(text)); return err },
	}
	long := `{"Apply":"` + strings.Repeat("x", 2000) + `"}`
	for _, c := range []struct{ what, text, names string }{
		{"batch", batch(`{"PauseServer":{"addr":"a:1"}}`), `"PauseServer"`},
		{"batch", batch(`{"AddServer":{"addr":"a:1","instance":"i","zone":"z"}}`), `"zone"`},
		{"batch", batch(`{"Apply":1,"Priority":2}`), `"Priority"`},
		{"batch", strings.Replace(batch(`{"Apply":1}`), `"seq":0`, `"seq":0,"trace":"t"`, 1), `"trace"`},
		{"message", appended(batch(`{"PauseServer":{}}`)), `"PauseServer"`},
		{"message", appended(`{"Compressed":"…"}`), `Compressed`},
		{"message", appended(`{"ConfChange":{"Witness":5}}`), `Witness`},
		{"record", entries(`{"Compressed":"…"}`) + `}`, `Compressed`},
		{"record", entries(batch(`{"Apply":1}`)) + `,"Lease":5,"crc":"12345678"}`, `"Lease"`},
		{"record", entries(batch(long)) + `,"Lease":5,"crc":"12345678"}`, `"Lease"`},
		{"record", `{"HardState":{"term":1,"vote":1,"commit":1},"Lease":{"until":5},"crc":"12345678"}`, `"Lease"`},
	} {
		err := decode[c.what](c.text)
		unknown := new(wire.UnknownError)
		require.True(t, errors.As(err, &unknown), "%s: %v", c.text, err)
		require.ErrorContains(t, err, c.names)
		require.ErrorContains(t, err, "a newer release has written it")
	}
	for _, c := range []struct{ what, text string }{
		{"batch", batch(`{"Apply":1},{"SetVoter":{"addr":"a:1","voter":true}}`)},
		{"batch", batch(``)},
		{"message", `{"type":"Propose","from":1,"to":2,"term":1,"boot":"b1","commands":[{"PauseServer":{}}]}`}, // who proposes does not lead
		{"message", `{"type":"MsgWhat","from":1,"to":2,"term":1}`},
		{"record", `{"Lease":5}`},
		{"record", `{"HardState":5}`},
	} {
		err := decode[c.what](c.text)
		require.Error(t, err, c.text)
		require.False(t, errors.As(err, new(*wire.UnknownError)), "%s: %v", c.text, err)
	}
	for _, text := range []string{entries(batch(long)) + `,"crc":"12345678"}`, entries(batch(`{"Apply":1}`)) + `}`} {
		require.NoError(t, decode["record"](text))
	}
	_, err := wire.DecodeRecord([]byte(`{"Header":{"format":2,"instance":"i"},"Keys":[]}`))
	require.NoError(t, err, "a header of another format is told by its format")
}
