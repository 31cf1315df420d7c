//go:build unix

package torture

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/stretchr/testify/require"
)

// diskFaults are what happens to files, as far as this world can do it.
func (r *run) diskFaults() (all []fault) {
	if r.servers[0].disk != nil {
		all = append(all,
			fault{name: "full disk", alone: true, inject: func(r *run) func() { return r.fillDisk() }},
			fault{name: "frozen disk", alone: true, inject: func(r *run) func() { return r.freezeDisk() }},
			fault{name: "power cut of one", inject: func(r *run) func() { return r.cutPower(1) }},
			fault{name: "power cut of a majority", inject: func(r *run) func() { return r.cutPower(len(r.servers)/2 + 1) }},
			fault{name: "power cut of all", inject: func(r *run) func() { return r.cutPower(len(r.servers)) }},
		)
	}
	if *rootFlag {
		if _, err := exec.LookPath("strace"); err != nil {
			r.t.Logf("skipped: failing fsync: %v", err)
		} else {
			all = append(all, fault{name: "failing fsync", alone: true, inject: func(r *run) func() { return r.failSync() }})
		}
	}
	return all
}

// fillDisk leaves a server no room. It must end with that error, and start again when there is room.
func (r *run) fillDisk() func() {
	s := r.servers[r.any()]
	proc := s.proc
	// Again and again: a snapshot that finds no room gives back what it has taken, and the log goes on in that.
	r.eventually("the end on a full disk", func() (bool, error) { return !proc.running(), s.disk.fill() })
	r.awaitFailure(s, "no space left on device")
	return func() {
		require.NoError(r.t, s.disk.free())
		require.NoError(r.t, s.start())
	}
}

// awaitFailure waits until a server has ended because of its disk, and has said so.
func (r *run) awaitFailure(s *server, why string) {
	r.t.Helper()
	s.note()
	p := s.proc
	status, err := p.ended(patience)
	require.NoError(r.t, err, "%v, of which the disk fails: %s", s, why)
	s.proc = nil
	require.Equal(r.t, 1, status, "%v: %s", s, p.tail())
	require.Contains(r.t, p.tail(), why)
	require.NotContains(r.t, p.output(), "goroutine ", "a panic")
}

// cutPower ends servers, and lets them lose what is not synced. NB: They must be dead before the file system is: an fsync
// that is under way when ext4 is shut down may report success for what is then lost, and a living server would pass that on.
func (r *run) cutPower(n int) func() {
	victims := r.some(n)
	for _, s := range victims {
		require.NoError(r.t, s.kill())
	}
	for _, s := range victims {
		require.NoError(r.t, s.disk.cut())
		require.NoError(r.t, s.disk.restore())
	}
	return r.restart(victims)
}

// failSync lets a server's fsyncs fail from one on. It must end with that error. Half of the time what it did not sync is lost.
func (r *run) failSync() func() {
	s := r.servers[r.any()]
	out, err := os.CreateTemp(r.dir, "strace-")
	require.NoError(r.t, err)
	require.NoError(r.t, out.Close())
	tracer, err := launch(exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync",
		"-e", fmt.Sprintf("inject=fdatasync,fsync:error=EIO:when=%d+", 1+r.rng.IntN(10)), "-p", fmt.Sprint(s.proc.cmd.Process.Pid)), out.Name())
	require.NoError(r.t, err)
	defer func() { require.NoError(r.t, tracer.kill()) }()
	r.eventually("strace", func() (bool, error) {
		return s.traced() || !s.proc.running() || !tracer.running(), nil
	})
	if !tracer.running() && s.proc.running() {
		r.t.Logf("skipped: failing fsync: strace: %s", tracer.output())
		return nil
	}
	r.awaitFailure(s, "input/output error")
	if s.disk != nil && r.rng.IntN(2) == 0 {
		require.NoError(r.t, s.disk.cut())
		require.NoError(r.t, s.disk.restore())
	}
	return r.restart([]*server{s})
}

// traced tells whether somebody traces the server.
func (s *server) traced() bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.proc.cmd.Process.Pid))
	return err == nil && !strings.Contains(string(status), "TracerPid:\t0\n")
}
