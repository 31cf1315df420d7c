//go:build unix && !linux

package torture

import (
	"errors"
	"testing"
)

var errLinux = errors.New("it is for Linux only")

func newNamespaces(*testing.T, int) (network, error) { return nil, errLinux }

func newDisks(*testing.T, string, int) ([]string, []disk, error) { return nil, nil, errLinux }

func (*server) resident() (int, error)     { return 0, nil } // memory is judged on Linux only
func (*server) mostResident() (int, error) { return 0, nil }
