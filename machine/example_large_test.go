package machine_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/machine/machinetest"
)

// journal is lines that are never changed: its state may be large, and is captured in no time.
type journal struct {
	lines []string
	hash  uint64 // of all lines
}

func (j *journal) Apply(ctx *machine.Context, line string) (any, error) {
	if ctx.Kind == machine.Command {
		j.add(line)
	}
	return len(j.lines), nil
}

func (j *journal) add(line string) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", j.hash, line))
	j.lines, j.hash = append(j.lines, line), binary.BigEndian.Uint64(sum[:])
}

// Hash implements machine.Hasher.
func (j *journal) Hash() uint64 { return j.hash }

// Capture implements machine.Snapshotter. What is added later stands behind the lines captured, so both may share them.
func (j *journal) Capture() (write func(io.Writer) error, err error) {
	captured := j.lines
	return func(w io.Writer) error { return writeLines(w, captured) }, nil
}

// writeLines writes a JSON array.
func writeLines(w io.Writer, lines []string) error {
	out := bufio.NewWriter(w)
	_, _ = out.WriteString("[") // an error stays until Flush
	for i, line := range lines {
		text, err := json.Marshal(line)
		if err != nil {
			return err
		}
		if i > 0 {
			_, _ = out.WriteString(",")
		}
		_, _ = out.Write(text)
	}
	_, _ = out.WriteString("]")
	return out.Flush()
}

// Load implements machine.Snapshotter.
func (j *journal) Load(r io.Reader) (install func(), err error) {
	loaded := new(journal)
	in := json.NewDecoder(r)
	if _, err := in.Token(); err != nil { // [
		return nil, err
	}
	for in.More() {
		var line string
		if err := in.Decode(&line); err != nil {
			return nil, err
		}
		loaded.add(line)
	}
	if _, err := in.Token(); err != nil { // ]
		return nil, err
	}
	return func() { *j = *loaded }, nil
}

// A snapshot is written beside Apply, piece by piece, and shows the state of the moment when it was captured.
func ExampleSnapshotter() {
	m := machine.JSON(&journal{})
	for i, line := range []string{`"one"`, `"two"`} {
		_, _ = m.Apply(machine.NewContext(machine.Command, uint64(i+2), time.Now()), []byte(line))
	}
	write, err := m.(machine.Snapshotter).Capture()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Apply(machine.NewContext(machine.Command, 4, time.Now()), []byte(`"three"`)))
	var b bytes.Buffer
	fmt.Println(write(&b), b.String())
	// Output:
	// 3 <nil>
	// <nil> ["one","two"]
}

func TestJournal(t *testing.T) {
	machinetest.Run(t, machinetest.Config{
		New:    func() machine.Machine { return machine.JSON(&journal{}) },
		Inputs: []any{"one", "two", ""},
	})
}

func TestJournalRefusesHalfASnapshot(t *testing.T) {
	for _, half := range []string{``, `["one"`, `["one",`, `[1]`} {
		_, err := new(journal).Load(bytes.NewReader([]byte(half)))
		require.Error(t, err, half)
	}
}
