//go:build unix

package torture

import (
	"context"
	"time"

	"github.com/raftpico/go/machine"
)

// bell is a key of which each value must be heard before the next one is put: no later wake makes up for one that was
// lost.
type bell struct {
	key   string
	heard chan int64
	quiet chan struct{} // closed when nobody rings any more
}

const lastBell = -1

// ring puts 1, 2, 3, … and waits each time until the listener has heard it.
func (w *worker) ring(loading context.Context, b *bell) {
	defer close(b.quiet)
	rung := int64(0)
	put := func(value int64) bool {
		var was int64
		if _, ok := w.do(machine.Command, map[string]any{"Put": []any{b.key, value}}, &was, 0); !ok {
			return false
		}
		return was == rung || w.wrong("%d in %s was put, and %d was there, not %d", value, b.key, was, rung)
	}
	for range w.load.tokens.each(loading) {
		if !put(rung + 1) {
			return
		}
		rung++
		if !w.await(b, rung) {
			return
		}
	}
	if put(lastBell) {
		w.await(b, lastBell)
	}
}

// await waits until a value was heard.
func (w *worker) await(b *bell, value int64) bool {
	late := time.NewTimer(soon)
	defer late.Stop()
	select {
	case heard := <-b.heard:
		return heard == value || w.wrong("%s was rung %d times, and heard %d times", b.key, value, heard)
	case <-late.C:
		return w.wrong("%d in %s has not woken who waits for it within %v", value, b.key, soon)
	case <-w.ctx.Done():
		return false
	}
}

// listen waits for the bell by queries of a kind. NB: A LocalQuery may meet a server that is behind, and then knows
// less than before.
func (w *worker) listen(kind machine.Kind, b *bell) {
	var top seen
	for top.Value != lastBell {
		now := seen{}
		if _, ok := w.do(kind, map[string]any{"Watch": []any{b.key, top.Version}}, &now, 0); !ok {
			return
		}
		switch {
		case now.Version > top.Version:
			top = now
			select {
			case b.heard <- now.Value:
			case <-b.quiet:
				return
			}
		case now.Version < top.Version && kind == machine.Query:
			w.wrong("%s: after %+v came %+v", b.key, top, now)
			return
		default:
			select { // not to ask without pause whoever is behind
			case <-time.After(5 * time.Millisecond):
			case <-b.quiet:
				return
			}
		}
	}
}
