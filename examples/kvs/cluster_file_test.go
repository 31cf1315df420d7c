package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClusterFile(t *testing.T) {
	c, err := readCluster("cluster.yaml")
	require.NoError(t, err)
	require.Equal(t, []string{"127.0.0.1:10001", "127.0.0.1:10002", "127.0.0.1:10003", "127.0.0.1:10004", "127.0.0.1:10005"}, c.addrs())
	require.Equal(t, place{"node3", "127.0.0.1:20003"}, c.places()["127.0.0.1:10003"])
	_, err = c.node("")
	require.ErrorContains(t, err, "say which server this is: -node NAME, one of node1, node2, node3, node4, node5")
	_, err = c.node("node6")
	require.ErrorContains(t, err, `no "node6", but node1, node2, node3, node4, node5`)

	c, err = parseCluster([]byte("servers: {a: a:1, b: b:1}\nhttpServers: {a: 0.0.0.0:2, b: '0.0.0.0:2'}\nlocalServerName: b\n"))
	require.NoError(t, err)
	name, err := c.node("")
	require.NoError(t, err)
	require.Equal(t, "b", name)
	name, err = c.node("a")
	require.NoError(t, err)
	require.Equal(t, "a", name)
	require.Equal(t, places{"a:1": {"a", "a:2"}, "b:1": {"b", "b:2"}}, c.places(), "a page on all addresses is found at the server's")
	c, err = parseCluster([]byte("servers:\n  a: '[::1]:1'\n"))
	require.NoError(t, err)
	require.Equal(t, place{name: "a"}, c.places()["[::1]:1"])
	c, err = parseCluster([]byte("servers: {a: '[0:0:0:0:0:0:0:1]:01', b: DB-1.Example:2, c: '[::ffff:192.0.2.1]:3'}\nhttpServers: {c: '[::]:4'}\n"))
	require.NoError(t, err)
	require.Equal(t, []string{"[::1]:1", "db-1.example:2", "192.0.2.1:3"}, c.addrs(), "as servers know each other")
	require.Equal(t, places{"[::1]:1": {name: "a"}, "db-1.example:2": {name: "b"}, "192.0.2.1:3": {"c", "192.0.2.1:4"}}, c.places())
}

func TestBadClusterFiles(t *testing.T) {
	for text, says := range map[string]string{
		``:                                           "names nobody",
		`servers:`:                                   "names nobody",
		`servers: {}`:                                "names nobody",
		`servers: [a:1]`:                             "cannot unmarshal",
		`servers: {a: a:1`:                           "yaml",
		`{servers: {a: a:1}, server: {}}`:            "field server not found",
		`{servers: {a: a:1, a: b:1}}`:                `"a" already defined`,
		`{servers: {a: a:1}, servers: {}}`:           `"servers" already defined`,
		`{servers: {a: a:1, b: a:1}}`:                "servers.a and servers.b have the same address, a:1",
		`{servers: {a: A:1, b: "a:01"}}`:             "servers.a and servers.b have the same address, a:1",
		`{servers: {a: "[::1]:1", b: "[0::1]:1"}}`:   "servers.a and servers.b have the same address, [::1]:1",
		`{servers: {a: "a b:1"}}`:                    "no host:port",
		`{servers: {a: "[::%eth0]:1"}}`:              "others can't reach",
		`{servers: {a: a:1}, httpServers: {a: A:1}}`: "servers.a and httpServers.a have the same address",
		`{servers: {a: }}`:                           "servers.a",
		`{servers: {a: 5}}`:                          "servers.a",
		`{servers: {a: a}}`:                          `"a" is no host:port`,
		`{servers: {a: "a:"}}`:                       "no host:port",
		`{servers: {a: a:0}}`:                        "no host:port",
		`{servers: {a: a:65536}}`:                    "no host:port",
		`{servers: {a: a:http}}`:                     "no host:port",
		`{servers: {a: ":1"}}`:                       "others can't reach",
		`{servers: {a: "0.0.0.0:1"}}`:                "others can't reach",
		`{servers: {a: "[::]:1"}}`:                   "others can't reach",
		`{servers: {"../a": a:1}}`:                   "is no name",
		`{servers: {"": a:1}}`:                       "is no name",
		`{servers: {a: {b: c:1}}}`:                   "cannot unmarshal",
		"servers: {a: a:1}\n---\nservers: {}":        "behind the cluster",
		`{servers: {a: a:1}, httpServers: {b: b:1}}`: "httpServers.b: servers has no such name",
		`{servers: {a: a:1}, httpServers: {a: a}}`:   "httpServers.a",
		`{servers: {a: a:1}, httpServers: {a: a:1}}`: "servers.a and httpServers.a have the same address",
		`{servers: {a: a:1, b: b:1}, httpServers: {a: "c:2", b: "c:2"}}`: "httpServers.a and httpServers.b have the same address",
		`{servers: {a: a:1}, localServerName: b}`:                        `servers has no "b"`,
	} {
		_, err := parseCluster([]byte(text))
		require.ErrorContains(t, err, says, text)
	}
	_, err := readCluster(filepath.Join(t.TempDir(), "none.yaml"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
