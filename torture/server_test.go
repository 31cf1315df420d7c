//go:build unix

package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/raftpico/go/jsonrpc"
)

// patience bounds every wait for something that must happen. It is generous: the machine may have other things to do.
const patience = time.Minute

// server is one of the cluster's places: an address and a directory, which outlive the processes.
type server struct {
	id      int
	addr    string // where it listens, and clients reach it
	known   string // the address under which the others know it
	dir     string // of its log file alone
	said    string // the file that takes its output
	disk    disk   // nil: an ordinary directory, which can't fail
	command func(name string, args ...string) *exec.Cmd
	program string
	http    string // where it speaks HTTP, "": nowhere

	proc   *process // nil: not running
	paused bool     // by SIGSTOP

	mu      sync.Mutex
	boots   int       // how often it was started
	trouble time.Time // when it was last stopped, started or paused, or went on
}

// disk is a file system that can fail.
type disk interface {
	fill() error    // until nothing more can be written
	free() error    // what fill took
	cut() error     // the power: nothing more can be written, what was not synced is lost
	restore() error // the power; nobody may have a file open

	freeze(atMost time.Duration) error // whoever writes hangs, until thaw
	thaw() error
}

func (s *server) String() string { return fmt.Sprintf("server %d", s.id) }

func (s *server) file() string { return filepath.Join(s.dir, "log.jsonl") }

// running tells whether it runs and is not paused.
func (s *server) running() bool { return s.proc != nil && !s.paused }

// note that something is done to the server which may make it late.
func (s *server) note() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = time.Now()
}

// disturbed tells whether something was done to the server in the time d before now.
func (s *server) disturbed(d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.trouble) < d
}

func (s *server) args() []string {
	args := []string{"-listen", s.addr, "-advertise", s.known, s.file()} // the list would follow to where it listens, past the network
	if s.http == "" {
		return args
	}
	return append([]string{"-http", s.http}, args...)
}

// start starts it and waits until it answers.
func (s *server) start() error {
	defer s.note()
	s.mu.Lock()
	s.boots++
	s.mu.Unlock()
	var err error
	if s.proc, err = launch(s.command(s.program, s.args()...), s.said); err != nil {
		return err
	}
	for began := time.Now(); ; {
		_, err := s.state(false)
		switch {
		case err == nil:
			return nil
		case !s.proc.running():
			said := s.proc.tail()
			s.proc = nil
			return fmt.Errorf("%v has ended at its start: %s", s, said)
		case time.Since(began) > patience:
			return fmt.Errorf("%v does not answer: %w", s, err)
		}
		time.Sleep(2 * time.Millisecond) // between two looks
	}
}

// kill is kill -9 of a server that must have run up to then.
func (s *server) kill() error {
	if !s.proc.running() {
		return fmt.Errorf("%v had ended by itself: %s", s, s.proc.tail())
	}
	return s.end()
}

// end is kill -9, if there is anything left to kill.
func (s *server) end() error {
	s.note()
	p := s.proc
	s.proc, s.paused = nil, false
	return p.kill()
}

// stop is SIGTERM, which must end it in order.
func (s *server) stop() error {
	s.note()
	defer s.note()
	p := s.proc
	s.proc = nil
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	status, err := p.ended(patience)
	if err == nil && status != 0 {
		err = fmt.Errorf("%v: exit status %d after SIGTERM: %s", s, status, p.tail())
	}
	return err
}

func (s *server) pause() error {
	s.note()
	s.paused = true
	return s.proc.signal(syscall.SIGSTOP)
}

func (s *server) resume() error {
	defer s.note()
	s.paused = false
	return s.proc.signal(syscall.SIGCONT)
}

// wipe deletes its file. It must not run.
func (s *server) wipe() error { return os.Remove(s.file()) }

// state is what GetServerState answers.
type state struct {
	Role    string `json:"role"`
	Term    uint64 `json:"current_term"`
	Commit  uint64 `json:"commit_index"`
	Applied uint64 `json:"applied_index"`
	Last    uint64 `json:"last_index"`
	Leader  string `json:"leader"`
	Members []struct {
		Addr string `json:"addr"`
		Role string `json:"role"`
	} `json:"members"`
	Machines struct {
		User json.RawMessage `json:"user"`
	} `json:"machines"`
}

func (s *server) state(machines bool) (state, error) {
	var answer state
	err := s.call(time.Second, "GetServerState", map[string]bool{"machines": machines}, &answer)
	return answer, err
}

// conn is a connection to one life of a server.
type conn struct {
	*jsonrpc.Client
	server *server
	boot   int
}

func (s *server) boot() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.boots
}

// dial connects to it. NB: A start that began meanwhile would leave open whom it has reached.
func (s *server) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	boot := s.boot()
	client, err := jsonrpc.Dial(ctx, s.addr)
	if err != nil {
		return nil, err
	}
	if s.boot() != boot {
		_ = client.Close()
		return nil, fmt.Errorf("%v is just being started", s)
	}
	return &conn{client, s, boot}, nil
}

// call makes one call over a connection of its own.
func (s *server) call(within time.Duration, method string, params, result any) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	conn, err := jsonrpc.Dial(ctx, s.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Call(ctx, method, params, result)
}

// code is the code of an answered error, 0 for none or another.
func code(err error) int {
	var answer *jsonrpc.Error
	if errors.As(err, &answer) {
		return answer.Code
	}
	return 0
}
