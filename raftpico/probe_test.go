package raftpico_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// Anybody may ask for an AddServer, and has the server dial. Few dials are under way at once, whatever is asked for, and every request
// is answered.
func TestProbesAreFewAtOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { o.Limits.Deadline = 3 * time.Second })
	_, err := s.CreateCluster(t.Context(), fast)
	require.NoError(t, err)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	var open, most atomic.Int32
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			most.Store(max(most.Load(), open.Add(1)))
			go func() {
				defer open.Add(-1)
				defer conn.Close()
				_, _ = bufio.NewReader(conn).ReadString(0) // until the other end is closed
			}()
		}
	}()

	const count = 4000
	conn, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer conn.Close()
	go func() {
		w := bufio.NewWriter(conn)
		for i := range count {
			fmt.Fprintf(w, `{"jsonrpc":"2.0","method":"AddServer","params":{"addr":"%s"},"id":%d}`+"\n", silent.Addr(), i)
		}
		_ = w.Flush()
	}()
	answers := bufio.NewScanner(conn)
	codes := map[string]int{}
	for range count {
		require.True(t, answers.Scan())
		for _, code := range []string{`"code":108`, `"code":109`, `"code":110`} {
			if strings.Contains(answers.Text(), code) {
				codes[code]++
			}
		}
	}
	require.Equal(t, count, codes[`"code":108`]+codes[`"code":109`]+codes[`"code":110`], "%v", codes)
	require.LessOrEqual(t, most.Load(), int32(16), "connections to the silent address at once")
	_, err = s.Apply(t.Context(), machine.Command, 1)
	require.NoError(t, err)
}

// What was said at an address is nobody's business who can't reach it.
func TestProbeTellsNothingOfWhoIsThere(t *testing.T) {
	t.Parallel()
	s := startServer(t, machine.JSON(&counter{}), nil)
	_, err := s.CreateCluster(t.Context(), fast)
	require.NoError(t, err)
	reasons := map[string]string{}
	for name, banner := range map[string]string{"ssh": "SSH-2.0-OpenSSH_9.2p1 Debian\r\n", "json": `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"secret"}}` + "\n", "closes": ""} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		go func() {
			if conn, err := ln.Accept(); err == nil {
				fmt.Fprint(conn, banner)
				_ = conn.Close()
			}
		}()
		_, err = s.AddServer(t.Context(), ln.Addr().String())
		require.ErrorIs(t, err, raftpico.ErrUnreachable)
		reasons[name] = err.Error()
		require.NoError(t, ln.Close())
	}
	require.Equal(t, reasons["ssh"], reasons["json"])
	require.Equal(t, reasons["ssh"], reasons["closes"])
	require.Contains(t, reasons["ssh"], "no raftpico server answers there")
	_, err = s.AddServer(t.Context(), "127.0.0.1:1")
	require.ErrorContains(t, err, "nobody can be reached there")
}
