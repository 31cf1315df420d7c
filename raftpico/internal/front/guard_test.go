package front

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/peer"
)

// TestEachMethodBetweenServersIsGuarded: one that is new must not be open to clients, nor be asked of Authorize.
func TestEachMethodBetweenServersIsGuarded(t *testing.T) {
	files, err := filepath.Glob("../peer/*.go")
	require.NoError(t, err)
	found := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`(?m)^\s*Method\w+\s*= "(raftpico\.\w+)"`).FindAllSubmatch(text, -1) {
			found[string(m[1])] = true
		}
	}
	require.Greater(t, len(found), 7)
	for method := range found {
		require.Equal(t, method != peer.MethodPing, betweenServers(method), method)
	}
	for method := range methods {
		require.False(t, betweenServers(method), method)
	}
}
