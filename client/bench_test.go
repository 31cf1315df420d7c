package client_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/machine"
)

// BenchmarkCallers is what a call costs when a thousand goroutines call at once, all that a server does being next to nothing.
func BenchmarkCallers(b *testing.B) {
	for _, c := range []struct {
		name    string
		kind    machine.Kind
		options client.Options
	}{
		{"Query", machine.Query, client.Options{}},
		{"Command", machine.Command, client.Options{NoSessions: true}},
		{"CommandInSession", machine.Command, client.Options{}},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkCallers(b, c.kind, c.options) })
	}
}

func benchmarkCallers(b *testing.B, kind machine.Kind, o client.Options) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer l.Close()
	go answerAll(l)
	c := client.NewWith(o, l.Addr().String())
	defer c.Close()
	input := json.RawMessage(`{"Put":["aaaaaaaa","vvvvvvvvvvvvvvvv"]}`)
	require.NoError(b, c.Apply(b.Context(), kind, input, nil))
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := c.Apply(context.Background(), kind, input, nil); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// answerAll is a server that leads alone. It looks for nothing but the id, which the client puts last.
func answerAll(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			in, out := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriterSize(conn, 64<<10)
			for {
				line, err := in.ReadSlice('\n')
				if err != nil {
					return
				}
				result := `"vvvvvvvvvvvvvvvv"`
				switch {
				case bytes.Contains(line[:min(len(line), 64)], []byte(`"Apply"`)):
				case bytes.Contains(line, []byte(`"GetServerState"`)):
					addr := l.Addr()
					result = fmt.Sprintf(`{"role":"Leader","leader":"%v","term":1,"members":[{"addr":"%v","role":"Voter"}]}`, addr, addr)
				default:
					result = `{"session":7}`
				}
				id := line[bytes.LastIndexByte(line, ':')+1:]
				_, _ = out.WriteString(`{"jsonrpc":"2.0","id":`)
				_, _ = out.Write(id[:bytes.IndexByte(id, '}')])
				_, _ = out.WriteString(`,"result":` + result + "}\n")
				if in.Buffered() == 0 && out.Flush() != nil {
					return
				}
			}
		}()
	}
}
