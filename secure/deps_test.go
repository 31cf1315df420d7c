package secure_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Who does not use TLS does not compile it.
func TestOthersHaveNoTLSCompiledIn(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "../raftpico", "../raftpico/memnet", "../client", "../machine").CombinedOutput()
	require.NoError(t, err, "%s", out)
	deps := strings.Fields(string(out))
	require.Contains(t, deps, "github.com/raftpico/go/jsonrpc")
	for _, no := range []string{"crypto/tls", "crypto/x509", "net/http", "github.com/raftpico/go/secure"} {
		require.NotContains(t, deps, no)
	}
}
