package main

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/memnet"
)

// startCluster starts three servers, and makes a client of them.
func startCluster(t *testing.T) (*client.Client, context.Context) {
	cluster := memnet.Start(t, 3, newLocks)
	c := client.NewWith(client.Options{Dial: cluster.Dialer("client:1")}, cluster.Servers[0].Addr())
	t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return c, ctx
}

func TestALockGoesFromOneToTheNext(t *testing.T) {
	c, ctx := startCluster(t)
	short := map[string]request{"Lock": {Name: "door", For: 200, Wait: hour}}

	ann, err := client.Call[uint64](ctx, c, machine.Command, short)
	require.NoError(t, err)
	bob, err := client.Call[uint64](ctx, c, machine.Command, short) // waits until ann's time is over
	require.NoError(t, err)
	require.Greater(t, bob, ann)

	// Waits until bob's time is over, too.
	watch := map[string]request{"Watch": {Name: "door", Token: bob}}
	now, err := client.Call[uint64](ctx, c, machine.Query, watch)
	require.NoError(t, err)
	require.Zero(t, now)
}

func TestWhoHasGivenUpGetsNoLock(t *testing.T) {
	c, ctx := startCluster(t)
	var tokens []uint64
	for _, wait := range []int64{0, 50, 0} {
		lock := map[string]request{"Lock": {Name: "door", For: hour, Wait: wait}}
		token, err := client.Call[uint64](ctx, c, machine.Command, lock)
		if err == nil {
			tokens = append(tokens, token)
			continue
		}
		var answered *client.Error
		require.ErrorAs(t, err, &answered)
		require.Equal(t, errTaken.Code, answered.Code)
	}
	require.Len(t, tokens, 1)

	unlock := map[string]request{"Unlock": {Name: "door", Token: tokens[0]}}
	require.NoError(t, c.Apply(ctx, machine.Command, unlock, nil))
	holder, err := client.Call[uint64](ctx, c, machine.Query, map[string]request{"Holder": {Name: "door"}})
	require.NoError(t, err)
	require.Zero(t, holder)
}

func TestWhoIsCancelledGetsNoLock(t *testing.T) {
	c, ctx := startCluster(t)
	lock := map[string]request{"Lock": {Name: "door", For: hour, Wait: hour}}
	ann, err := client.Call[uint64](ctx, c, machine.Command, lock)
	require.NoError(t, err)

	bob, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	require.ErrorIs(t, c.Apply(bob, machine.Command, lock, nil), client.ErrUnknown)

	unlock := map[string]request{"Unlock": {Name: "door", Token: ann}}
	require.NoError(t, c.Apply(ctx, machine.Command, unlock, nil))
	require.Eventually(t, func() bool { // as soon as the client has told that it has given up
		holder, err := client.Call[uint64](ctx, c, machine.Query, map[string]request{"Holder": {Name: "door"}})
		return err == nil && holder == 0
	}, time.Minute, 10*time.Millisecond)
}

func TestALockEndsWithItsSession(t *testing.T) {
	c, ctx := startCluster(t)
	session, err := c.OpenSession(ctx, time.Minute) // kept alive until it is closed
	require.NoError(t, err)

	lock := map[string]request{"Lock": {Name: "door", For: hour}}
	ann, err := client.Call[uint64](ctx, session, machine.Command, lock)
	require.NoError(t, err)

	require.NoError(t, session.Close(ctx)) // or a minute after its client has crashed
	bob, err := client.Call[uint64](ctx, c, machine.Command, lock)
	require.NoError(t, err)
	require.Greater(t, bob, ann)
}

func TestTheClusterLearnsToExtend(t *testing.T) {
	c, ctx := startCluster(t)
	session, err := c.OpenSession(ctx, 0) // sessions that the client opens by itself come and go, and locks with them
	require.NoError(t, err)
	lock := map[string]request{"Lock": {Name: "door", For: hour}}
	token, err := client.Call[uint64](ctx, session, machine.Command, lock)
	require.NoError(t, err)
	extend := map[string]request{"Extend": {Name: "door", Token: token, For: day}}
	require.Eventually(t, func() bool { // refused, until the cluster has version 1
		return c.Apply(ctx, machine.Command, extend, nil) == nil
	}, time.Minute, 10*time.Millisecond)
}
