package secure_test

import (
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/secure"
)

// The commands of docs/OPERATIONS.md make what servers and clients need.
func TestDocumentedOpenSSLCommands(t *testing.T) {
	if out, err := exec.Command("openssl", "version").CombinedOutput(); err != nil || !regexp.MustCompile(`^OpenSSL [3-9]`).Match(out) {
		t.Skipf("needs OpenSSL 3: %s", out)
	}
	text := read(t, "../docs/OPERATIONS.md")
	commands := regexp.MustCompile(`(?m)^\$ (openssl (?:.*\\\n)*.*)$`).FindAllSubmatch(text, -1)
	require.Len(t, commands, 3)
	t.Chdir(t.TempDir())
	for _, c := range commands {
		out, err := exec.Command("sh", "-c", string(c[1])).CombinedOutput()
		require.NoError(t, err, "%s\n%s", c[1], out)
	}
	server, err := secure.Files("db1.crt", "db1.key", "ca.crt")
	require.NoError(t, err)
	require.NoError(t, server.ForServer())
	admin, err := secure.Files("ann.crt", "ann.key", "ca.crt")
	require.NoError(t, err)
	require.ErrorContains(t, admin.ForServer(), "a client's")
	_, err = os.Stat("ca.key")
	require.NoError(t, err)
	require.NoError(t, reaches(t, admin, listen(t, server)))
}
