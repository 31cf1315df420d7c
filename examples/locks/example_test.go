package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/machine"
)

// A program that holds a lock while it works, and writes its result only if it still holds it.
func Example() {
	addrs, stop := exampleCluster()
	defer stop()
	c := client.New(addrs...)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second) // longer than it waits
	defer cancel()
	session, err := c.OpenSession(ctx, 10*time.Second) // 10 s after a crash the lock is free
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)

	lock := request{Tenant: "t", LockID: "report", LockDur: 600, LockWait: 30, KVGet: []string{"report"}}
	got, err := client.Call[response](ctx, session, machine.Command, map[string]request{"Do": lock})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("handle", got.Lock, "version", got.KV[0].Version)

	done := request{Tenant: "t", UnlockID: "report", Unlock: got.Lock, KVSet: []setOp{{Key: "report", Value: raw(`"done"`)}}}
	if err := session.Apply(ctx, machine.Command, map[string]request{"Do": done}, nil); err != nil {
		log.Fatal(err)
	}
	watch := watchRequest{Tenant: "t", ID: "report", Version: got.KV[0].Version}
	now, err := client.Call[keyValue](ctx, c, machine.Query, map[string]watchRequest{"Watch": watch})
	fmt.Println(string(now.Value), "version", now.Version, err)
	// Output:
	// handle 1 version 0
	// "done" version 1 <nil>
}
