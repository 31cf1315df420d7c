package memnet_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect returns both ends of a connection from "a:1" to "b:1".
func connect(t *testing.T, n *memnet.Network) (dialled, accepted net.Conn) {
	t.Helper()
	l, err := n.Listen("b:1")
	require.NoError(t, err)
	dialled, err = n.Dialer("a:1")(t.Context(), "tcp", "b:1")
	require.NoError(t, err)
	accepted, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _, _, _ = dialled.Close(), accepted.Close(), l.Close() })
	return dialled, accepted
}

// soon is a deadline for what is to fail, at once or after a moment: the time is no matter.
func soon() time.Time { return time.Now().Add(10 * time.Millisecond) }

func requireSilence(t *testing.T, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(soon()))
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetReadDeadline(time.Time{}))
}

func requireHears(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	_, err := io.ReadFull(c, b)
	require.NoError(t, err)
	require.Equal(t, want, string(b))
}

func say(t *testing.T, c net.Conn, what string) {
	t.Helper()
	_, err := c.Write([]byte(what))
	require.NoError(t, err)
}

func TestNamesAndEnds(t *testing.T) {
	a, b := connect(t, new(memnet.Network))
	require.Equal(t, "a:1", a.LocalAddr().String())
	require.Equal(t, "b:1", a.RemoteAddr().String())
	require.Equal(t, "a:1", b.RemoteAddr().String())

	say(t, a, "hello")
	requireHears(t, b, "hello")
	say(t, b, "bye")
	require.NoError(t, b.(interface{ CloseWrite() error }).CloseWrite())
	requireHears(t, a, "bye")
	_, err := a.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
	say(t, a, "still heard")
	requireHears(t, b, "still heard")

	require.NoError(t, b.Close())
	_, err = a.Write([]byte("x"))
	require.ErrorIs(t, err, syscall.EPIPE)
	_, err = b.Read(make([]byte, 1))
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = b.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
	require.ErrorIs(t, b.SetDeadline(soon()), net.ErrClosed)
}

// A Write waits when 256 KiB are unread, as that to a socket does, and its deadline ends it.
func TestAWriteWaitsForASlowReader(t *testing.T) {
	a, b := connect(t, new(memnet.Network))
	write := func() int {
		require.NoError(t, a.SetWriteDeadline(soon()))
		n, err := a.Write(make([]byte, 1<<20))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())
		return n
	}
	n := write()
	for n == 0 { // the deadline may have passed before
		n = write()
	}
	require.Equal(t, 256<<10, n)
	require.Zero(t, write())

	require.NoError(t, a.SetWriteDeadline(time.Time{}))
	written := make(chan error, 1)
	go func() { _, err := a.Write(make([]byte, 1<<20)); written <- err }()
	_, err := io.ReadFull(b, make([]byte, 256<<10+1<<20))
	require.NoError(t, err)
	require.NoError(t, <-written)
}

// A deadline set, moved or passed meanwhile ends a Read that waits; so does Close.
func TestWhoWaitsIsWoken(t *testing.T) {
	for name, tt := range map[string]struct {
		wake func(a, b net.Conn)
		want error
	}{
		"deadline":           {func(a, _ net.Conn) { _ = a.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		"of both directions": {func(a, _ net.Conn) { _ = a.SetDeadline(soon()) }, os.ErrDeadlineExceeded},
		"close":              {func(a, _ net.Conn) { _ = a.Close() }, net.ErrClosed},
		"close of the other": {func(_, b net.Conn) { _ = b.Close() }, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := connect(t, new(memnet.Network))
			read := make(chan error, 1)
			go func() { _, err := a.Read(make([]byte, 1)); read <- err }()
			tt.wake(a, b)
			require.ErrorIs(t, <-read, tt.want)
		})
	}
}

func TestThroughACutNothingComesUntilItIsMended(t *testing.T) {
	for name, cut := range map[string]func(*memnet.Network){
		"cut":              func(n *memnet.Network) { n.Cut("b:1", "a:1") },
		"isolated":         func(n *memnet.Network) { n.Isolate("a:1") },
		"isolated, others": func(n *memnet.Network) { n.Isolate("b:1") },
	} {
		t.Run(name, func(t *testing.T) {
			n := new(memnet.Network)
			a, b := connect(t, n)
			say(t, a, "before ")
			cut(n)
			require.False(t, n.Connected("a:1", "b:1"))
			say(t, a, "meanwhile")
			require.NoError(t, a.Close())
			requireSilence(t, b)
			n.Heal()
			requireHears(t, b, "before meanwhile")
			_, err := b.Read(make([]byte, 1))
			require.Equal(t, io.EOF, err)
		})
	}
}

func TestADialWaitsForTheCutToBeMended(t *testing.T) {
	n := new(memnet.Network)
	l, err := n.Listen("b:1")
	require.NoError(t, err)
	defer l.Close()
	n.Cut("a:1", "b:1")
	short, cancel := context.WithDeadline(t.Context(), soon())
	defer cancel()
	_, err = n.Dialer("a:1")(short, "tcp", "b:1")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	other, err := n.Dialer("c:1")(t.Context(), "tcp", "b:1")
	require.NoError(t, err, "another address is not separated")
	defer other.Close()

	dialled := make(chan net.Conn)
	go func() {
		c, err := n.Dialer("a:1")(context.Background(), "tcp", "b:1")
		if err != nil {
			close(dialled)
			return
		}
		dialled <- c
	}()
	n.Heal()
	c, ok := <-dialled
	require.True(t, ok)
	require.NoError(t, c.Close())
}

func TestAnAddressHasOneListener(t *testing.T) {
	n := new(memnet.Network)
	_, err := n.Dialer("a:1")(t.Context(), "tcp", "b:1")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	l, err := n.Listen("b:1")
	require.NoError(t, err)
	require.Equal(t, "b:1", l.Addr().String())
	_, err = n.Listen("b:1")
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	waits, err := n.Dialer("a:1")(t.Context(), "tcp", "b:1")
	require.NoError(t, err)
	defer waits.Close()
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err = waits.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err, "nobody accepts it any more")
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	l, err = n.Listen("b:1")
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

// All bytes come, in order, whatever is cut and mended meanwhile.
func TestBytesAreNeitherLostNorDoubled(t *testing.T) {
	n := new(memnet.Network)
	a, b := connect(t, n)
	const total = 4 << 20
	go func() { // ends when all is written, or with the connection
		rng := rand.New(rand.NewPCG(1, 1))
		for sent := 0; sent < total; {
			piece := make([]byte, min(1+rng.IntN(100_000), total-sent))
			for i := range piece {
				piece[i] = byte((sent + i) * 7)
			}
			if _, err := a.Write(piece); err != nil {
				return
			}
			if sent += len(piece); rng.IntN(4) == 0 {
				n.Isolate("a:1")
				n.Heal()
			}
		}
		_ = a.Close()
	}()
	got, err := io.ReadAll(b)
	require.NoError(t, err)
	require.Len(t, got, total)
	for i, c := range got {
		if c != byte(i*7) {
			t.Fatalf("byte %d is another", i)
		}
	}
}

// The majority goes on without an isolated leader, whose word does not count, and takes it back.
func TestAMajorityGoesOn(t *testing.T) {
	c := memnet.Start(t, 3, func() machine.Machine { return machine.JSON(&counter{}) })
	old := c.Leader()
	sum, err := old.Apply(t.Context(), machine.Command, 1)
	require.NoError(t, err)
	require.Equal(t, "1", string(sum))
	for _, s := range c.Servers {
		if s != old {
			c.Cut(s.Addr(), old.Addr()) // what Isolate does, one by one
		}
	}
	next := c.Leader()
	require.NotSame(t, old, next)
	sum, err = next.Apply(t.Context(), machine.Command, 2)
	require.NoError(t, err)
	require.Equal(t, "3", string(sum))

	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = old.Apply(short, machine.Query, 0)
	require.Error(t, err, "it can't know")
	c.Heal()
	for _, s := range c.Servers {
		sum, err := s.Apply(t.Context(), machine.Query, 0)
		require.NoError(t, err)
		require.Equal(t, "3", string(sum))
	}
}

// A server that is closed is no leader, and its address is free.
func TestALeaderIsNoneThatHasEnded(t *testing.T) {
	c := memnet.Start(t, 3, func() machine.Machine { return machine.JSON(&counter{}) })
	old := c.Leader()
	require.NoError(t, old.Close())
	require.NotSame(t, old, c.Leader())
	_, err := old.State(t.Context(), false)
	require.ErrorIs(t, err, raftpico.ErrRejected)
	l, err := c.Listen(old.Addr())
	require.NoError(t, err)
	require.NoError(t, l.Close())
}
