package deploy

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico"
)

const patience = 30 * time.Second

// box is a server of compose.yaml as the image would run it: alone in a folder that has what the image has, as its user, in
// a network of its own with one address.
type box struct {
	container
	ip, root, namespace, link string
	cmd                       *exec.Cmd
	exited                    chan struct{}
}

// The command lines of compose.yaml make a cluster with no other command. It survives the kill of the leader and a cut.
// Network namespaces stand in for containers.
func TestContainersOfComposeBecomeACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds; runs without -short")
	}
	boxes := newBoxes(t)
	for _, b := range boxes {
		b.start(t)
	}
	everybody := func(what string) {
		t.Helper()
		require.Eventually(t, func() bool {
			for _, b := range boxes {
				state, err := b.state()
				if err != nil || voters(state) != len(boxes) || state.Leader == "" || !b.says("/health") || !b.says("/ready") {
					return false
				}
			}
			return true
		}, patience, 50*time.Millisecond, what)
	}
	everybody("three servers that were only started are a cluster")
	n := 0
	put := func() {
		t.Helper()
		n++
		require.Eventually(t, func() bool {
			for _, b := range boxes {
				if b.call("Apply", map[string]any{"kind": "Command", "input": map[string]any{"Put": []any{fmt.Sprint("k", n), n}}, "timeout_ms": 2000}, nil) == nil {
					return true
				}
			}
			return false
		}, patience, 20*time.Millisecond, "a write")
	}
	for range 10 {
		put()
	}
	first, err := boxes[0].state()
	require.NoError(t, err)
	leads := boxes[0]
	for _, b := range boxes {
		if b.value("advertise") == first.Leader {
			leads = b
		}
	}
	leads.kill(t)
	for range 10 {
		put()
	}
	for _, b := range boxes { // the image's HEALTHCHECK
		out, err := b.command("/raftpico", "status", "--only", "127.0.0.1:4000").CombinedOutput()
		require.Equal(t, b != leads, err == nil, "%s is well, whatever the others are: %v: %s", b.name, err, out)
	}
	leads.start(t)
	everybody("it comes back by the same line")

	cut := boxes[1]
	run(t, "ip", "link", "set", cut.link, "down")
	for range 10 {
		put()
	}
	run(t, "ip", "link", "set", cut.link, "up")
	everybody("the cut is over")
	for _, b := range boxes {
		for i := 1; i <= n; i++ {
			var got int
			require.NoError(t, b.call("Apply", map[string]any{"kind": "Query", "input": map[string]string{"Get": fmt.Sprint("k", i)}}, &got), b.name)
			require.Equal(t, i, got)
		}
	}
	for _, b := range boxes {
		require.NoError(t, b.cmd.Process.Signal(syscall.SIGTERM))
	}
	for _, b := range boxes {
		<-b.exited
		require.True(t, b.cmd.ProcessState.Success(), "%s: %v: %s", b.name, b.cmd.ProcessState, b.said())
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
}

// newBoxes makes the network, and skips the test where that can't be.
func newBoxes(t *testing.T) (boxes []*box) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	pid := os.Getpid()
	bridge := fmt.Sprintf("rpd%d", pid)
	for _, tool := range []string{"ip", "nsenter", "chroot"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("network namespaces need the command %s: %v", tool, err)
		}
	}
	if out, err := exec.Command("ip", "link", "add", bridge, "type", "bridge").CombinedOutput(); err != nil {
		t.Skipf("network namespaces can't be had: ip link add type bridge: %v: %s", err, out)
	}
	t.Cleanup(func() { run(t, "ip", "link", "del", bridge) })
	subnet := fmt.Sprintf("198.%d.%d", 18+pid/256%2, pid%256) // for benchmarks: RFC 2544
	run(t, "ip", "addr", "add", subnet+".254/24", "dev", bridge)
	run(t, "ip", "link", "set", bridge, "up")
	hosts := "127.0.0.1 localhost\n"
	for i, c := range composed(t) {
		b := &box{container: c, ip: fmt.Sprintf("%s.%d", subnet, i+1), root: t.TempDir(), namespace: fmt.Sprintf("rpd%d-%d", pid, i), link: fmt.Sprintf("rpd%d-%d", pid, i)}
		hosts += b.ip + " " + b.name + "\n"
		run(t, "ip", "netns", "add", b.namespace)
		t.Cleanup(func() { run(t, "ip", "netns", "del", b.namespace) })
		run(t, "ip", "link", "add", b.link, "type", "veth", "peer", "name", "eth0", "netns", b.namespace)
		run(t, "ip", "link", "set", b.link, "master", bridge, "up")
		run(t, "ip", "-n", b.namespace, "addr", "add", b.ip+"/24", "dev", "eth0")
		run(t, "ip", "-n", b.namespace, "link", "set", "lo", "up")
		run(t, "ip", "-n", b.namespace, "link", "set", "eth0", "up")
		boxes = append(boxes, b)
	}
	for _, b := range boxes {
		require.NoError(t, os.Chmod(b.root, 0o755))
		for _, dir := range []string{"etc", "data"} {
			require.NoError(t, os.Mkdir(filepath.Join(b.root, dir), 0o755))
		}
		require.NoError(t, os.WriteFile(filepath.Join(b.root, "etc/hosts"), []byte(hosts), 0o644))
		require.NoError(t, os.Chown(filepath.Join(b.root, "data"), 65532, 65532))
		for from, to := range map[string]string{"kvs": "server", "raftpico": "raftpico"} {
			run(t, "cp", program(t, from), filepath.Join(b.root, to))
		}
		t.Cleanup(func() {
			if b.cmd != nil {
				b.kill(t)
			}
			if t.Failed() {
				t.Logf("%s said:\n%s", b.name, b.said())
			}
		})
	}
	return boxes
}

// command is a program in the box.
func (b *box) command(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + b.namespace, "chroot", "--userspec=65532:65532", b.root}, args...)...)
}

// start runs the box's command line.
func (b *box) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(b.root+"/said", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	defer log.Close()
	b.cmd, b.exited = b.command(append([]string{"/server"}, b.args...)...), make(chan struct{})
	b.cmd.Stdout, b.cmd.Stderr = log, log
	require.NoError(t, b.cmd.Start())
	go func() { // ends with the process
		_ = b.cmd.Wait() // how it ended is in ProcessState
		close(b.exited)
	}()
}

// kill is kill -9: nsenter and chroot have become the server.
func (b *box) kill(t *testing.T) {
	t.Helper()
	_ = b.cmd.Process.Kill() // it may have ended
	select {
	case <-b.exited:
	case <-time.After(patience):
		require.FailNow(t, "it does not end", b.name)
	}
}

func (b *box) said() string {
	text, err := os.ReadFile(b.root + "/said")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// call makes one call over a connection of its own.
func (b *box) call(method string, params, result any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := jsonrpc.Dial(ctx, b.ip+":4000")
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Call(ctx, method, params, result)
}

func (b *box) state() (*raftpico.State, error) {
	state := new(raftpico.State)
	return state, b.call("GetServerState", map[string]bool{"machines": false}, state)
}

// says tells whether a probe of Kubernetes would be content.
func (b *box) says(path string) bool {
	client := http.Client{Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	answer, err := client.Get("http://" + b.ip + ":8000" + path)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

func voters(state *raftpico.State) (n int) {
	for _, m := range state.Members {
		if strings.EqualFold(m.Role, "voter") {
			n++
		}
	}
	return n
}
