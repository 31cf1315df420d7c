//go:build unix

package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/internal/ports"
)

// web is for requests that go to processes: nothing of it is left over when a test ends.
var web = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

// get is the body that a server answers with 200.
func get(t *testing.T, addr, path string) string {
	t.Helper()
	response, err := web.Get("http://" + addr + path)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, "%s", body)
	return string(body)
}

// set writes a key by a form, and tells whether that was acknowledged.
func set(addr, key, value string) bool {
	response, err := web.PostForm("http://"+addr+"/konsen", url.Values{key: {value}})
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err == nil && response.StatusCode == http.StatusOK
}

// node is a server of a cluster file, in a process of its own.
type node struct {
	server
	name, http string
}

// writeCluster writes a file for n servers at free addresses, like cluster.yaml.
func writeCluster(t *testing.T, n int) (path string, nodes []*node) {
	t.Helper()
	var servers, pages strings.Builder
	dir := t.TempDir()
	for i := range n {
		it := &node{server{addr: ports.Free(t, 1)[0], file: filepath.Join(dir, fmt.Sprintf("node%d.jsonl", i+1))}, fmt.Sprintf("node%d", i+1), ports.Free(t, 1)[0]}
		fmt.Fprintf(&servers, "  %s: %s\n", it.name, it.addr)
		fmt.Fprintf(&pages, "  %s: %s\n", it.name, it.http)
		nodes = append(nodes, it)
	}
	path = filepath.Join(dir, "cluster.yaml")
	require.NoError(t, os.WriteFile(path, []byte("servers:\n"+servers.String()+"httpServers:\n"+pages.String()), 0o600))
	return path, nodes
}

// begin starts a node.
func (n *node) begin(t *testing.T, cluster string) {
	t.Helper()
	n.process = launch(t, command(t, "kvs", "-cluster", cluster, "-node", n.name, n.file))
}

// awaitReady waits until nodes are ready, and know n members.
func awaitReady(t *testing.T, nodes []*node, n int) {
	t.Helper()
	for _, it := range nodes {
		waitFor(t, it.name+" to be ready", func() bool {
			if !it.running() {
				return true
			}
			response, err := web.Get("http://" + it.http + "/ready")
			if err != nil {
				return false
			}
			defer response.Body.Close()
			state, err := it.state(false)
			return response.StatusCode == http.StatusOK && err == nil && voters(state) == n
		})
		require.True(t, it.running(), "%s has ended: %s", it.name, it.stderr())
	}
}

// Five servers find each other in whatever order they start, and go on without one of them.
func TestClusterOfAFile(t *testing.T) {
	path, nodes := writeCluster(t, 5)
	for _, i := range rand.Perm(5) {
		nodes[i].begin(t, path)
	}
	awaitReady(t, nodes, 5)
	require.True(t, set(nodes[1].http, "k", "one"))
	for _, n := range nodes {
		require.Equal(t, "one", get(t, n.http, "/konsen?key=k"))
	}

	state, err := nodes[0].state(false)
	require.NoError(t, err)
	var victim *node
	var others []*node
	for _, n := range nodes {
		if n.addr == state.Leader {
			victim = n
		} else {
			others = append(others, n)
		}
	}
	victim.kill(t)
	waitFor(t, "a new leader", func() bool { return set(others[0].http, "k", "two") })
	require.Equal(t, "two", get(t, others[3].http, "/konsen?key=k"))
	victim.begin(t, path)
	awaitReady(t, []*node{victim}, 5)
	require.Equal(t, "two", get(t, victim.http, "/konsen?key=k"))

	status := get(t, victim.http, "/api/status")
	require.Contains(t, status, `"node":"`+victim.name+`"`)
	require.Contains(t, status, `"name":"`+others[0].name+`"`)
	require.Contains(t, status, `"http":"`+others[0].http+`"`)
	require.Contains(t, get(t, victim.http, "/"), "<title>kvs</title>")
	for _, n := range nodes {
		n.signal(t, os.Interrupt)
	}
	for _, n := range nodes {
		require.Zero(t, n.wait(t), n.stderr())
	}
}

// What is wrong with a command line or a cluster file is told before anything starts.
func TestBadCommandLinesOfAClusterFile(t *testing.T) {
	path, nodes := writeCluster(t, 2)
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	require.NoError(t, os.WriteFile(bad, []byte("servers: {a: x}"), 0o600))
	for _, c := range []struct{ line, says string }{
		{"-cluster " + path, "say which server this is: -node NAME, one of node1, node2"},
		{"-cluster " + path + " -node node3", `has no "node3"`},
		{"-cluster none.yaml -node node1", "no such file"},
		{"-cluster " + bad + " -node a", `bad.yaml: servers.a: "x" is no host:port`},
		{"-node node1", "-node needs -cluster"},
		{"-cluster " + path + " -node node1 -listen 127.0.0.1:1", "don't go with it"},
		{"-cluster " + path + " -node node1 -join 127.0.0.1:1", "don't go with it"},
		{"-cluster " + path + " -node node1 a b", "at most one file"},
	} {
		cmd := command(t, "kvs", strings.Fields(c.line)...)
		cmd.Dir = t.TempDir()
		p := launch(t, cmd)
		require.Equal(t, 1, p.wait(t), c.line)
		require.Contains(t, p.stderr(), c.says, c.line)
		left, err := os.ReadDir(cmd.Dir)
		require.NoError(t, err)
		require.Empty(t, left, c.line)
	}
	require.NoFileExists(t, nodes[0].file)
}
