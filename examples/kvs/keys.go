package main

import (
	"fmt"
	"strings"

	"github.com/raftpico/go/machine"
)

// mostKeys is how many keys one Keys answers at most, and someKeys how many if it says no limit.
const (
	mostKeys = 1000
	someKeys = 100
)

// page is what a Keys asks for: keys with a prefix, sorted, that come after a key. Without them these are someKeys of all keys, from
// the first one on; the empty key is in no page, since it comes after none.
type page struct {
	Prefix string `json:"prefix,omitempty"`
	After  string `json:"after,omitempty"`
	Limit  int    `json:"limit,omitempty"`
}

// keyPage is the answer.
type keyPage struct {
	Keys []string `json:"keys"`
	More bool     `json:"more"` // there are more, after the last one
}

// mostKeyBytes is how many bytes of keys make a page full: keys may be long.
const mostKeyBytes = 1 << 20

// listKeys answers a page of keys. It takes microseconds, however many keys there are: the event loop waits for it.
func (m *kvs) listKeys(in machine.Union) (any, error) {
	var p page
	if err := in.Decode(&p); err != nil {
		return nil, err
	}
	if p.Limit == 0 {
		p.Limit = someKeys
	}
	if p.Limit < 0 || p.Limit > mostKeys {
		return nil, fmt.Errorf("limit must be 1 to %d", mostKeys)
	}
	return m.page(p), nil
}

// page is the first keys, in order, that have the prefix and are greater than after.
func (s *store) page(p page) keyPage {
	full := keyPage{Keys: make([]string, 0, p.Limit)}
	bytes := 0
	for key := range s.table.KeysFrom(max(p.Prefix, p.After)) {
		switch {
		case !strings.HasPrefix(key, p.Prefix):
			return full
		case key == p.After:
			continue
		case len(full.Keys) == p.Limit || bytes >= mostKeyBytes:
			full.More = true
			return full
		}
		bytes += len(key)
		full.Keys = append(full.Keys, key)
	}
	return full
}
