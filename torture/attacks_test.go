//go:build unix

package torture

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"
)

// attack is what a hostile client does over a connection that was just made. It ends with the connection's deadline at the latest.
type attack func(h *hostility, conn net.Conn, rng *rand.Rand)

// posted is the key that a web page's request would write.
const posted = "posted"

const (
	few, many = 2, 24

	aQuery    = `{"jsonrpc":"2.0","method":"Apply","params":["LocalQuery","List"],"id":1}` + "\n"
	aState    = `{"jsonrpc":"2.0","method":"GetServerState","id":1}` + "\n"
	aSnapshot = `{"jsonrpc":"2.0","method":"TakeSnapshot","id":1}` + "\n"
	aPut      = `{"jsonrpc":"2.0","method":"Apply","params":["Command",{"Put":["` + posted + `",1]}],"id":1}` + "\n"
)

// attacks are carried out by many clients at once where each takes memory, else by few.
var attacks = []struct {
	atOnce int
	attack
}{
	// Bytes that are no JSON, at once, and after a good line, when the connection does not end with the first.
	{few, func(h *hostility, conn net.Conn, rng *rand.Rand) { flood(conn, noise(rng)) }},
	{few, func(h *hostility, conn net.Conn, rng *rand.Rand) { say(conn, aQuery); flood(conn, noise(rng)) }},

	// What a browser sends for a web page, and the first bytes of TLS.
	{few, func(h *hostility, conn net.Conn, _ *rand.Rand) {
		say(conn, fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(aPut), aPut))
		_, _ = io.Copy(io.Discard, conn)
	}},
	{few, func(h *hostility, conn net.Conn, _ *rand.Rand) {
		say(conn, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"+strings.Repeat("\x5a", 500))
		_, _ = io.Copy(io.Discard, conn)
	}},

	// A line that never ends: in blocks until the connection is cut, and byte by byte.
	{many, func(h *hostility, conn net.Conn, _ *rand.Rand) {
		say(conn, `{"jsonrpc":"2.0","method":"Apply","params":["Command",{"Put":["k","`)
		flood(conn, strings.Repeat("x", 32<<10))
		h.idle(conn, nil)
	}},
	{few, func(h *hostility, conn net.Conn, _ *rand.Rand) {
		for i := 0; i < len(aQuery)-1 && say(conn, aQuery[i:i+1]); i++ {
			h.doze()
		}
		h.idle(conn, nil)
	}},

	// A line that is longer than the limit, and does end.
	{few, func(h *hostility, conn net.Conn, _ *rand.Rand) {
		say(conn, `{"x":"`+strings.Repeat("x", maxLine)+`"}`+"\n")
		h.idle(conn, nil)
	}},

	// Answers that nobody reads, of states and of values.
	{few, func(h *hostility, conn net.Conn, _ *rand.Rand) {
		say(conn, strings.Repeat(aState, 100))
		h.idle(conn, nil)
	}},
	{many, func(h *hostility, conn net.Conn, rng *rand.Rand) {
		get := fmt.Sprintf(`{"jsonrpc":"2.0","method":"Apply","params":["LocalQuery",{"Get":%q}],"id":1}`+"\n", bulkKey(rng.IntN(bulkValues)))
		flood(conn, strings.Repeat(get, 100))
		h.idle(conn, nil)
	}},

	// Answers that are read.
	{few, func(h *hostility, conn net.Conn, _ *rand.Rand) {
		say(conn, strings.Repeat(aState, 20))
		_, _ = io.Copy(io.Discard, conn)
	}},

	// Members at an address that accepts and is silent, and snapshots without end.
	{few, func(h *hostility, conn net.Conn, _ *rand.Rand) {
		host, _, _ := net.SplitHostPort(conn.LocalAddr().String())
		_, port, _ := net.SplitHostPort(h.silent.Addr().String())
		say(conn, strings.Repeat(fmt.Sprintf(`{"jsonrpc":"2.0","method":"AddServer","params":[%q],"id":1}`+"\n", net.JoinHostPort(host, port)), 200))
		h.idle(conn, nil)
	}},
	{few, func(h *hostility, conn net.Conn, _ *rand.Rand) {
		say(conn, strings.Repeat(aSnapshot, 100))
		h.idle(conn, nil)
	}},

	// Requests that are none, and what only servers may say.
	{few, func(h *hostility, conn net.Conn, _ *rand.Rand) {
		say(conn, aQuery)
		flood(conn, strings.Repeat(`{"jsonrpc":"2.0","method":1,"id":[]}`+"\n"+strings.Repeat("[", 200)+"\n", 100))
	}},
	{few, func(h *hostility, conn net.Conn, _ *rand.Rand) {
		token := strings.Repeat("0", 32)
		say(conn, fmt.Sprintf(`{"jsonrpc":"2.0","method":"raftpico.Hello","params":{"protocol":1,"cluster_id":%q},"id":1}`+"\n", token))
		say(conn, fmt.Sprintf(`{"jsonrpc":"2.0","method":"raftpico.Join","params":{"identity":{"cluster_id":%q,"key":%q,"node_id":7},"instance":%q},"id":1}`+"\n", token, token, token))
		say(conn, strings.Repeat(`{"jsonrpc":"2.0","method":"raftpico.Message","params":{"type":"MsgVote","from":1,"to":2,"term":999999}}`+"\n", 100))
		_, _ = io.Copy(io.Discard, conn)
	}},

	// Nothing but connections.
	{few, func(*hostility, net.Conn, *rand.Rand) {}},
}

// say sends a text, if it can before the deadline.
func say(conn net.Conn, text string) bool {
	_, err := io.WriteString(conn, text)
	return err == nil
}

// flood sends a text again and again, until the other end has had enough.
func flood(conn net.Conn, text string) {
	for sent := 0; sent < shamelessly && say(conn, text); sent += len(text) {
	}
}

// noise is bytes of all kinds, in lines.
func noise(rng *rand.Rand) string {
	bytes := make([]byte, 4<<10)
	for i := range bytes {
		bytes[i] = byte(rng.Uint64())
	}
	return string(bytes)
}

// idle neither reads nor writes for a while.
func (h *hostility) idle(net.Conn, *rand.Rand) {
	select {
	case <-h.ctx.Done():
	case <-time.After(time.Second):
	}
}

func (h *hostility) doze() {
	select {
	case <-h.ctx.Done():
	case <-time.After(10 * time.Millisecond):
	}
}
