// Package addr says what the address of a server must be.
package addr

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Check tells whether others can dial addr: a host, not a wildcard, and a port.
func Check(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("the address %.280q is no host:port", addr)
	}
	if p, err := strconv.ParseUint(port, 10, 16); err != nil || p == 0 {
		return fmt.Errorf("the address %.280q has no port from 1 to 65535", addr)
	}
	if len(addr) > 280 {
		return errors.New("the address is too long")
	}
	for _, c := range host {
		if c <= ' ' || c == 0x7f {
			return fmt.Errorf("the address %.280q is no host:port", addr)
		}
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.WithZone("").Unmap().IsUnspecified() {
		return fmt.Errorf("the address %q is a wildcard: others could not dial it", addr)
	}
	return nil
}
