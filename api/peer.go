package api

import "net"

// Peer is who sends a request, as far as its connection tells.
type Peer struct {
	Addr net.Addr // of the other end

	// Identity is what the connection knows of who has dialled: over package secure the verified []*x509.Certificate of a client,
	// its own first, see [github.com/raftpico/go/secure.Chain]. Nil if it knows nothing.
	Identity any

	// Server tells that the identity is one of a server's: over package secure, that the certificate has serverAuth.
	Server bool
}
