package wire

import (
	"bytes"

	"github.com/goccy/go-json"
)

// decodeShortRecord decodes a line of a hard state, with entries or without, which most of a log are. Each entry has memory of
// its own.
func decodeShortRecord(line []byte) (*Record, bool) {
	c := &cursor{data: line, fits: true}
	h := new(HardState)
	c.must(`{"HardState":{"term":`)
	h.Term = c.number()
	c.must(`,"vote":`)
	h.Vote = c.number()
	c.must(`,"commit":`)
	h.Commit = c.number()
	c.must(`}`)
	r := &Record{HardState: h}
	if c.next(`,"LogEntries":{"prev":{"term":`) {
		e := new(LogEntries)
		e.Prev.Term = c.number()
		c.must(`,"index":`)
		e.Prev.Index = c.number()
		c.must(`},"entries":[`)
		texts := c.texts()
		c.must(`]}`)
		var err error
		if e.Entries, err = decodeEntries(e.Prev, texts); err != nil {
			return nil, false
		}
		r.LogEntries = e
	}
	if c.next(`,"crc":"`) {
		c.word(8)
	}
	c.must(`}`)
	return r, c.all()
}

// texts takes the elements of an array, if it has any.
func (c *cursor) texts() (texts []json.RawMessage) {
	if c.at < len(c.data) && c.data[c.at] == ']' {
		return nil
	}
	for first := true; c.fits && (first || c.next(`,`)); first = false {
		from := c.at
		c.value()
		texts = append(texts, bytes.Clone(c.data[from:c.at]))
	}
	return texts
}
