package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// How the user's state gets out of the machine and into it. Whatever can take long happens beside the loop.

// capture takes hold of the user's machine. One that is no Snapshotter is encoded at once.
func capture(m machine.Machine) (encode func(io.Writer) error, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked("in Snapshot", p)
		}
	}()
	if s, ok := m.(machine.Snapshotter); ok {
		return s.Capture()
	}
	state, err := m.Snapshot()
	if err != nil {
		return nil, err
	}
	return func(w io.Writer) error {
		_, err := w.Write(state)
		return err
	}, nil
}

// encodeState writes a captured state as one compact JSON value. A newline in it would split the log's line.
func encodeState(encode func(io.Writer) error, w io.Writer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked("while its snapshot was written", p)
		}
	}()
	c := jsonrpc.NewCompactor(w, maxDepth)
	err = encode(c)
	if broken := c.Close(); err == nil {
		err = broken
	}
	if err != nil {
		return fmt.Errorf("node: the machine's snapshot: %w", err)
	}
	return nil
}

// counter counts what is written.
type counter struct {
	w    io.Writer
	size *uint64
	sum  *sum // of what is written, or nil
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	*c.size += uint64(n)
	if c.sum != nil {
		_, _ = c.sum.Write(p[:n])
	}
	return n, err
}

// Load reads a state of size bytes for a machine. It may be called on any goroutine. Install then puts the state in
// place; it is called as the machine is. For a machine that is no machine.Snapshotter, Load only reads, and install
// decodes.
func Load(m machine.Machine, state io.Reader, size int64) (install func() error, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked("on a snapshot", p)
		}
	}()
	if l, ok := m.(machine.Snapshotter); ok {
		set, err := l.Load(state)
		if err != nil {
			return nil, fmt.Errorf("node: the machine refuses a snapshot: %w", err)
		}
		return guarded(func() error { set(); return nil }), nil
	}
	whole := make([]byte, size)
	if _, err := io.ReadFull(state, whole); err != nil {
		return nil, fmt.Errorf("node: read a snapshot: %w", err)
	}
	return guarded(func() error { return m.Restore(whole) }), nil
}

// guarded makes errors of a machine's panics.
func guarded(install func() error) func() error {
	return func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = panicked("on a snapshot", p)
			}
		}()
		if err := install(); err != nil {
			return fmt.Errorf("node: the machine refuses a snapshot: %w", err)
		}
		return nil
	}
}

// Until fails writes when the server has ended.
type Until struct {
	W     io.Writer
	Ended func() bool
}

func (u Until) Write(p []byte) (int, error) {
	if u.Ended() {
		return 0, errors.New("nobody wants it any more")
	}
	return u.W.Write(p)
}

// states are those who asked for the machine's state. They share one encoding, which waits while a snapshot is made: a
// machine is captured once at a time.
type states struct {
	job     *StateJob // under way, or nil
	waiting []stateCaller
	sharing []stateCaller   // what job will answer, or answer does
	answer  json.RawMessage // nil: it is not there yet
	pause   time.Duration   // before this time, a machine that is encoded on the loop is not encoded again
}

// statePause is the least time between two encodings of a machine that is no machine.Snapshotter: the loop waits for
// them.
const statePause = time.Second

type stateCaller struct {
	caller   Caller
	deadline time.Duration
}

// StateJob is an encoding of the machine's state that is being made.
type StateJob struct {
	describe *ServerState // as of the capture
	encode   func(io.Writer) error
	answer   json.RawMessage
	sum      *sum // or else, where not nil, the state is only hashed
}

// Encode encodes the state. It may be called on any goroutine, once.
func (j *StateJob) Encode(ended func() bool) error {
	if j.sum != nil {
		return encodeState(j.encode, Until{j.sum, ended})
	}
	var user bounded
	if err := encodeState(j.encode, Until{&user, ended}); err != nil {
		return err
	}
	j.describe.Machines.User = user.Bytes()
	var err error
	j.answer, err = wire.Marshal(j.describe)
	return err
}

// maxStateAnswer bounds a machine's state in an answer, in bytes: a larger one is for the log file.
const maxStateAnswer = 64 << 20

// bounded is a buffer for that much.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxStateAnswer {
		return 0, fmt.Errorf("it takes more than %d MiB", maxStateAnswer>>20)
	}
	return b.Buffer.Write(p)
}

// getServerState takes in a GetServerState.
func (n *Node) getServerState(caller Caller, r *Request) {
	switch {
	case !r.Machines:
		n.env.Answer(caller, n.describe(nil), nil)
		return
	case n.stopping:
		n.env.Answer(caller, n.describe(errors.New("the server is stopping")), nil)
		return
	case n.crowded():
		n.env.Answer(caller, n.describe(errors.New("too many requests are under way")), nil)
		return
	}
	n.pending++
	n.states.waiting = append(n.states.waiting, stateCaller{caller, n.deadline(r)})
}

// tellStates gives out what is encoded, and begins the next encoding.
func (n *Node) tellStates() {
	s := &n.states
	for s.answer != nil && len(s.sharing) > 0 && n.spent < maxTurn {
		n.answer(s.sharing[0].caller, s.answer, nil)
		n.spent += len(s.answer)
		s.sharing = slices.Delete(s.sharing, 0, 1)
	}
	if len(s.sharing) == 0 {
		s.answer = nil
		n.encodeStates()
	}
}

// encodeStates begins an encoding, if one is wanted and none is under way: beside the loop, if the machine can be
// captured.
func (n *Node) encodeStates() {
	s := &n.states
	if len(s.waiting) == 0 || n.captured {
		return
	}
	_, captures := n.state.machine.(machine.Snapshotter)
	if !captures && n.clock.elapsed < s.pause {
		n.due(s.pause)
		return
	}
	s.sharing, s.waiting = s.waiting, nil
	job, err := n.stateJob()
	switch {
	case err != nil:
		s.encoded(n, nil, err)
	case captures:
		s.job, n.captured = job, true
		n.env.Encode(job)
	default:
		s.pause = n.clock.elapsed + statePause
		err = job.Encode(func() bool { return false })
		s.encoded(n, job.answer, err)
	}
}

func (n *Node) stateJob() (*StateJob, error) {
	encode, err := capture(n.state.machine)
	if err != nil {
		return nil, err
	}
	describe := n.State()
	describe.Machines = &StateMachines{System: n.state.system.encodeMembers()}
	return &StateJob{describe: describe, encode: encode}, nil
}

// StateEncoded tells how Env.Encode ended.
func (n *Node) StateEncoded(job *StateJob, err error) {
	switch job {
	case n.states.job:
		n.states.job, n.captured = nil, false
		n.states.encoded(n, job.answer, err)
	case n.hashes.job:
		n.hashes.job, n.captured = nil, false
		n.hashed(job.sum.index, job.sum.hash(), err)
	default:
		return
	}
	if len(n.compaction.callers) > 0 || n.compaction.missed {
		n.beginSnapshot() // asked for meanwhile
	}
}

// encoded takes the answer that an encoding has made. It is given out by tellStates.
func (s *states) encoded(n *Node, answer json.RawMessage, err error) {
	if s.answer = answer; err != nil {
		n.log.Warn("GetServerState without the machine", Facts(err)...)
		s.answer = n.describe(err)
	}
}

var errNotEncoded = errors.New("it was not encoded before the deadline")

// expireStates answers those whose deadline is not later than now.
func (n *Node) expireStates(now time.Duration) {
	expired := func(c stateCaller) bool {
		switch {
		case c.deadline > now:
			return false
		case n.failed != nil: // its members, say, may be those of a snapshot that was not installed
			n.answer(c.caller, nil, ErrRejected.Because("the server has failed"))
		default:
			n.answer(c.caller, n.describe(errNotEncoded), nil)
		}
		return true
	}
	n.states.waiting = slices.DeleteFunc(n.states.waiting, expired)
	n.states.sharing = slices.DeleteFunc(n.states.sharing, expired)
}

// describe is the answer to GetServerState without the machines. Lack, where not nil, says why they are missing.
func (n *Node) describe(lack error) json.RawMessage {
	s := n.State()
	if lack != nil {
		s.Lack = lack.Error()
	}
	b, err := wire.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("node: encode the server's state: %v", err)) // strings and numbers: it can't fail
	}
	return b
}
