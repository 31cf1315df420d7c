package jsonrpc

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"
)

// corpusText is a text of ../testdata/json.
type corpusText struct {
	text []byte
	why  string // the comment above it
}

// corpus reads a file of ../testdata/json. Its notation is told in valid.txt.
func corpus(t testing.TB, file string) (texts []corpusText) {
	t.Helper()
	content, err := os.ReadFile("../testdata/json/" + file)
	require.NoError(t, err)
	why := ""
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSuffix(line, "\n")
		comment, isComment := strings.CutPrefix(line, "# ")
		pieces, inPieces := strings.CutPrefix(line, `\ `)
		switch {
		case isComment:
			why = comment
		case inPieces:
			text, err := join(pieces)
			require.NoError(t, err, line)
			texts = append(texts, corpusText{[]byte(text), why})
		case line != "":
			texts = append(texts, corpusText{[]byte(line), why})
		}
	}
	require.Greater(t, len(texts), 10, file)
	return texts
}

// join puts together Go strings, each of which may be followed by how often it stands there.
func join(pieces string) (string, error) {
	var text strings.Builder
	for pieces = strings.TrimSpace(pieces); pieces != ""; {
		quoted, err := strconv.QuotedPrefix(pieces)
		if err != nil {
			return "", err
		}
		piece, err := strconv.Unquote(quoted)
		if err != nil {
			return "", err
		}
		pieces = strings.TrimSpace(pieces[len(quoted):])
		times := 1
		if digits := len(pieces) - len(strings.TrimLeft(pieces, "0123456789")); digits > 0 {
			if times, err = strconv.Atoi(pieces[:digits]); err != nil {
				return "", err
			}
			pieces = strings.TrimSpace(pieces[digits:])
		}
		text.WriteString(strings.Repeat(piece, times))
	}
	return text.String(), nil
}

func (c corpusText) String() string { return fmt.Sprintf("%s %.200q", c.why, c.text) }

// accepted checks that all that reads values here takes a text.
func accepted(t *testing.T, c corpusText) {
	t.Helper()
	require.NoError(t, Valid(c.text, MaxDepth), "%v", c)
	sameAsCompact(t, c.text, MaxDepth)
	var want bytes.Buffer
	require.NoError(t, stdjson.Compact(&want, c.text), "%v", c)
	require.Equal(t, want.String(), string(bytes.TrimSpace(Compact(c.text))), "%v", c)
	if depth(c.text) <= MaxDepth-2 {
		r, err := ParseRequest(fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"m","params":[%s]}`, c.text))
		require.NoError(t, err, "%v", c)
		require.Equal(t, "["+string(c.text)+"]", string(r.Params), "%v", c)
	}
}

// refused checks that nothing that reads values here takes a text.
func refused(t *testing.T, c corpusText) {
	t.Helper()
	require.Error(t, Valid(c.text, MaxDepth), "%v", c)
	sameAsCompact(t, c.text, MaxDepth)
	_, err := ParseRequest(c.text)
	require.ErrorIs(t, err, ErrParse, "%v", c)
	_, err = ParseRequest(fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"m","params":{"a":%s}}`, c.text))
	require.ErrorIs(t, err, ErrParse, "%v", c)
}

func TestCorpusOfWhatIsJSON(t *testing.T) {
	for _, c := range corpus(t, "valid.txt") {
		require.True(t, stdjson.Valid(c.text), "%v", c)
		accepted(t, c)
		sameValue(t, c)
	}
}

func TestCorpusOfWhatIsNoJSON(t *testing.T) {
	for _, c := range corpus(t, "invalid.txt") {
		require.False(t, stdjson.Valid(c.text), "%v", c)
		refused(t, c)
	}
}

func TestCorpusOfWhatEncodingJSONTakesAlone(t *testing.T) {
	for _, c := range corpus(t, "differs.txt") {
		require.True(t, stdjson.Valid(c.text), "%v", c)
		refused(t, c)
	}
}

func TestCorpusOfDuplicates(t *testing.T) {
	for _, c := range corpus(t, "duplicates.txt") {
		accepted(t, c)
		require.NoError(t, stdjson.Unmarshal(c.text, new(map[string]any)), "%v", c)
		require.ErrorIs(t, Members(c.text, func(_, _ []byte) error { return nil }), errDuplicate, "%v", c)
		_, err := ParseRequest(fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"m",%s}`, bytes.Trim(c.text, "{}")))
		require.ErrorIs(t, err, ErrInvalidRequest, "%v", c)
	}
}

// sameValue checks that a value that is taken apart here, or decoded by the JSON package of this module, is what encoding/json
// makes of it.
func sameValue(t *testing.T, c corpusText) {
	t.Helper()
	var want, got any
	d := stdjson.NewDecoder(bytes.NewReader(c.text))
	d.UseNumber()
	require.NoError(t, d.Decode(&want), "%v", c)
	fast := json.NewDecoder(bytes.NewReader(c.text))
	fast.UseNumber()
	require.NoError(t, fast.Decode(&got), "%v", c)
	require.Equal(t, fmt.Sprintf("%#v", want), fmt.Sprintf("%#v", got), "%v", c)

	text := bytes.TrimSpace(c.text)
	switch want := want.(type) {
	case string:
		require.Equal(t, want, string(unquote(text[1:len(text)-1])), "%v", c)
	case []any:
		n := 0
		require.NoError(t, Elements(c.text, func(value []byte) error {
			n++
			return Valid(value, MaxDepth)
		}))
		require.Len(t, want, n, "%v", c)
	case map[string]any:
		require.NoError(t, Members(c.text, func(name, value []byte) error {
			require.Contains(t, want, string(name), "%v", c)
			delete(want, string(name))
			return Valid(value, MaxDepth)
		}))
		require.Empty(t, want, "%v", c)
	}
}
