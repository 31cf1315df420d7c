package loop

import (
	"time"

	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// On a slow disk lines are saved beside the turn (node/beside.go), one at a time, each by a goroutine that ends with it. It
// owns the log meanwhile: whoever else wants something of the log waits for it first (disk.away).

// saving is a line on its way to the disk.
type saving struct {
	began time.Time
	done  chan struct{} // closed when it is there, or has failed
	ended time.Time     // before that
	err   error
}

// slowSync is how long the last sync took where the next one is made beside the turn. What that costs, waking two goroutines
// up, is little beside it.
const slowSync = time.Millisecond

var _ node.Saver = (*disk)(nil)

// Slow implements node.Saver.
func (d *disk) Slow() bool { return d.log != nil && d.last > slowSync }

// SaveBeside implements node.Saver.
func (d *disk) SaveBeside(r *wire.Record) {
	d.known = d.LogState()
	s := &saving{began: time.Now(), done: make(chan struct{})}
	d.saving = s
	d.beside.Go(func() {
		s.err = d.log.Append(r)
		s.ended = time.Now()
		close(s.done)
		d.inbox.post(func() {
			if d.saving == s { // it was not waited for
				d.node.Saved(d.landed())
			}
		})
	})
}

// AwaitSave implements node.Saver.
func (d *disk) AwaitSave() (took time.Duration, err error) {
	d.away(func() {})
	return d.landed()
}

// landed takes in how a line beside the turn has ended.
func (d *disk) landed() (took time.Duration, err error) {
	s := d.saving
	d.saving = nil
	d.landings++
	d.tellSizes() // under load there is no turn without one under way
	return d.appended(s.began, s.ended), s.err
}
