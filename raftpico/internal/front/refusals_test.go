package front

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/peer"
)

// TestRefusalsAreLoggedByKind: what a stranger chooses makes no lines.
func TestRefusalsAreLoggedByKind(t *testing.T) {
	var out bytes.Buffer
	var r refusals
	log := slog.New(slog.NewTextHandler(&out, nil))
	at := func(ip string, port int) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: port} }
	for i := range 30_000 {
		r.log(log, at("192.0.2."+fmt.Sprint(i%250), i), peer.MethodJoin, jsonrpc.ErrInvalidParams.Because(fmt.Sprint("chosen ", i)))
		r.log(log, at("2001:db8:7:"+fmt.Sprintf("%x", i)+"::1", i), peer.MethodJoin, jsonrpc.ErrInvalidParams.Because(fmt.Sprint("chosen ", i)))
	}
	require.Equal(t, 2, strings.Count(out.String(), "\n"))
	r.log(log, at("192.0.2.1", 1), peer.MethodHello, jsonrpc.ErrInvalidParams)
	r.log(log, at("198.51.100.1", 1), peer.MethodJoin, jsonrpc.ErrInvalidParams)
	require.Equal(t, 4, strings.Count(out.String(), "\n"))
}
