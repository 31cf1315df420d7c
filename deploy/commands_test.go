//go:build unix

package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

var built string // the folder of the programs, "" before they are asked for

func TestMain(m *testing.M) {
	status := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(status)
}

// build builds kvs and raftpico as the Dockerfile does, once.
var build = sync.OnceValue(func() (err error) {
	if built, err = os.MkdirTemp("", "deploy-test-"); err != nil {
		return err
	}
	b := exec.Command("go", "build", "-o", built+"/", "github.com/raftpico/go/examples/kvs", "github.com/raftpico/go/cmd/raftpico")
	b.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := b.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	return nil
})

func program(t *testing.T, name string) string {
	t.Helper()
	require.NoError(t, build())
	return filepath.Join(built, name)
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}

// container is a server as one of the files starts it: its name there, and the arguments of kvs.
type container struct {
	name string
	args []string
}

// composed are the servers of compose.yaml.
func composed(t *testing.T) (all []container) {
	t.Helper()
	var file struct {
		Services map[string]struct{ Command []string }
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "compose.yaml")), &file))
	for name, s := range file.Services {
		all = append(all, container{name, s.Command})
	}
	slices.SortFunc(all, func(a, b container) int { return strings.Compare(a.name, b.name) })
	return all
}

// pods are the servers of kubernetes.yaml, with the names that Kubernetes gives them.
func pods(t *testing.T) (all []container) {
	t.Helper()
	in := yaml.NewDecoder(strings.NewReader(read(t, "kubernetes.yaml")))
	for {
		var set struct {
			Kind     string
			Metadata struct{ Name string }
			Spec     struct {
				Replicas int
				Template struct {
					Spec struct{ Containers []struct{ Args []string } }
				}
			}
		}
		if in.Decode(&set) != nil {
			return all
		}
		if set.Kind != "StatefulSet" {
			continue
		}
		for i := range set.Spec.Replicas {
			name := fmt.Sprintf("%s-%d", set.Metadata.Name, i)
			var args []string
			for _, arg := range set.Spec.Template.Spec.Containers[0].Args {
				args = append(args, strings.ReplaceAll(arg, "$(POD_NAME)", name))
			}
			all = append(all, container{name, args})
		}
	}
}

// machines are the servers of the systemd unit, on the machines that its comment names.
func machines(t *testing.T) (all []container) {
	t.Helper()
	unit := read(t, "systemd/kvs.service")
	start := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/kvs (.*)$`).FindStringSubmatch(unit)
	join := regexp.MustCompile(`JOIN=(\S+)`).FindStringSubmatch(unit)
	require.NotNil(t, start)
	require.NotNil(t, join)
	for addr := range strings.SplitSeq(join[1], ",") {
		host, _, _ := strings.Cut(addr, ":")
		line := strings.NewReplacer("%H", host, "${JOIN}", join[1]).Replace(start[1])
		require.NotContains(t, line, "%", "all specifiers are known here")
		all = append(all, container{host, strings.Fields(line)})
	}
	return all
}

// imaged is the server that the image runs if nothing else is said.
func imaged(t *testing.T) []container {
	t.Helper()
	cmd := regexp.MustCompile(`(?m)^CMD (\[.*\])$`).FindStringSubmatch(read(t, "Dockerfile"))
	require.NotNil(t, cmd)
	var args []string
	require.NoError(t, json.Unmarshal([]byte(cmd[1]), &args))
	return []container{{"the image", args}}
}

// value is what follows a flag, or "".
func (c container) value(flag string) string {
	for i, arg := range c.args {
		if name, v, ok := strings.Cut(arg, "="); ok && name == "-"+flag {
			return v
		}
		if arg == "-"+flag && i+1 < len(c.args) {
			return c.args[i+1]
		}
	}
	return ""
}

// Every command line is one that kvs takes, read by kvs itself: a flag that changes breaks this.
func TestCommandLinesAreThoseOfKvs(t *testing.T) {
	kvs := program(t, "kvs")
	parse := func(args []string) (string, error) {
		asked := append(slices.Clone(args[:len(args)-1]), "-help") // the last one is the file: flags are read before it
		out, err := exec.Command(kvs, asked...).CombinedOutput()
		return string(out), err
	}
	for from, all := range map[string][]container{"compose.yaml": composed(t), "kubernetes.yaml": pods(t), "kvs.service": machines(t), "Dockerfile": imaged(t)} {
		require.NotEmpty(t, all, from)
		for _, c := range all {
			said, err := parse(c.args)
			require.NoError(t, err, "%s, %s: %s", from, c.name, said)
			said, err = parse(append([]string{"-flagless"}, c.args...))
			require.Error(t, err, said)
			require.Equal(t, ".jsonl", filepath.Ext(c.args[len(c.args)-1]), "%s, %s: the last argument is the log", from, c.name)
		}
	}
}

// The servers of each file make one cluster: each has its own address in the one list, and there are as many as it says.
func TestServersOfAFileMakeOneCluster(t *testing.T) {
	for from, all := range map[string][]container{"compose.yaml": composed(t), "kubernetes.yaml": pods(t), "kvs.service": machines(t)} {
		require.Len(t, all, 3, from)
		own := map[string]bool{}
		for _, c := range all {
			list := strings.Split(c.value("join"), ",")
			require.Equal(t, all[0].value("join"), c.value("join"), "%s, %s: one list", from, c.name)
			require.Equal(t, fmt.Sprint(len(list)), c.value("bootstrap"), "%s, %s", from, c.name)
			require.Contains(t, list, c.value("advertise"), "%s, %s: its own address is in the list", from, c.name)
			require.True(t, strings.HasPrefix(c.value("advertise"), c.name+":") || strings.HasPrefix(c.value("advertise"), c.name+"."), "%s, %s", from, c.name)
			own[c.value("advertise")] = true
		}
		require.Len(t, own, len(all), "%s: each has another address", from)
	}
}

// In a container the folder of the log is mounted, not the file; and the ports are those that the image tells of.
func TestTheLogIsInAMountedFolder(t *testing.T) {
	image := read(t, "Dockerfile")
	for _, line := range []string{"VOLUME /data", "EXPOSE 4000 8000", "USER 65532:65532", "FROM scratch", "ENV CGO_ENABLED=0"} {
		require.Contains(t, image, "\n"+line+"\n")
	}
	for _, c := range slices.Concat(composed(t), pods(t), imaged(t)) {
		require.Equal(t, "/data", filepath.Dir(c.args[len(c.args)-1]), c.name)
		require.Equal(t, "0.0.0.0:4000", c.value("listen"), c.name)
	}
	for _, c := range machines(t) {
		require.Equal(t, "/var/lib/kvs", filepath.Dir(c.args[len(c.args)-1]), "the unit's StateDirectory")
	}
}

// What asks whether a container is well answers so, and otherwise not.
func TestTheHealthCheckTellsADeadServer(t *testing.T) {
	check := regexp.MustCompile(`(?m)^HEALTHCHECK .*CMD (\[.*\])$`).FindStringSubmatch(read(t, "Dockerfile"))
	require.NotNil(t, check)
	var args []string
	require.NoError(t, json.Unmarshal([]byte(check[1]), &args))
	require.Equal(t, []string{"/raftpico", "status", "--only", "127.0.0.1:4000"}, args)
	out, err := exec.Command(program(t, "raftpico"), "status", "--only", "127.0.0.1:1").CombinedOutput() // nobody listens there
	require.Error(t, err, "%s", out)
}

func TestSystemdTakesTheUnit(t *testing.T) {
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not here (Debian: apt-get install systemd)")
	}
	unit := strings.ReplaceAll(read(t, "systemd/kvs.service"), "/usr/local/bin/kvs", program(t, "kvs")) // it must be there
	path := filepath.Join(t.TempDir(), "kvs.service")
	require.NoError(t, os.WriteFile(path, []byte(unit), 0o600))
	out, err := exec.Command(verify, "verify", path).CombinedOutput()
	require.NotContains(t, string(out), "kvs.service", "what it says of the unit") // the rest is of this machine's own units
	if err != nil {
		t.Skipf("systemd-analyze can't work here: %v: %s", err, out)
	}
	for _, line := range []string{"Restart=on-failure", "RestartSec=2", "StateDirectory=kvs", "LimitNOFILE=65536", "NoNewPrivileges=yes", "ProtectSystem=strict"} {
		require.Contains(t, unit, "\n"+line+"\n")
	}
}
