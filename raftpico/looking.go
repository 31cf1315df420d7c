package raftpico

import (
	"context"
	"time"
)

// lookPause is from one look at the certificates to the next.
var lookPause = time.Hour

// lookAfter has a Security with a method Look call it now and then, until ctx ends: connections last for months, and certificates
// may not.
func lookAfter(ctx context.Context, s Security) {
	looks, ok := s.(interface{ Look() })
	if !ok {
		return
	}
	for ctx.Err() == nil {
		looks.Look()
		select {
		case <-ctx.Done():
		case <-time.After(lookPause):
		}
	}
}
