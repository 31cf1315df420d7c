package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/internal/ports"
)

// Hardships are what an operator or a machine does to servers, each looked at alone: without load, judge or chance.

// hardship makes a cluster of three servers whose commands are run by a shell script: "$@" is the command.
func hardship(t *testing.T, script string) *run {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes; runs without -short")
	}
	p := build(t)
	r := &run{t: t, service: &kvsService, ctx: t.Context(), dir: t.TempDir(), rng: rand.New(rand.NewPCG(0, 0))}
	dirs, err := plainDirs(r.dir, 3)
	require.NoError(t, err)
	for id := range 3 {
		addr, err := ports.Find()
		require.NoError(t, err)
		r.servers = append(r.servers, &server{
			id: id, addr: addr, known: addr, dir: dirs[id], program: p.of("kvs"),
			said: filepath.Join(r.dir, fmt.Sprintf("server-%d.log", id)),
			command: func(name string, args ...string) *exec.Cmd {
				return exec.Command("sh", append([]string{"-c", script, "sh", name}, args...)...)
			},
		})
	}
	t.Cleanup(r.killAll)
	return r
}

// usable checks that each server takes commands and queries of newcomers.
func (r *run) usable(value int) {
	r.t.Helper()
	for _, s := range r.servers {
		r.eventually(fmt.Sprintf("an answer of %v", s), func() (bool, error) {
			err := s.call(patient, "Apply", map[string]any{"kind": "Command", "input": map[string]any{"Put": []any{"k", value}}}, nil)
			return err == nil, err
		})
		var got int
		r.eventually(fmt.Sprintf("an answer of %v", s), func() (bool, error) {
			err := s.call(patient, "Apply", map[string]any{"kind": "Query", "input": map[string]string{"Get": "k"}}, &got)
			return err == nil, err
		})
		require.Equal(r.t, value, got)
	}
}

// TestFewDescriptors: 200 idle strangers at each of three servers that may have 64 descriptors. Newcomers get in all the same, and so do
// members.
func TestFewDescriptors(t *testing.T) {
	r := hardship(t, `ulimit -n 64; exec "$@"`)
	r.form()
	ctx, leave := context.WithCancel(t.Context())
	var strangers sync.WaitGroup
	defer strangers.Wait()
	defer leave()
	for _, s := range r.servers {
		for range 200 {
			strangers.Go(func() { linger(ctx, s.addr) })
		}
	}
	r.pass(time.Second) // until all have come; what follows holds before that too
	for i := range 3 {
		r.usable(i)
	}
	for _, s := range r.servers { // members get in
		require.NoError(t, s.kill())
		require.NoError(t, s.start())
		r.usable(7 + s.id)
	}
	r.checkAlive()
}

// linger holds a connection and says nothing, and comes back when it is closed.
func linger(ctx context.Context, addr string) {
	for ctx.Err() == nil {
		if conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr); err == nil {
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			_, _ = io.Copy(io.Discard, conn)
			stop()
			_ = conn.Close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(200*time.Millisecond + rand.N(800*time.Millisecond)):
		}
	}
}

// TestStderrThatNobodyReads: what a server says goes into a pipe that is full, or of which the reader is gone, or nowhere.
func TestStderrThatNobodyReads(t *testing.T) {
	for name, script := range map[string]string{
		"full":          `exec "$@" 2>"$PIPE"`,
		"reader gone":   `exec "$@" 2>"$PIPE"`,
		"closed":        `exec "$@" 2>&-`,
		"all is closed": `exec "$@" <&- >&- 2>&-`,
	} {
		t.Run(name, func(t *testing.T) {
			pipe := filepath.Join(t.TempDir(), "pipe")
			require.NoError(t, syscall.Mkfifo(pipe, 0o600))
			reader, err := os.OpenFile(pipe, os.O_RDWR|syscall.O_NONBLOCK, 0)
			require.NoError(t, err)
			defer reader.Close()
			t.Setenv("PIPE", pipe)
			r := hardship(t, script)
			if name == "full" {
				fillPipe(t, reader)
			}
			r.form()
			if name == "reader gone" {
				require.NoError(t, reader.Close())
			}
			r.usable(1)
			s := r.servers[0] // it has something to say: others come and go, strangers knock
			for range 100 {
				err := s.call(patient, "raftpico.Prove", map[string]string{"mac": "x"}, nil)
				require.Equal(t, 102, code(err), "%v", err)
			}
			other := r.servers[2]
			require.NoError(t, other.kill())
			r.usableBut(other)
			if name == "reader gone" {
				return // nobody can open the pipe any more
			}
			require.NoError(t, other.start())
			r.usable(2)
			r.checkAlive()
			for _, s := range r.servers {
				require.NoError(t, s.stop(), "it stops in order")
			}
		})
	}
}

// usableBut checks that the others go on.
func (r *run) usableBut(gone *server) {
	r.t.Helper()
	for _, s := range r.servers {
		if s != gone {
			r.eventually(fmt.Sprintf("an answer of %v", s), func() (bool, error) {
				err := s.call(patient, "Apply", map[string]any{"kind": "Query", "input": "List"}, nil)
				return err == nil, err
			})
		}
	}
}

func fillPipe(t *testing.T, pipe *os.File) {
	t.Helper()
	conn, err := pipe.SyscallConn()
	require.NoError(t, err)
	for size := 4096; size > 0; {
		var failure error
		require.NoError(t, conn.Write(func(fd uintptr) bool {
			_, failure = syscall.Write(int(fd), make([]byte, size))
			return true
		}))
		if errors.Is(failure, syscall.EAGAIN) {
			size /= 2
			continue
		}
		require.NoError(t, failure)
	}
}

// TestLogFileThatIsGone: a server of which the file is deleted, or moved, or another one put in its place, ends within seconds, and
// says why. It goes on from what it has saved of it.
func TestLogFileThatIsGone(t *testing.T) {
	r := hardship(t, `exec "$@"`)
	r.form()
	r.usable(1)
	for i, lose := range []func(file string) error{
		os.Remove,
		func(file string) error { return os.Rename(file, file+".moved") },
		func(file string) error {
			return errors.Join(copyFile(file+".copy", file), os.Rename(file+".copy", file))
		},
	} {
		s := r.servers[i]
		require.NoError(t, lose(s.file()))
		p := s.proc
		status, err := p.ended(20 * time.Second)
		require.NoError(t, err, "it goes on with a file that nobody will find")
		require.Equal(t, 1, status)
		said := p.tail()
		require.Contains(t, said, s.file()+" was deleted, moved or replaced")
		require.NotContains(t, said, "goroutine ", "a panic")
		s.proc = nil
		require.NoError(t, os.Rename(s.file()+".rescued", s.file()))
		require.NoError(t, s.start())
		r.usable(2 + i)
	}
	r.level()
}
