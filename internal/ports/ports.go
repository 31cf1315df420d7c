// Package ports finds addresses for servers that tests start, stop, and start again.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Ports are taken from below those that systems give to outgoing connections: one of these, of whichever process, could take the
// port of a server that is not started yet, or is down for a moment.
const (
	lowest = 20000
	count  = 10000
)

var (
	mu    sync.Mutex
	given = map[int]bool{}
)

// Find returns an address on 127.0.0.1 that nobody listens at. It returns none twice.
func Find() (addr string, err error) {
	mu.Lock()
	defer mu.Unlock()
	for range 100 {
		port := lowest + rand.IntN(count)
		if given[port] {
			continue
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		given[port] = true
		return addr, l.Close()
	}
	return "", errors.New("no free port")
}

// Free returns n such addresses.
func Free(t testing.TB, n int) (addrs []string) {
	t.Helper()
	for range n {
		addr, err := Find()
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, addr)
	}
	return addrs
}
