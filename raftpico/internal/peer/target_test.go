package peer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// places are acceptors at addresses.
type places struct {
	mu     sync.Mutex
	at     map[string]*acceptor
	dialed []string
}

func (p *places) dial(_ context.Context, _, addr string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialed = append(p.dialed, addr)
	a := p.at[addr]
	if a == nil {
		return nil, errors.New("nobody is there")
	}
	here, there := net.Pipe()
	go a.serve(there) // ends with the connection
	return here, nil
}

// keep keeps a link to a target while do runs, on virtual time.
func (p *places) keep(t *testing.T, to Target, do func(l *Link, up func() bool)) {
	synctest.Test(t, func(t *testing.T) {
		l := Start(Options{Pong: func(*Link, Pong) {}, Local: local, Dial: p.dial, MaxQueue: 1000, Event: func(*Link, Event) {},
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}, to)
		do(l, func() bool { synctest.Wait(); l.mu.Lock(); defer l.mu.Unlock(); return l.up })
		l.Close()
		synctest.Wait()
	})
}

func member() *acceptor { return &acceptor{instance: "i5", clusterID: "c1", nodeID: 5, key: "secret"} }

func TestLinkTriesEachAddressAndStaysWhereTheServerIs(t *testing.T) {
	p := &places{at: map[string]*acceptor{"b:1": {instance: "another"}, "c:1": {instance: "i5", clusterID: "c1", nodeID: 5, key: "guessed"}}}
	p.keep(t, Target{Name: other, Elsewhere: []string{"c:1", "", "d:1"}}, func(l *Link, up func() bool) {
		time.Sleep(5 * time.Second)
		require.False(t, up(), "another server, and one that does not know the key, are not it")
		require.Subset(t, []string{"b:1", "c:1", "d:1"}, p.dialed)
		require.Equal(t, []string{"c:1", "d:1", "b:1", "c:1"}, p.dialed[:4])
		p.mu.Lock()
		p.at["d:1"] = member()
		p.mu.Unlock()
		time.Sleep(5 * time.Second)
		require.True(t, up())
		require.Equal(t, "d:1", l.connected())

		// The list follows, and the link stays. When the server is said to be elsewhere, it goes there.
		l.Retarget(Target{Name: Name{ID: 5, Instance: "i5", Addr: "d:1"}})
		dialed := len(p.dialed)
		time.Sleep(5 * time.Second)
		require.True(t, up())
		require.Len(t, p.dialed, dialed)
		p.mu.Lock()
		p.at["e:1"] = member()
		p.mu.Unlock()
		l.Retarget(Target{Name: Name{ID: 5, Instance: "i5", Addr: "d:1"}, Elsewhere: []string{"e:1"}})
		time.Sleep(5 * time.Second)
		require.True(t, up())
		require.Equal(t, "e:1", l.connected())
	})
}

// A place comes with the key, and an instance is no secret: whoever claims one gets nothing, unless he is where the list says.
func TestPlaceIsGivenAtTheListedAddressAlone(t *testing.T) {
	claims := &acceptor{instance: "i5"}
	p := &places{at: map[string]*acceptor{"c:1": claims}}
	p.keep(t, Target{Name: other, Elsewhere: []string{"c:1"}}, func(_ *Link, up func() bool) {
		time.Sleep(5 * time.Second)
		require.False(t, up())
		require.Nil(t, claims.joined)
		require.NotContains(t, claims.heard, "Join")
		p.mu.Lock()
		p.at["b:1"] = &acceptor{instance: "i5"}
		p.mu.Unlock()
		time.Sleep(5 * time.Second)
		require.True(t, up())
		require.NotNil(t, p.at["b:1"].joined)
		require.Nil(t, claims.joined)
	})
}
