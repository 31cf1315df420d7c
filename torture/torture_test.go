//go:build unix

package torture

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	faultsFlag  = flag.Int("faults", 4, "faults in a run")
	serversFlag = flag.Int("servers", 3, "servers of the cluster, 3 or 5")
	runsFlag    = flag.Int("runs", 1, "runs, one after the other, each with the next seed")
	seedFlag    = flag.Uint64("seed", 0, "seed of the first run; 0 is one of the clock's")
	rateFlag    = flag.Int("rate", 6000, "operations a second that the clients try")
	rootFlag    = flag.Bool("root", false, "use network namespaces, file systems on loop devices, and strace")
	kindFlag    = flag.String("kind", "", "only faults whose name matches this regular expression")
	keepFlag    = flag.String("keep", "", "the directory that gets the logs and histories of runs that fail")
)

// TestTorture runs clusters through faults.
func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes; runs without -short")
	}
	p := build(t)
	ctx := interruptible(t)
	for i := range *runsFlag {
		if ctx.Err() != nil {
			break
		}
		seed := *seedFlag + uint64(i)
		if *seedFlag == 0 {
			seed = uint64(time.Now().UnixMicro())
		}
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			r := start(ctx, t, p, seed, *rateFlag)
			r.torture(*faultsFlag)
			r.finish()
		})
	}
}

// interruptible is a context that ends at Ctrl-C, so that processes, namespaces and file systems are cleaned up.
func interruptible(t *testing.T) context.Context {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	return ctx
}

// run is one cluster, and what is done to it. It is one goroutine's, but for what the load does.
type run struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	ctx     context.Context // ends at Ctrl-C
	dir     string
	tools   programs
	net     network
	servers []*server
	history *history
	load    *load
	sure    *sure // beside it
	endLoad context.CancelFunc

	began    time.Time
	reported bool
	counts   map[string]int // faults by name
	calls    sync.WaitGroup // calls under way that nobody waits for
	wait     time.Duration  // the longest until a write was answered with everything healed
	final    []byte         // the state of the machines when all were level last
	replayed string         // what the logs held, for the report
}

// start makes a cluster and keeps it busy.
func start(ctx context.Context, t *testing.T, p programs, seed uint64, rate int) *run {
	t.Helper()
	require.True(t, *serversFlag == 3 || *serversFlag == 5, "-servers is 3 or 5")
	t.Logf("seed %d, %d servers", seed, *serversFlag)
	r := &run{t: t, ctx: ctx, seed: seed, rng: rand.New(rand.NewPCG(seed, seed)), dir: t.TempDir(), tools: p, counts: map[string]int{}, began: time.Now()}

	var disks []disk
	var dirs []string
	r.net, dirs, disks = r.world(*serversFlag)
	for id := range *serversFlag {
		s := &server{id: id, addr: r.net.listen(id), known: r.net.known(id), dir: dirs[id], kvs: p.kvs,
			said: filepath.Join(r.dir, fmt.Sprintf("server-%d.log", id))}
		s.command = func(name string, args ...string) *exec.Cmd { return r.net.command(id, name, args...) }
		if disks != nil {
			s.disk = disks[id]
		}
		r.servers = append(r.servers, s)
	}
	t.Cleanup(r.keepEvidence)
	t.Cleanup(r.killAll)
	r.form()

	r.history = newHistory(2000, r.dir)
	r.load = &load{history: r.history, servers: r.servers}
	loading, cancel := context.WithCancel(ctx)
	t.Cleanup(func() {
		cancel()
		r.load.wg.Wait()
		r.calls.Wait()
		r.sure.breakOff()
		if !r.reported { // it was broken off; what is wrong with the answers up to then may tell why
			for _, reg := range r.history.rest() {
				r.history.submit(reg)
			}
			r.report(0)
		}
	})
	r.endLoad = cancel
	r.load.begin(loading, rate, seed)
	r.startSure(loading)
	return r
}

// killAll ends what still runs, after a failure too.
func (r *run) killAll() {
	for _, s := range r.servers {
		if s.proc != nil {
			if err := s.end(); err != nil {
				r.t.Error(err)
			}
		}
	}
}

// finish heals nothing, but asks everything: the run's faults must be over.
func (r *run) finish() {
	r.t.Helper()
	r.awaitWrite()
	r.endLoad()
	r.load.wg.Wait()
	r.calls.Wait()
	r.sure.finish()
	r.checkAlive()
	for _, s := range r.servers {
		require.NoError(r.t, s.kill())
	}
	for _, s := range r.servers {
		require.NoError(r.t, s.start())
	}
	r.level()
	r.sure.check(r)
	c := &client{load: r.load, id: clients, timeout: patient}
	for i, reg := range r.history.rest() {
		r.goOn(c, reg, i)
	}
	commit := r.level()
	for _, s := range r.servers {
		require.NoError(r.t, s.stop())
	}
	for _, s := range r.servers {
		out, err := exec.Command(r.tools.raftpico, "log", "-q", s.file()).CombinedOutput()
		require.NoError(r.t, err, "%v: %s", s, out)
		said, err := os.ReadFile(s.said)
		require.NoError(r.t, err)
		for _, word := range []string{"panic:", "fatal error:", "DATA RACE"} {
			require.NotContains(r.t, string(said), word, "%v", s)
		}
	}
	r.checkReplays()
	r.report(commit)
}

// goOn writes to a register and reads it again, through any two servers, and has it judged.
func (r *run) goOn(c *client, reg *register, i int) {
	r.t.Helper()
	value := r.history.anotherValue()
	for n, o := range []operation{{kind: get}, {kind: put, wrote: value}, {kind: get}} {
		r.eventually("an answer", func() (bool, error) {
			s := r.servers[(i+n)%len(r.servers)]
			conn, err := s.dial(r.ctx)
			if err != nil {
				return false, err
			}
			defer conn.Close()
			try := o
			c.do(conn, reg.key, &try)
			reg.ops = append(reg.ops, try)
			if try.kind == put { // the value is used up
				o.wrote = r.history.anotherValue()
			}
			return try.outcome == answered, fmt.Errorf("%v", try)
		})
	}
	r.history.submit(reg)
}
