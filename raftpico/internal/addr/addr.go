// Package addr says what the address of a server must be, and dials one.
package addr

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxLen bounds an address, in bytes: a DNS name has 253.
const maxLen = 280

// Canonical is the one text of an address that others can dial: a host, not a wildcard, and a port. Members are known by their
// addresses, so each has one: [0:0:0:0:0:0:0:1]:04000 is [::1]:4000, and names are in lower case.
func Canonical(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !utf8.ValidString(addr) {
		return "", fmt.Errorf("the address %.280q is no host:port", addr)
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || p == 0 {
		return "", fmt.Errorf("the address %.280q has no port from 1 to 65535", addr)
	}
	if len(addr) > maxLen {
		return "", errors.New("the address is too long")
	}
	for _, c := range host {
		if c <= ' ' || c == 0x7f {
			return "", fmt.Errorf("the address %.280q is no host:port", addr)
		}
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && ip.WithZone("").Unmap().IsUnspecified():
		return "", fmt.Errorf("the address %q is a wildcard: others could not dial it", addr)
	case err == nil:
		host = ip.Unmap().String()
	default:
		host = strings.ToLower(host)
	}
	return net.JoinHostPort(host, strconv.FormatUint(p, 10)), nil
}
