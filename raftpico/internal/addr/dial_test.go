package addr

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var errRefused = errors.New("refused")

// dialler takes connections at "good" only. Nobody answers at "dead", and "refuses" does at once.
func dialler(ctx context.Context, addr string) (net.Conn, error) {
	switch addr {
	case "dead":
		<-ctx.Done()
		return nil, ctx.Err()
	case "refuses":
		return nil, errRefused
	}
	conn, other := net.Pipe()
	context.AfterFunc(ctx, func() { _ = other.Close() })
	return conn, nil
}

// TestNoDeadAddressHoldsUpAName: a link dials for a second.
func TestNoDeadAddressHoldsUpAName(t *testing.T) {
	for name, c := range map[string]struct {
		addrs []string
		took  time.Duration
		err   error
	}{
		"one":                      {[]string{"good"}, 0, nil},
		"one that refuses":         {[]string{"refuses"}, 0, errRefused},
		"one that is dead":         {[]string{"dead"}, time.Second, context.DeadlineExceeded},
		"a dead one first":         {[]string{"dead", "good"}, turn, nil},
		"several dead ones first":  {[]string{"dead", "dead", "dead", "good"}, 3 * turn, nil},
		"one that refuses, first":  {[]string{"refuses", "good"}, 0, nil},
		"a dead one between":       {[]string{"refuses", "dead", "good"}, turn, nil},
		"all refuse":               {[]string{"refuses", "refuses"}, 0, errRefused},
		"none but dead and closed": {[]string{"dead", "refuses"}, time.Second, errRefused},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // which fails if a goroutine is left behind
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				conn, err := race(ctx, c.addrs, dialler)
				require.ErrorIs(t, err, c.err)
				require.Equal(t, c.took, time.Since(began))
				if err == nil {
					require.NoError(t, conn.Close())
				}
			})
		})
	}
}

func TestDial(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, host := range []string{"127.0.0.1", "localhost"} { // which may be [::1], too
		conn, err := Dial(ctx, "tcp", net.JoinHostPort(host, port))
		require.NoError(t, err, host)
		require.NoError(t, conn.Close())
	}
	for _, addr := range []string{"nonsense", "no-such-host.invalid:4000"} {
		_, err := Dial(ctx, "tcp", addr)
		var failure *net.OpError
		require.ErrorAs(t, err, &failure, addr)
	}
}
