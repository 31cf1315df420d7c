package peer

import (
	"bufio"
	"fmt"
	"net"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// Pong is what the other side answers to a ping: what others can't know of it.
type Pong struct {
	LogBytes      int64 `json:"log_bytes"`
	SnapshotBytes int64 `json:"snapshot_bytes"`
	Clock         int64 `json:"clock_ms,omitempty"` // of the server, in milliseconds since 1970

	StateHash *wire.StateHash `json:"state_hash,omitempty"` // the last one

	Moved []Name `json:"moved,omitempty"` // members that have proved to be at other addresses than the list has
}

// hearPongs reads the answers to pings until one is missing or the connection ends. A cable that was cut shows in
// nothing else: TCP goes on for minutes, and takes as long again to notice that it was mended.
func (l *Link) hearPongs(conn net.Conn, in *bufio.Reader) error {
	for {
		if err := conn.SetReadDeadline(time.Now().Add(pongTimeout)); err != nil {
			return err
		}
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		var answer struct {
			ID     *int  `json:"id"`
			Result *Pong `json:"result"`
		}
		if err := json.Unmarshal(line, &answer); err != nil || answer.ID == nil || *answer.ID != 0 || answer.Result == nil {
			return fmt.Errorf("peer: the other side refused a message: %.200q", line)
		}
		l.opts.Pong(l, *answer.Result)
	}
}
