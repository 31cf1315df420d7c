package main

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// What bench does when a connection breaks. A request is sent once: one that was under way is unknown from then on, since
// the server may have carried it out. Queued requests wait for a connection.

// broken loses what is under way on a link and dials it again.
func (b *benchmark) broken(l *link, why error) error {
	if !l.proven && time.Since(l.away) > b.timeout {
		return b.giveUp(l, fmt.Errorf("%w, as each time for %v", why, b.timeout)) // it accepts, and never answers
	}
	if l.proven {
		l.away, l.pause = time.Now(), 50*time.Millisecond
	}
	lost := l.busy
	if err := b.lose(l, why); err != nil {
		return err
	}
	if l.proven {
		b.note("%s: %v; %d requests unknown; dialing again", l.addr, why, lost)
	}
	l.proven = false
	b.redial(l)
	return nil
}

// lose closes a link's connection and prints what was under way on it as unknown.
func (b *benchmark) lose(l *link, why error) error {
	if l.pipe == nil {
		return nil
	}
	l.pipe.conn.Close()
	l.pipe, l.out, l.busy = nil, nil, 0
	end := micros()
	for id, s := range b.pending {
		if s.link != l {
			continue
		}
		delete(b.pending, id)
		b.unknown++
		if err := b.results.printUnknown(s, why, end); err != nil {
			return err
		}
	}
	return nil
}

// giveUp is for servers that dialing again would not help.
func (b *benchmark) giveUp(l *link, why error) error {
	if l.givenUp {
		return nil
	}
	l.givenUp = true
	b.note("%s: %v; %d requests unknown; given up", l.addr, why, l.busy)
	return b.lose(l, why)
}

func (b *benchmark) giveUpSilent() error {
	for _, l := range b.links {
		if l.busy > 0 && time.Since(l.heard) > b.timeout {
			if err := b.giveUp(l, fmt.Errorf("no answer in %v", b.timeout)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *benchmark) allGivenUp() bool {
	for _, l := range b.links {
		if !l.givenUp {
			return false
		}
	}
	return true
}

// dialed is how a redial ended.
type dialed struct {
	link *link
	conn net.Conn
	err  error
}

const maxPause = time.Second

// redial dials, at first often, until there is a connection, or for as long as --timeout since the last one broke.
func (b *benchmark) redial(l *link) {
	pause, until := l.pause, l.away.Add(b.timeout)
	l.pause = min(2*pause, maxPause)
	l.running.Go(func() {
		d := dialed{link: l}
		for {
			select {
			case <-time.After(pause):
			case <-b.quit.Done():
				return
			}
			if d.conn, d.err = b.dial(b.quit, l.addr, dialTimeout); d.err == nil || time.Now().After(until) {
				break
			}
			pause = min(2*pause, maxPause)
		}
		select {
		case b.dialed <- d:
		case <-b.quit.Done():
			if d.conn != nil {
				d.conn.Close()
			}
		}
	})
}

// connected takes the end of a redial.
func (b *benchmark) connected(d dialed) {
	if d.err != nil {
		d.link.givenUp = true
		b.note("%s: %v; given up after %v", d.link.addr, d.err, b.timeout)
		return
	}
	d.link.open(b, d.conn)
}

// close ends all goroutines and waits for those of the links. The one that reads standard input may be in a read that
// nothing ends but the process.
func (b *benchmark) close(leave func()) {
	leave()
	for _, l := range b.links {
		if l.pipe != nil {
			l.pipe.conn.Close()
		}
	}
	for _, l := range b.links {
		l.running.Wait()
	}
}

var errClosed = errors.New("the server closed the connection")
