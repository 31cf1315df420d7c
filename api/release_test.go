package api

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// The version is this module's, whichever module the program belongs to.
func TestReleaseIsThisModules(t *testing.T) {
	module := func(path, version string) debug.Module { return debug.Module{Path: path, Version: version} }
	dep := func(m debug.Module) *debug.Module { return &m }
	replaced := dep(module(modulePath, "v0.1.0"))
	replaced.Replace = dep(module("../go", ""))
	for _, c := range []struct {
		name string
		info debug.BuildInfo
		want string
	}{
		{"the main module", debug.BuildInfo{Main: module(modulePath, "v0.1.0")}, "0.1.0"},
		{"a working copy", debug.BuildInfo{Main: module(modulePath, "(devel)")}, "devel"},
		{"a commit", debug.BuildInfo{Main: module(modulePath, "v0.1.1-0.20261130071353-768fee8dbfd1+dirty")}, "0.1.1-0.20261130071353-768fee8dbfd1+dirty"},
		{"a dependency", debug.BuildInfo{Main: module("example.com/app", "v7.0.0"), Deps: []*debug.Module{dep(module(modulePath, "v0.2.0"))}}, "0.2.0"},
		{"a replaced one", debug.BuildInfo{Main: module("example.com/app", "v7.0.0"), Deps: []*debug.Module{replaced}}, "devel"},
		{"nothing noted", debug.BuildInfo{}, "devel"},
	} {
		require.Equal(t, c.want, releaseOf(&c.info), c.name)
	}
	require.NotEmpty(t, Release())
}
