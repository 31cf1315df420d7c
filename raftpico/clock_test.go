package raftpico_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// later is a connection over which the other server's clock is told as one of decades later.
type later struct {
	net.Conn
	pongs *atomic.Int32
}

func (l later) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	const member = `"clock_ms":1`
	if i := bytes.Index(b[:n], []byte(member)); i >= 0 {
		b[i+len(member)-1] = '2'
		l.pongs.Add(1)
	}
	return n, err
}

// A clock that is far from another server's is told once, by who sees it.
func TestClocksThatAreApartAreLoggedOnce(t *testing.T) {
	t.Parallel()
	log, pongs := new(logged), new(atomic.Int32)
	a := startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) {
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			return later{conn, pongs}, err
		}
	})
	b := startServer(t, machine.JSON(&counter{}), nil)
	joinAll(t, []*raftpico.Server{a, b}, still)
	waitFor(t, func() bool { return pongs.Load() >= 3 })
	const said = "the clock of another server is not this one's"
	require.Equal(t, 1, strings.Count(log.String(), said))
	require.Contains(t, log.String(), "addr="+b.Addr())
}
