//go:build unix

package torture

import "fmt"

// place is where a value stands among those that followed one another without a gap: who wrote one was told the one before.
type place struct {
	chain int64 // its first value
	pos   int
}

// places orders a register's values as far as answers tell.
func (r *register) places() map[int64]place {
	next := map[int64]int64{}
	for _, o := range r.ops {
		if o.kind == put && o.outcome == answered && o.saw != 0 {
			next[o.saw] = o.wrote
		}
	}
	places := map[int64]place{}
	for _, o := range r.ops {
		if o.kind != put || o.outcome == refused || o.outcome == answered && o.saw != 0 {
			continue
		}
		for value, pos := o.wrote, 0; value != 0 && places[value].chain == 0; value, pos = next[value], pos+1 {
			places[value] = place{o.wrote, pos}
		}
	}
	return places
}

// stale finds a LocalQuery that answered something older than its server had answered to a Command or Query before, since
// its start.
func (r *register) stale() error {
	places := r.places()
	for _, l := range r.ops {
		if l.kind != local || l.outcome != answered {
			continue
		}
		saw := places[l.saw]
		for _, o := range r.ops {
			if o.kind == local || o.outcome != answered || o.server != l.server || o.boot != l.boot || o.ret >= l.call {
				continue
			}
			value := o.saw
			if o.kind == put {
				value = o.wrote
			}
			if known := places[value]; known.chain != 0 && known.chain == saw.chain && known.pos > saw.pos {
				return fmt.Errorf("a local query that is older than an answer before it: %v; %v", o, l)
			}
		}
	}
	return nil
}
