package storage

import "time"

// giver hands the disk what is written to a file, so that no sync, of this file or the log, which may wait for other files'
// content too, finds much to wait for.
type giver struct {
	file         File
	given, there int64 // offsets: up to where the disk was given what is written, and has it
	window       int64 // how many bytes may be in between
}

// page is what the disk is given whole, in bytes: it is not touched again.
const page = 4 << 10

// How many bytes the disk may have been given and not yet have, and how long it may take for the half of them: a sync of the log
// may take as much longer. A quick disk gets more, or else it would wait for the next piece: of a state of 100 MB, written beside a
// log that grows by 200 MB/s, it had 150 MB/s with a mebibyte under way, and 400 with four.
const (
	leastUnderWay = 1 << 20
	mostUnderWay  = 8 << 20
	quick         = 5 * time.Millisecond
	slow          = 2 * quick
)

func newGiver(file File, from int64) giver {
	return giver{file: file, given: from &^ (page - 1), there: from, window: leastUnderWay}
}

// handOut gives the disk what was written up to an offset, as soon as it is a piece.
func (g *giver) handOut(end int64) error {
	from, whole := g.given, end&^(page-1)
	if whole-from <= pieceSize-page {
		return nil
	}
	g.given = whole
	return g.file.WriteOut(from, whole-from, false)
}

// upTo is handOut that waits where much is under way.
func (g *giver) upTo(end int64) error {
	err := g.handOut(end)
	if err != nil || g.given-g.there <= g.window {
		return err
	}
	from, began := g.there, time.Now()
	g.there = g.given - g.window/2
	err = g.file.WriteOut(from, g.there-from, true)
	switch took := time.Since(began); {
	case took < quick:
		g.window = min(2*g.window, mostUnderWay)
	case took > slow:
		g.window = max(g.window/2, leastUnderWay)
	}
	return err
}
