package loop

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClocksThatAreApartAreToldOnce(t *testing.T) {
	var c clocks
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	now := time.UnixMilli(1_795_265_203_908)
	pong := func(ahead time.Duration) { c.compare(log, 3, "b:1", now.Add(ahead).UnixMilli(), now) }
	for _, fine := range []time.Duration{0, 5 * time.Second, -5 * time.Second, 29 * time.Second} {
		pong(fine)
	}
	c.compare(log, 3, "b:1", 0, now) // an older server
	require.Empty(t, out.String())
	for range 3 {
		pong(time.Hour)
		pong(20 * time.Second) // about as far as before
		pong(-time.Hour)
	}
	require.Equal(t, 1, strings.Count(out.String(), "\n"))
	require.Contains(t, out.String(), "server=3 addr=b:1 ahead=1h0m0s")
	pong(time.Second)
	pong(time.Second)
	require.Equal(t, 1, strings.Count(out.String(), "this one's again"))
	pong(-31 * time.Second)
	require.Contains(t, out.String(), "ahead=-31s")
	c.forget(3)
	pong(time.Hour)
	require.Equal(t, 4, strings.Count(out.String(), "\n"))
}
