package raftpico_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// What a person pastes where others read it shows no half of the cluster's key, whatever has happened to the file.
func TestInspectedTextHidesTheClustersKey(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log")
	s := startServer(t, machine.JSON(&anything{}), func(o *raftpico.Options) { o.File = file })
	_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	_, err = s.Apply(t.Context(), machine.Command, map[string]string{"key": "a client's"})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	good, err := os.ReadFile(file)
	require.NoError(t, err)
	found := regexp.MustCompile(`"key":"([0-9a-f]{64})"`).FindSubmatch(good)
	require.NotNil(t, found)
	key := string(found[1])

	inspect := func(content []byte) (text, verbatim string) {
		require.NoError(t, os.WriteFile(file, content, 0o600))
		_, err := raftpico.InspectLog(file, func(l raftpico.LogLine) error {
			a, err := io.ReadAll(l.Text)
			require.NoError(t, err)
			b, err := io.ReadAll(l.Verbatim)
			require.NoError(t, err)
			text, verbatim = text+string(a)+"\n", verbatim+string(b)+"\n"
			return nil
		})
		require.NoError(t, err)
		return text, verbatim
	}
	text, verbatim := inspect(good)
	require.Equal(t, string(good), verbatim)
	require.Equal(t, strings.Replace(string(good), key, "(hidden)", 1), text, "nothing else is hidden")

	at := bytes.Index(good, []byte(`{"Identity"`))
	end := at + bytes.IndexByte(good[at:], '\n')
	changed := map[string][]byte{
		"CR LF":  bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")),
		"joined": bytes.ReplaceAll(good, []byte("\n"), nil),
		"spaces": bytes.ReplaceAll(good, []byte(`":`), []byte(`" : `)),
	}
	var pretty bytes.Buffer
	for line := range bytes.Lines(good) {
		require.NoError(t, json.Indent(&pretty, line, "", "  "))
	}
	changed["jq"] = pretty.Bytes()
	for name, order := range map[string]binary.AppendByteOrder{"UTF-16": binary.LittleEndian, "UTF-16, big-endian": binary.BigEndian} {
		for _, unit := range utf16.Encode([]rune(string(good))) {
			changed[name] = order.AppendUint16(changed[name], unit)
		}
	}
	for cut := at; cut < end; cut += 3 {
		changed["torn in "+string(good[at:cut])] = good[:cut]
	}
	for flip := at; flip < end; flip++ {
		for _, bit := range []byte{1, 16} {
			flipped := bytes.Clone(good)
			flipped[flip] ^= bit
			changed["flipped in "+string(good[at:flip])+string(rune('0'+bit))] = flipped
		}
	}
	for name, content := range changed {
		text, _ := inspect(content)
		text = strings.ReplaceAll(text, "\x00", "")
		for from := 0; from+33 <= len(key); from++ {
			require.NotContains(t, text, key[from:from+33], name)
		}
	}
}
