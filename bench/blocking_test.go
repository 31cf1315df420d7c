package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCallersWaitForEachOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		underWay, most := 0, 0
		c := newBlocking(func(op Op) error {
			mu.Lock()
			underWay++
			most = max(most, underWay)
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			underWay--
			mu.Unlock()
			return nil
		}, nil)
		m, err := Load{Kind: Put, Window: 100, Keys: 5, Warm: half, Time: 100 * time.Millisecond}.run(t.Context(), []Client{c}, func() {}, func() {})
		require.NoError(t, err)
		require.Equal(t, 10_000, m.Operations)
		require.InEpsilon(t, time.Millisecond, m.P50, 0.02)
		require.Equal(t, 100, most)
		require.Zero(t, underWay)
		require.NoError(t, c.Close())
	})
}

func TestCallersWaitAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newBlocking(func(Op) error { time.Sleep(time.Millisecond); return errors.New("no leader") }, nil)
		m, err := Load{Kind: Put, Window: 10, Keys: 3, Warm: half, Time: 110 * time.Millisecond}.run(t.Context(), []Client{c}, func() {}, func() {})
		require.NoError(t, err)
		// Each fails after 1 ms and is followed 10 ms later.
		require.Zero(t, m.Operations)
		require.Equal(t, 100, m.Failed)
		require.Equal(t, "no leader", m.Error)
		require.NoError(t, c.Close())
	})
}

func TestBlockingClientBeginsWhatComesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newBlocking(func(Op) error { time.Sleep(time.Millisecond); return nil }, nil)
		began := time.Now()
		var all sync.WaitGroup
		for range 100 {
			all.Add(1)
			c.Go(Op{Kind: Put}, func(err error) {
				require.NoError(t, err)
				all.Done()
			})
		}
		all.Wait()
		require.Equal(t, time.Millisecond, time.Since(began))
		require.NoError(t, c.Close())
	})
}

// answerReads answers each request, a local read with an error.
func answerReads(in *bufio.Reader, out net.Conn) error {
	for {
		r, err := readRequest(in)
		if err != nil {
			return err
		}
		what := `"result":null`
		if r.Params.Kind == "LocalQuery" {
			what = `"error":{"code":1,"message":"no"}`
		}
		if _, err := fmt.Fprintf(out, `{"jsonrpc":"2.0","id":%d,%s}`+"\n", *r.ID, what); err != nil {
			return err
		}
	}
}

func TestWaitingCallersAreWoken(t *testing.T) {
	w := newWaiting(dial(t, serve(t, answerReads)).(*lines))
	var all sync.WaitGroup
	errs := make([]error, 50)
	for i := range errs {
		all.Go(func() { errs[i] = w.Do(Op{Kind: Get, Key: "k"}) })
	}
	all.Wait()
	for range 20 {
		require.NoError(t, w.Do(Op{Kind: Put, Key: "k", Value: []byte("v")}))
		require.ErrorContains(t, w.Do(Op{Kind: LocalGet, Key: "k"}), `"no"`)
	}
	require.NoError(t, w.Close())
	require.Error(t, w.Do(Op{Kind: Get, Key: "k"}))
}
