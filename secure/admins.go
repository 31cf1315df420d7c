package secure

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/raftpico/go/api"
)

// Chain is the verified certificate chain of who sends a request, its own certificate first; nil without TLS.
func Chain(p api.Peer) []*x509.Certificate {
	chain, _ := p.Identity.([]*x509.Certificate)
	return chain
}

// everyday are the methods of those who use a cluster, and do not change it.
var everyday = []string{"Apply", "OpenSession", "KeepSession", "CloseSession", "GetServerState"}

// Admins is a raftpico.Options.Authorize that keeps all but the everyday methods for administrators: Apply, those of sessions and
// GetServerState are for everybody, and the others, also those of later versions, for clients with the organizational unit (OU) in
// their certificate, and for servers, which add themselves.
func Admins(unit string) func(p api.Peer, method string) error {
	denied := fmt.Errorf("only a client with the organizational unit %q in its certificate may call this method", unit)
	if unit == "" {
		denied = errors.New("no client may call this method")
	}
	return func(p api.Peer, method string) error {
		if p.Server || slices.Contains(everyday, method) {
			return nil
		}
		if chain := Chain(p); unit != "" && len(chain) > 0 && slices.Contains(chain[0].Subject.OrganizationalUnit, unit) {
			return nil
		}
		return denied
	}
}
