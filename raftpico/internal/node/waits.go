package node

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/raftpico/go/jsonrpc"
)

// waits are the queries of our callers that wait for a change (machine.Context.Wait). A command that says Wake lets them
// run again. That is done in portions, as for all queries: ten thousand may wait for one key.
//
// It stays linearizable. When a query runs again, what it sees was committed after the query had come: its first run had
// all that was acknowledged before.
type waits struct {
	by      map[string]*watchers
	due     byDeadline // all but those whose deadline has passed
	woken   []*parked  // run again, in order
	bytes   int        // of the inputs of all of them
	counter uint64
}

// watchers wait for one key.
type watchers struct {
	all  []*parked // in order; some may wait no longer
	live int       // how many do wait
}

func newWaits() waits { return waits{by: map[string]*watchers{}} }

// park lets a query wait for keys. It is pending.
func (w *waits) park(n *Node, q query, keys []string) {
	if n.stopping || n.removed {
		n.answer(q.caller, nil, n.notHere())
		return
	}
	var ok bool
	if q.caller, ok = n.admit(q.caller, len(q.input), ErrBusy); !ok {
		return
	}
	w.counter++
	p := &parked{query: q, order: w.counter}
	p.input = bytes.Clone(q.input) // what came with it need not wait
	w.bytes += len(q.input)
	for _, key := range keys {
		of := w.by[key]
		if of == nil {
			of = &watchers{}
			w.by[key] = of
		}
		if count := len(of.all); count > 0 && of.all[count-1] == p {
			continue // it has named this key before
		}
		p.keys = append(p.keys, key)
		of.add(p)
	}
	w.due.add(n, p)
}

func (of *watchers) add(p *parked) {
	if len(of.all) >= 2*of.live+16 {
		of.all = slices.DeleteFunc(of.all, func(p *parked) bool { return !p.waits() })
	}
	of.all = append(of.all, p)
	of.live++
}

// waits tells whether it waits for its keys.
func (p *parked) waits() bool { return !p.woken && p.place >= 0 }

// wake lets those run again that wait for a key.
func (w *waits) wake(key string) {
	if of := w.by[key]; of != nil {
		for _, p := range of.all {
			if p.waits() {
				w.rouse(p)
			}
		}
	}
}

// rouse lets one run again.
func (w *waits) rouse(p *parked) {
	if p.woken {
		return
	}
	w.leave(p)
	p.woken = true
	w.woken = append(w.woken, p)
}

// leave takes one off the lists of its keys.
func (w *waits) leave(p *parked) {
	for _, key := range p.keys {
		if of := w.by[key]; of.live == 1 {
			delete(w.by, key)
		} else {
			of.live--
		}
	}
}

// rouseAll lets all run again.
func (w *waits) rouseAll() {
	all := slices.Clone(w.due)
	slices.SortFunc(all, func(a, b *parked) int { return cmp.Compare(a.order, b.order) }) // as they came
	for _, p := range all {
		w.rouse(p)
	}
}

// remove takes one out that waits no longer.
func (w *waits) remove(p *parked) {
	if p.waits() {
		w.leave(p)
	}
	w.due.remove(p)
	w.bytes -= len(p.input)
	p.gone = true
}

// those are the queries of the callers that f tells.
func (w *waits) those(f func(Caller) bool) []*parked {
	found := w.due.those(f)
	for _, p := range w.woken {
		if p.place < 0 && !p.gone && f(p.caller) {
			found = append(found, p)
		}
	}
	return found
}

// serveWoken runs those that were woken, as long as there are bytes left to put out, and time. It returns what is left.
func (n *Node) serveWoken(left int) int {
	w, count := &n.waits, 0
	for count < len(w.woken) && left > 0 {
		if count%lookEvery == lookEvery-1 && n.env.Late() {
			break
		}
		p := w.woken[count]
		w.woken[count] = nil
		count++
		if p.gone {
			continue
		}
		w.due.remove(p)
		w.bytes -= len(p.input)
		left -= n.serve(p.query, p.timedOut)
	}
	if w.woken = w.woken[count:]; len(w.woken) == 0 {
		w.woken = nil
	}
	return left
}

// notHere is why a query does not wait on this server.
func (n *Node) notHere() *jsonrpc.Error {
	if n.removed {
		return ErrNotMember
	}
	return n.Leaving()
}
