package logs

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// blocked is a pipe that nobody reads until it is opened.
type blocked struct {
	open chan struct{}
	in   chan struct{} // a write has begun
	to   bytes.Buffer
}

func (b *blocked) Write(p []byte) (int, error) {
	select {
	case b.in <- struct{}{}:
	default:
	}
	<-b.open
	return b.to.Write(p)
}

func plain(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestBlockedLogStopsNobodyAndWhatIsDroppedIsCounted(t *testing.T) {
	w := &blocked{open: make(chan struct{}), in: make(chan struct{}, 1)}
	q := Open(plain(w))
	log := q.Logger()
	log.Info("first")
	<-w.in // the goroutine is stuck
	for i := range queued + 5 {
		log.Info(fmt.Sprint("message ", i))
	}
	q.Close(time.Millisecond) // returns nevertheless
	close(w.open)
	<-q.closed
	lines := strings.Split(strings.TrimSpace(w.to.String()), "\n")
	require.Len(t, lines, 1+queued+1)
	require.Equal(t, `level=INFO msg=first`, lines[0])
	require.Equal(t, fmt.Sprintf(`level=INFO msg="message %d"`, queued-1), lines[queued])
	require.Equal(t, `level=WARN msg="log messages dropped: the log was not written fast enough" count=5`, lines[queued+1])
}

func TestCloseWaitsForWhatWasLogged(t *testing.T) {
	var w bytes.Buffer
	q := Open(plain(&w))
	q.Logger().With("a", 1).WithGroup("g").Warn("last words", "b", 2)
	q.Close(time.Minute)
	q.Close(time.Minute)
	require.Equal(t, "level=WARN msg=\"last words\" a=1 g.b=2\n", w.String())
}

func TestMessageIsBoundedInRate(t *testing.T) {
	var r rates
	now := time.Unix(1000, 0)
	passed := 0
	for range 30_000 {
		if ok, held := r.allow("refused", now); ok {
			passed++
			require.Zero(t, held)
		}
	}
	require.Equal(t, burst, passed)
	ok, _ := r.allow("something else", now)
	require.True(t, ok)
	ok, held := r.allow("refused", now.Add(time.Second))
	require.True(t, ok)
	require.Equal(t, 30_000-burst, held)
	ok, _ = r.allow("refused", now.Add(time.Second))
	require.False(t, ok)
}
