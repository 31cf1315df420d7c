package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-json/jsontext"
)

// portion is a part of the input, and what is wrong behind it.
type portion struct {
	queue []sent
	err   error
}

// readInput passes the requests of the input on until it ends or one is bad, and closes the channel.
func readInput(in io.Reader, to chan<- portion, quit <-chan struct{}) {
	defer close(to)
	input := lines{r: in}
	var buf []byte
	var seen ids
	for number := 1; ; {
		block, err := input.next(buf)
		if err = ignoreEOF(err); err == nil && len(block) == 0 {
			return
		}
		buf = block
		p := portion{queue: make([]sent, 0, bytes.Count(block, []byte{'\n'})+1)}
		text := string(block) // the requests are parts of it
		for line := range strings.Lines(text) {
			if len(strings.TrimSpace(line)) > 0 && err == nil {
				var r request
				if r, err = parseRequest(line); err == nil {
					err = seen.add(r.id)
				}
				if err != nil {
					err = fmt.Errorf("line %d: %w", number, err)
					break
				}
				p.queue = append(p.queue, sent{request: r})
			}
			number++
		}
		p.err = err
		select {
		case to <- p:
		case <-quit:
			return
		}
		if err != nil {
			return
		}
	}
}

// ids tells ids apart. Numbers that count up by one, the usual case, take no memory.
type ids struct {
	first, next int64 // seen: first ≤ id < next
	others      map[string]bool
}

// add returns an error if an id is none that every server gives back as it was, or was there before.
func (i *ids) add(id string) error {
	if id == "" {
		return errors.New("a request without id has no answer to wait for")
	}
	if id[0] != '"' && (id == "null" || strings.ContainsAny(id, ".eE")) {
		return fmt.Errorf("id %.32s is neither an integer nor a string", id)
	}
	n, isNumber := parseInt(id)
	if isNumber && i.first == i.next && i.others == nil {
		i.first, i.next = n, n
	}
	switch {
	case isNumber && i.first <= n && n < i.next || i.others[key(id)]:
		return fmt.Errorf("id %.32s is there twice", id)
	case isNumber && n == i.next:
		i.next++
	default:
		if i.others == nil {
			i.others = make(map[string]bool)
		}
		i.others[key(id)] = true
	}
	return nil
}

// parseInt takes integers of up to 18 digits in the only form that JSON has for each.
func parseInt(id string) (n int64, ok bool) {
	if len(id) > 18 || id == "" || id[0] == '-' {
		return 0, false
	}
	for _, c := range []byte(id) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}

// key is the same for all ways to write an id.
func key(id string) string {
	if strings.IndexByte(id, '\\') < 0 {
		return id
	}
	text, err := jsontext.AppendUnquote(nil, id)
	if err != nil {
		return id
	}
	return `"` + string(text) + `"`
}
