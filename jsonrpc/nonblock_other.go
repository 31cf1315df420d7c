//go:build !unix

package jsonrpc

import (
	"io"
	"net"
)

// TryWriter writes to a socket what the kernel takes at once. Here there is none.
type TryWriter struct{}

// NewTryWriter returns nil.
func NewTryWriter(net.Conn) *TryWriter { return nil }

// Try does nothing.
func (*TryWriter) Try([]byte) (int, error) { return 0, nil }

// Quietly does nothing.
func (t *TryWriter) Quietly() *TryWriter { return t }

// readerOf is what reads from a connection.
func readerOf(nc net.Conn) io.Reader { return nc }
