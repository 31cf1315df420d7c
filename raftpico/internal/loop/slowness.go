package loop

import "time"

// slowness remembers what took longest in this window of time and in the one before.
type slowness struct {
	began         time.Time // the window
	longest, last time.Duration
}

const slownessWindow = 10 * time.Second

func (t *slowness) note(began, now time.Time) {
	if now.Sub(t.began) > slownessWindow {
		t.began, t.last, t.longest = now, t.longest, 0
	}
	t.longest = max(t.longest, now.Sub(began))
}

func (t *slowness) slowest() time.Duration { return max(t.longest, t.last) }
