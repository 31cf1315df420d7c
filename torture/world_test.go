//go:build unix

package torture

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/stretchr/testify/require"
)

// world makes the network and the directories of the servers' files.
func (r *run) world(n int) (network, []string, []disk) {
	r.t.Helper()
	var net network
	var dirs []string
	var disks []disk
	var err error
	if *rootFlag {
		if net, err = newNamespaces(r.t, n); err != nil {
			r.t.Logf("skipped: network namespaces; there are proxies instead: %v", err)
			net = nil
		}
		if dirs, disks, err = newDisks(r.t, r.dir, n); err != nil {
			r.t.Logf("skipped: full disks and power cuts: %v", err)
			dirs = nil
		}
	}
	if net == nil {
		net, err = newProxies(r.t, n)
		require.NoError(r.t, err)
	}
	if dirs == nil {
		dirs, err = plainDirs(r.dir, n)
		require.NoError(r.t, err)
	}
	return net, dirs, disks
}

func plainDirs(dir string, n int) (dirs []string, err error) {
	for id := range n {
		dirs = append(dirs, filepath.Join(dir, fmt.Sprintf("server-%d", id)))
		if err := os.Mkdir(dirs[id], 0o700); err != nil {
			return nil, err
		}
	}
	return dirs, nil
}
