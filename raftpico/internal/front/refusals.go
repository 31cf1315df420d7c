package front

import (
	"log/slog"
	"net"
	"sync"

	"github.com/raftpico/go/jsonrpc"
)

// refusals logs handshakes that were refused, each once: a server that keeps knocking must not fill the log.
type refusals struct {
	mu   sync.Mutex
	seen map[string]bool
}

// maxRefusals bounds what strangers can make us remember.
const maxRefusals = 1024

func (r *refusals) log(logger *slog.Logger, from net.Addr, refusal *jsonrpc.Error) {
	host, _, _ := net.SplitHostPort(from.String())
	key := host + "\n" + string(refusal.Data)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil || len(r.seen) >= maxRefusals {
		r.seen = map[string]bool{}
	}
	if !r.seen[key] {
		r.seen[key] = true
		logger.Warn("handshake refused", "from", from.String(), "err", refusal)
	}
}
