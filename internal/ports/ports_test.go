package ports

import (
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is given out is given out once, can be listened at, and is none that the system gives to an outgoing connection.
func TestAddressesStayFree(t *testing.T) {
	outgoing := lowest + count
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, err := fmt.Sscan(string(text), &outgoing)
		require.NoError(t, err)
	}
	require.LessOrEqual(t, lowest+count, outgoing, "ports of outgoing connections begin there")
	seen := map[string]bool{}
	for _, addr := range Free(t, 200) {
		require.False(t, seen[addr], addr)
		seen[addr] = true
	}
	again := Free(t, 1)[0]
	require.False(t, seen[again])
	l, err := net.Listen("tcp", again)
	require.NoError(t, err)
	require.NoError(t, l.Close())
}
