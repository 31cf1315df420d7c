package backup_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/backup"
)

// FuzzRead: whatever comes, reading ends, and what is taken for a backup is the only text of its head and state.
func FuzzRead(f *testing.F) {
	f.Add(made(f, state))
	f.Add(made(f, `1`))
	f.Add([]byte(`{"Backup":{"format":1}}`))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		out, err := read(text)
		if err != nil {
			var damage *backup.DamageError
			require.ErrorAs(t, err, &damage)
			require.LessOrEqual(t, damage.Line, 1+bytes.Count(text, []byte("\n")))
			return
		}
		require.Contains(t, string(text), out)
	})
}
