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
	leasesFlag  = flag.Bool("leases", false, "queries under leases in all runs, and not only in those with even seeds")
	keepFlag    = flag.String("keep", "", "the directory that gets the logs and histories of runs that fail")
)

// TestTorture runs clusters of kvs through faults, with clients that speak JSON-RPC.
func TestTorture(t *testing.T) { tortureAll(t, &kvsService) }

func tortureAll(t *testing.T, of *service) {
	t.Helper()
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
			r := start(ctx, t, of, p, seed, *rateFlag)
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
	service *service
	seed    uint64
	rng     *rand.Rand
	ctx     context.Context // ends at Ctrl-C
	dir     string
	tools   programs
	net     network
	servers []*server
	leases  bool // queries are answered under leases
	tally   *tally
	trial   trial
	endLoad context.CancelFunc

	began    time.Time
	reported bool
	counts   map[string]int // faults by name
	calls    sync.WaitGroup // calls under way that nobody waits for
	wait     time.Duration  // the longest until a write was answered with everything healed
	final    []byte         // the state of the machines when all were level last
}

// start makes a cluster and keeps it busy.
func start(ctx context.Context, t *testing.T, of *service, p programs, seed uint64, rate int) *run {
	t.Helper()
	require.True(t, *serversFlag == 3 || *serversFlag == 5, "-servers is 3 or 5")
	t.Logf("seed %d, %d servers, leases: %v", seed, *serversFlag, *leasesFlag || seed%2 == 0)
	r := &run{t: t, ctx: ctx, service: of, seed: seed, rng: rand.New(rand.NewPCG(seed, seed)), dir: t.TempDir(), tools: p, counts: map[string]int{}, began: time.Now(),
		leases: *leasesFlag || seed%2 == 0}

	var disks []disk
	var dirs []string
	r.net, dirs, disks = r.world(*serversFlag)
	for id := range *serversFlag {
		s := &server{id: id, addr: r.net.listen(id), known: r.net.known(id), dir: dirs[id], program: p.of(of.program),
			said: filepath.Join(r.dir, fmt.Sprintf("server-%d.log", id))}
		s.command = func(name string, args ...string) *exec.Cmd { return r.net.command(id, name, args...) }
		if of.http {
			s.http = r.net.http(id)
		}
		if disks != nil {
			s.disk = disks[id]
		}
		r.servers = append(r.servers, s)
	}
	t.Cleanup(r.keepEvidence)
	t.Cleanup(r.killAll)
	r.form()

	r.tally = newTally()
	loading, cancel := context.WithCancel(ctx)
	r.endLoad = cancel
	r.trial = of.begin(r, loading, rate)
	t.Cleanup(func() {
		cancel()
		r.trial.breakOff()
		r.calls.Wait()
		if !r.reported { // it was broken off; what is wrong with the answers up to then may tell why
			r.report(0)
		}
	})
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
	r.trial.finish()
	r.calls.Wait()
	r.checkAlive()
	for _, s := range r.servers {
		require.NoError(r.t, s.kill())
	}
	for _, s := range r.servers {
		require.NoError(r.t, s.start())
	}
	r.level()
	r.trial.check()
	commit := r.level()
	for _, s := range r.servers {
		require.NoError(r.t, s.stop())
	}
	for _, s := range r.servers {
		out, err := exec.Command(r.tools.of("raftpico"), "log", "-q", s.file()).CombinedOutput()
		require.NoError(r.t, err, "%v: %s", s, out)
		said, err := os.ReadFile(s.said)
		require.NoError(r.t, err)
		for _, word := range []string{"panic:", "fatal error:", "DATA RACE"} {
			require.NotContains(r.t, string(said), word, "%v", s)
		}
	}
	r.trial.inspect()
	r.report(commit)
}
