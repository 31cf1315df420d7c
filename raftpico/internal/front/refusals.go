package front

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/raftpico/go/jsonrpc"
)

// refusals logs handshakes that were refused, each kind once in a while: a server that keeps knocking must not fill the log.
// What kind it is, who knocks can't choose: the step and the error's code, and the network it comes from. The rate of all of
// them is bounded by the log (package logs).
type refusals struct {
	mu   sync.Mutex
	seen map[refusal]time.Time
}

type refusal struct {
	network netip.Prefix
	method  string
	code    int
}

const (
	maxRefusals   = 1024 // remembered; beyond, all are forgotten
	refusalPeriod = 10 * time.Minute
)

// The sizes of networks, in bits: what one stranger has without effort.
const (
	network4 = 24
	network6 = 48
)

func (r *refusals) log(logger *slog.Logger, from net.Addr, method string, err *jsonrpc.Error) {
	if r.isNew(refusal{networkOf(from), method, err.Code}, time.Now()) {
		logger.Warn("handshake refused", "from", from.String(), "step", method, "err", err)
	}
}

func (r *refusals) isNew(k refusal, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, seen := r.seen[k]; seen && now.Sub(at) < refusalPeriod {
		return false
	}
	if r.seen == nil || len(r.seen) >= maxRefusals {
		r.seen = map[refusal]time.Time{}
	}
	r.seen[k] = now
	return true
}

func networkOf(a net.Addr) netip.Prefix {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	ip, bits := at.Addr().Unmap(), network6
	if ip.Is4() {
		bits = network4
	}
	network, _ := ip.WithZone("").Prefix(bits)
	return network
}
