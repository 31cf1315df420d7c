package uptime

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// Where there is a vDSO, its clock is found, and is believed: nothing else would tell that it is not.
func TestClockIsQuick(t *testing.T) {
	_, _, err := mapped()
	memory, closed := os.Open("/proc/self/mem")
	if err != nil || closed != nil || !newKernel() {
		t.Skip("no vDSO that can be read, or an old one:", err, closed)
	}
	require.NoError(t, memory.Close())
	found, err := find()
	require.NoError(t, err)
	require.Equal(t, found, function())
	_, ok := quick()
	require.True(t, ok)
}
