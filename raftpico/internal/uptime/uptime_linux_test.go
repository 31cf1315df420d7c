package uptime

import (
	"io"
	"runtime"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Goroutines with stacks of all sizes look at the clock, while signals of the profiler and of the garbage collector come. It
// never goes back, and tells what the system tells.
func TestClockGoesOn(t *testing.T) {
	if _, ok := Now(); !ok {
		t.Skip("no clock that counts suspension is known here")
	}
	require.NoError(t, pprof.StartCPUProfile(io.Discard))
	defer pprof.StopCPUProfile()
	end := time.Now().Add(300 * time.Millisecond)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for depth := 0; time.Now().Before(end); depth = (depth + 1) % 40 {
				var wait sync.WaitGroup
				wait.Go(func() { looks(t, depth) }) // a stack of its own, which grows
				wait.Wait()
				if i == 0 {
					runtime.GC()
				}
			}
		})
	}
	all.Wait()
}

// looks looks at the clock from deep in a stack.
func looks(t *testing.T, depth int) byte {
	var some [200]byte
	if depth > 0 {
		some[depth] = looks(t, depth-1)
		return some[depth/2]
	}
	last, ok := ask()
	for range 20 {
		now, told := Now()
		if !ok || !told || now < last {
			t.Errorf("%v after %v", now, last)
		}
		last = now
	}
	if now, _ := ask(); now < last || now > last+time.Minute {
		t.Errorf("the system tells %v after %v", now, last)
	}
	return some[0]
}

func BenchmarkNow(b *testing.B) {
	for b.Loop() {
		Now()
	}
}

// BenchmarkAsk is what BenchmarkNow is without the vDSO.
func BenchmarkAsk(b *testing.B) {
	for b.Loop() {
		ask()
	}
}
