package jsonrpc

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Requests that were read at once share their memory: each tells how much that is.
func TestCallTellsHowMuchMemoryItAliases(t *testing.T) {
	type read struct{ count, params, memory int }
	reads := make(chan read, 100)
	s := &Server{Handler: func(calls []Call) {
		r := read{count: len(calls), memory: calls[0].Memory()}
		for i := range calls {
			r.params += len(calls[i].Params)
			if calls[i].Memory() != r.memory {
				t.Error("they were read at once")
			}
			calls[i].Result(nil)
		}
		reads <- r
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = s.Serve(l) }()
	defer func() { require.NoError(t, s.Shutdown(0)) }()
	nc, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer nc.Close()
	for _, size := range []int{10, 1000, 100_000, 3_000_000} {
		const count = 3
		line := fmt.Sprintf(`{"jsonrpc":"2.0","method":"echo","params":["%s"]}`+"\n", strings.Repeat("x", size))
		_, err = nc.Write([]byte(strings.Repeat(line, count)))
		require.NoError(t, err)
		for n := 0; n < count; {
			r := <-reads
			n += r.count
			require.GreaterOrEqual(t, r.memory, r.params, size)
			require.Less(t, r.memory, 2*count*len(line), size)
		}
	}
}
