package client

import "context"

type failuresKey struct{}

// WithFailures returns a context whose calls tell why they take long: heard gets the error of each attempt that failed, and of
// each dial while no server is connected, and the call goes on. The error that a call returns may be among them. Heard is
// called by the goroutines of the calls, so it must not block, and must be safe to run at once if they are.
func WithFailures(ctx context.Context, heard func(error)) context.Context {
	return context.WithValue(ctx, failuresKey{}, heard)
}

func tell(ctx context.Context, err error) {
	if heard, ok := ctx.Value(failuresKey{}).(func(error)); ok {
		heard(err)
	}
}
