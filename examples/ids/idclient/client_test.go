package idclient

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/machine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a sequence without servers.
type service struct {
	mu    sync.Mutex
	next  ID
	asked []uint64 // sizes of blocks
	errs  []error  // of the next requests
	takes time.Duration
}

func (s *service) client(bufSize int) *Client[ID] {
	return newClient(bufSize, source[ID]{fetch: s.fetch, at: func(first ID, i uint64) ID { return first + ID(i) }})
}

func (s *service) fetch(ctx context.Context, n uint64) (ID, error) {
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, n)
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		return 0, err
	}
	first := s.next + 1
	s.next += ID(n)
	return first, nil
}

// requests are the sizes of the blocks that were asked for, as soon as nothing moves. It is for bubbles.
func (s *service) requests() []uint64 {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func take(t *testing.T, c *Client[ID], want ...ID) {
	t.Helper()
	for _, want := range want {
		id, err := c.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, id)
	}
}

func TestIDsFollowEachOther(t *testing.T) {
	for _, size := range []int{-42, 0, 1, 2, 3, 10, 1024} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			c := new(service).client(size)
			defer c.Close()
			for i := range ID(5000) {
				take(t, c, i+1)
			}
			want := ID(5000)
			for id := range c.Stream() {
				want++
				require.Equal(t, want, id)
				if want == 10_000 {
					require.NoError(t, c.Close())
					break
				}
			}
		})
	}
}

func TestTheNextBlockIsFetchedWhenHalfOfOneIsUsed(t *testing.T) {
	for _, c := range []struct {
		size int
		half []ID // taken: the next block is asked for with the last of them
	}{
		{1, []ID{1}}, {2, []ID{1}}, {3, []ID{1}}, {4, []ID{1, 2}}, {9, []ID{1, 2, 3, 4}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := new(service)
			cl := s.client(c.size)
			defer cl.Close()
			require.Empty(t, s.requests(), "New asks nothing")
			n := uint64(c.size)
			for _, id := range c.half {
				take(t, cl, id)
				if id < c.half[len(c.half)-1] {
					require.Equal(t, []uint64{n}, s.requests())
				}
			}
			require.Equal(t, []uint64{n, n}, s.requests())
			cl.refill() // by a call that was held up since it took the last id of the first half
			require.Equal(t, []uint64{n, n}, s.requests())
			for id := len(c.half) + 1; id <= c.size; id++ {
				take(t, cl, ID(id))
			}
			require.Equal(t, []uint64{n, n}, s.requests(), "one block ahead is enough")
		})
	}
}

// Who takes ids faster than blocks come gets larger ones, and smaller ones again when there is time.
func TestBlocksAreLargerWhileTheyAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{takes: time.Second}
		c := s.client(10)
		defer c.Close()
		take(t, c, 1, 2, 3, 4, 5)
		time.Sleep(2 * time.Second)
		for id := ID(6); id <= 15; id++ {
			take(t, c, id)
		}
		time.Sleep(2 * time.Second)
		require.Equal(t, []uint64{10, 10, 10}, s.requests(), "each was there when it was needed")
		for id := ID(16); id <= 90; id++ {
			take(t, c, id)
		}
		require.Equal(t, []uint64{10, 10, 10, 10, 40, 40}, s.requests()[:6], "the fourth was waited for, and the fifth")
		for id := ID(91); id <= 5*40; id++ {
			time.Sleep(time.Second)
			take(t, c, id)
		}
		asked := s.requests()
		require.Equal(t, uint64(10), asked[len(asked)-1])
	})
}

func TestWithoutABufferEachCallAsksForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(service)
		c := s.client(0)
		defer c.Close()
		for i := range 5 {
			require.Len(t, s.requests(), i)
			take(t, c, ID(i+1))
		}
		require.Equal(t, []uint64{1, 1, 1, 1, 1}, s.requests())
	})
}

func TestCallsThatWaitShareABlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{takes: time.Second}
		c := s.client(2)
		defer c.Close()
		var ids [10]ID
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() { ids[i], _ = c.Next(t.Context()) })
			synctest.Wait()
		}
		wg.Wait()
		slices.Sort(ids[:])
		require.Equal(t, [10]ID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, ids)
		require.Equal(t, []uint64{2, 9}, s.requests()[:2], "the first has asked alone; two got theirs, and one more had begun to ask for the other nine")
	})
}

func TestACallThatGivesUpLosesNoID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{takes: time.Second}
		c := s.client(0)
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		_, err := c.Next(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, c.Err(), "nothing has failed")
		take(t, c, 1, 2)
	})
}

func TestWhatPassesIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := fmt.Errorf("down: %w", client.ErrNotMember)
		s := &service{errs: []error{client.ErrUnknown, client.ErrSessionEnded, down, down, down, down, down, down, down}}
		c := s.client(3)
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := c.Next(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, client.ErrNotMember, "it tells why")
		require.Equal(t, down, c.Err())
		require.Less(t, len(s.requests()), 9, "it waits longer each time")
		take(t, c, 1, 2, 3, 4)
		require.NoError(t, c.Err(), "there are ids again")
	})
}

func TestWhatLastsEndsTheClientBehindItsLastID(t *testing.T) {
	for _, last := range []error{
		&machine.Error{Code: 1001, Message: "Too few ids are left"},
		client.ErrInvalidInput,
		fmt.Errorf("%w: %w", client.ErrUnknown, client.ErrClosed),
	} {
		s := new(service)
		c := s.client(4)
		take(t, c, 1)
		s.mu.Lock()
		s.errs = []error{last}
		s.mu.Unlock()
		take(t, c, 2, 3)
		require.Eventually(t, func() bool { return c.Err() != nil }, 30*time.Second, time.Millisecond)
		var streamed []ID
		for id := range c.Stream() {
			streamed = append(streamed, id)
		}
		require.Equal(t, []ID{4}, streamed)
		require.Equal(t, last, c.Err())
		for range 2 {
			_, err := c.Next(t.Context())
			require.Equal(t, last, err)
			require.NoError(t, c.Close())
		}
		require.Equal(t, last, c.Err())
	}
}

func TestCloseEndsCallsAndStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{takes: time.Hour}
		c := s.client(10)
		stream := c.Stream()
		require.Equal(t, stream, c.Stream())
		failed := make(chan error)
		go func() {
			_, err := c.Next(t.Context())
			failed <- err
		}()
		synctest.Wait()
		require.NoError(t, c.Close())
		require.Equal(t, ErrClosed, <-failed)
		_, open := <-stream
		require.False(t, open)
		require.NoError(t, c.Err())
		require.NoError(t, c.Close(), "twice")

		c = new(service).client(10)
		take(t, c, 1)
		require.NoError(t, c.Close())
		_, err := c.Next(t.Context())
		require.Equal(t, ErrClosed, err, "though there are ids in the buffer")
		_, open = <-c.Stream()
		require.False(t, open)
	})
}

func TestTheStreamHoldsNoMoreThanTheBuffer(t *testing.T) {
	for size, want := range map[int]int{-42: 0, 0: 0, 1: 1, 1000: 1000, MaxBuffer: maxStream} {
		c := new(service).client(size)
		require.Equal(t, want, cap(c.Stream()))
		require.NoError(t, c.Close())
	}
}

// Whoever calls Next after another call has returned gets a greater id, and nobody gets what another one got.
func TestManyCallersGetEachIDOnceAndInOrder(t *testing.T) {
	for _, size := range []int{0, 1, 2, 7, 1024} {
		c := new(service).client(size)
		const callers, each = 8, 2000
		var newest atomic.Uint64 // of the ids that calls have returned
		var ids [callers][]ID
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				for range each {
					before := newest.Load()
					id, err := c.Next(t.Context())
					if err != nil || uint64(id) <= before {
						t.Errorf("buffer %d: id %d, error %v, behind %d", size, id, err, before)
						return
					}
					ids[i] = append(ids[i], id)
					for now := newest.Load(); uint64(id) > now && !newest.CompareAndSwap(now, uint64(id)); now = newest.Load() {
					}
				}
			})
		}
		wg.Wait()
		all := slices.Concat(ids[:]...)
		slices.Sort(all)
		for i, id := range all {
			require.Equal(t, ID(i+1), id)
		}
		require.NoError(t, c.Close())
	}
}

func TestBadArguments(t *testing.T) {
	for name, says := range map[string]string{"": "1 to 128 bytes", string(make([]byte, 129)): "1 to 128 bytes", "\xff": "UTF-8"} {
		_, err := New(name, 1, "127.0.0.1:1")
		require.ErrorContains(t, err, says)
	}
	_, err := New("a", MaxBuffer+1, "127.0.0.1:1")
	require.ErrorContains(t, err, "1048576 ids at most, not 1048577")
	_, err = NewULIDs(math.MaxInt, "127.0.0.1:1")
	require.ErrorContains(t, err, "1048576 ids at most")
	c, err := NewULIDs(MaxBuffer, "127.0.0.1:1")
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

func TestErrTellsWhyNoServerIsReached(t *testing.T) {
	c, err := New("a", 1, "127.0.0.1:1")
	require.NoError(t, err)
	defer c.Close()
	stream := c.Stream()
	require.Eventually(t, func() bool { return c.Err() != nil }, 30*time.Second, time.Millisecond)
	require.ErrorContains(t, c.Err(), "127.0.0.1:1")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = c.Next(ctx)
	require.ErrorContains(t, err, "127.0.0.1:1")
	require.Empty(t, stream)
}

// BenchmarkNext is what an id costs that is in the buffer.
func BenchmarkNext(b *testing.B) {
	s := new(service)
	c := s.client(MaxBuffer)
	defer c.Close()
	for b.Loop() {
		if _, err := c.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNextULID(b *testing.B) {
	source := source[ulid.ULID]{fetch: func(context.Context, uint64) (ulid.ULID, error) { return ulid.Make(), nil }, at: plus}
	c := newClient(MaxBuffer, source)
	defer c.Close()
	for b.Loop() {
		if _, err := c.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	c := new(service).client(MaxBuffer)
	defer c.Close()
	ids := c.Stream()
	for b.Loop() {
		<-ids
	}
}
