package idclient

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/examples/ids/internal/ids"
	"github.com/raftpico/go/machine"
)

// ID is an id of a sequence. The first one is 1; 0 is none.
type ID uint64

// New returns a client of the sequence with this name, which begins when it is used first. It fetches bufSize ids at a time,
// MaxBuffer at most; and four times as many while they are used up faster than they come. With 0 or less it has no buffer, and asks the servers at each call of Next: for one id, or for as many as
// calls wait. Addrs are servers; one of them is enough, as long as it lives when the client begins. New asks them nothing: its
// errors are those of name and bufSize. The client must be closed.
//
// A name is UTF-8, of 1 to 128 bytes.
func New(name string, bufSize int, addrs ...string) (*Client[ID], error) {
	return owning(addrs, func(c *client.Client) (*Client[ID], error) { return NewWith(c, name, bufSize) })
}

// NewWith is New with a client of the cluster that the caller has, and closes after this one. Many sequences share one.
func NewWith(c *client.Client, name string, bufSize int) (*Client[ID], error) {
	if name == "" || len(name) > ids.MaxName || !utf8.ValidString(name) {
		return nil, fmt.Errorf("idclient: a name is UTF-8, of 1 to %d bytes: not %.140q", ids.MaxName, name)
	}
	if err := checkSize(bufSize); err != nil {
		return nil, err
	}
	return newClient(bufSize, source[ID]{
		fetch: func(ctx context.Context, n uint64) (ID, error) {
			r, err := client.Call[ids.Range](ctx, c, machine.Command, map[string]any{ids.TagNextID: []any{name, n}})
			if err == nil && (r.From == 0 || r.To-r.From != n) {
				err = errAnswer
			}
			return ID(r.From), err
		},
		at: func(first ID, i uint64) ID { return first + ID(i) },
	}), nil
}

// NewULIDs is New for ULIDs. They have the time of the servers' clock at which their block was fetched, unless it was behind
// that of an earlier one. All clients share them: so there are no ids between those of a block, but between blocks.
func NewULIDs(bufSize int, addrs ...string) (*Client[ulid.ULID], error) {
	return owning(addrs, func(c *client.Client) (*Client[ulid.ULID], error) { return NewULIDsWith(c, bufSize) })
}

// NewULIDsWith is NewULIDs with a client of the cluster that the caller has, and closes after this one.
func NewULIDsWith(c *client.Client, bufSize int) (*Client[ulid.ULID], error) {
	if err := checkSize(bufSize); err != nil {
		return nil, err
	}
	return newClient(bufSize, source[ulid.ULID]{
		fetch: func(ctx context.Context, n uint64) (ulid.ULID, error) {
			b, err := client.Call[ids.Block](ctx, c, machine.Command, map[string]uint64{ids.TagULIDs: n})
			if last, ok := ids.Add(b.First, n-1); err == nil && (!ok || last != b.Last) {
				err = errAnswer
			}
			return b.First, err
		},
		at: plus,
	}), nil
}

func plus(first ulid.ULID, i uint64) ulid.ULID {
	id, _ := ids.Add(first, i)
	return id
}

// owning makes a client of the cluster that ends with the one that is made of it.
func owning[T any](addrs []string, make func(*client.Client) (*Client[T], error)) (*Client[T], error) {
	cluster := client.New(addrs...)
	c, err := make(cluster)
	if err != nil {
		_ = cluster.Close()
		return nil, err
	}
	c.owned = cluster
	return c, nil
}

func checkSize(bufSize int) error {
	if bufSize > MaxBuffer {
		return fmt.Errorf("idclient: a buffer has %d ids at most, not %d", MaxBuffer, bufSize)
	}
	return nil
}

var errAnswer = errors.New("idclient: that is no answer of an ids service")
