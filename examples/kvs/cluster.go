package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// clusterFile is a file that names the servers of a cluster, in YAML. The same file serves all of them:
//
//	servers:
//	  node1: 10.0.0.1:10001     where the others and clients of JSON-RPC reach it
//	  node2: 10.0.0.2:10001
//	httpServers:                may be left out, or name some servers only
//	  node1: 10.0.0.1:20001     where it listens for HTTP
//	localServerName: node1      may be left out: -node says it
type clusterFile struct {
	Servers     map[string]string `yaml:"servers"`
	HTTPServers map[string]string `yaml:"httpServers"`
	Local       string            `yaml:"localServerName"`
}

// readCluster reads a cluster file, and refuses one that is not what it should be in any respect.
func readCluster(path string) (*clusterFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := parseCluster(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// parseCluster reads the text of a cluster file. NB: The decoder refuses a name that is given twice.
func parseCluster(text []byte) (*clusterFile, error) {
	c := new(clusterFile)
	in := yaml.NewDecoder(bytes.NewReader(text))
	in.KnownFields(true)
	if err := in.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := in.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something behind the cluster")
	}
	return c, c.check()
}

// nodeName is what a server may be called: its log file has the name, too.
var nodeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// check also brings the servers' addresses into the form in which they know each other.
func (c *clusterFile) check() error {
	if len(c.Servers) == 0 {
		return errors.New("servers names nobody")
	}
	taken := map[string]string{} // who has an address
	take := func(part, name, addr string) error {
		who := part + "." + name
		if other := taken[addr]; other != "" {
			return fmt.Errorf("%s and %s have the same address, %s", other, who, addr)
		}
		taken[addr] = who
		return nil
	}
	for _, name := range c.names() {
		if !nodeName.MatchString(name) {
			return fmt.Errorf("servers: %.64q is no name: it may have letters, digits, and . _ - between them", name)
		}
		host, addr, err := canonical(c.Servers[name])
		switch {
		case err != nil:
			return fmt.Errorf("servers.%s: %w", name, err)
		case wildcard(host):
			return fmt.Errorf("servers.%s: others can't reach %s", name, addr)
		}
		c.Servers[name] = addr
		if err := take("servers", name, addr); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.HTTPServers)) {
		host, addr, err := canonical(c.HTTPServers[name])
		switch {
		case c.Servers[name] == "":
			return fmt.Errorf("httpServers.%.64s: servers has no such name", name)
		case err != nil:
			return fmt.Errorf("httpServers.%s: %w", name, err)
		case wildcard(host):
			continue // each on its own machine
		}
		if err := take("httpServers", name, addr); err != nil {
			return err
		}
	}
	if c.Local != "" && c.Servers[c.Local] == "" {
		return fmt.Errorf("localServerName: servers has no %.64q", c.Local)
	}
	return nil
}

// canonical returns the host of an address, and the address in the one form in which servers know it.
func canonical(addr string) (host, known string, err error) {
	host, port, err := net.SplitHostPort(addr)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || n == 0 || strings.ContainsFunc(host, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return "", "", fmt.Errorf("%.64q is no host:port", addr)
	}
	host = strings.ToLower(host)
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	return host, net.JoinHostPort(host, strconv.FormatUint(n, 10)), nil
}

// wildcard tells whether a host is all addresses of a machine.
func wildcard(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.WithZone("").IsUnspecified()
}

func (c *clusterFile) names() []string { return slices.Sorted(maps.Keys(c.Servers)) }

// addrs are the addresses of all servers, in the order of their names.
func (c *clusterFile) addrs() (addrs []string) {
	for _, name := range c.names() {
		addrs = append(addrs, c.Servers[name])
	}
	return addrs
}

// node is the server to start: the one named, or the file's own if none is.
func (c *clusterFile) node(name string) (string, error) {
	switch {
	case name == "" && c.Local == "":
		return "", fmt.Errorf("say which server this is: -node NAME, one of %s", strings.Join(c.names(), ", "))
	case name == "":
		return c.Local, nil
	case c.Servers[name] == "":
		return "", fmt.Errorf("the cluster file has no %.64q, but %s", name, strings.Join(c.names(), ", "))
	}
	return name, nil
}

// places are the servers' names and pages.
func (c *clusterFile) places() places {
	all := places{}
	for name, addr := range c.Servers {
		it := place{name: name, http: c.HTTPServers[name]}
		if host, port, err := net.SplitHostPort(it.http); err == nil && wildcard(host) {
			host, _, _ = canonical(addr)
			it.http = net.JoinHostPort(host, port)
		}
		all[addr] = it
	}
	return all
}
