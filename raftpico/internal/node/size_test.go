package node

import (
	"strconv"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// Requests are copied on their way into a turn. What only administration needs must not make all of them larger.
func TestRequestIsSmall(t *testing.T) {
	if strconv.IntSize == 64 {
		require.LessOrEqual(t, unsafe.Sizeof(Request{}), uintptr(128), "bytes")
	}
}
