package api

import (
	"runtime/debug"
	"strings"
	"sync"
)

// modulePath is the path of this module.
const modulePath = "github.com/raftpico/go"

// Release is the version of this module that the program was built with, such as "0.1.0", as GetServerState tells it. A
// build from a working copy has the pseudo-version that Go gives it, or "devel" if Go has noted none.
var Release = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return releaseOf(new(debug.BuildInfo))
	}
	return releaseOf(info)
})

func releaseOf(info *debug.BuildInfo) string {
	version := ""
	if info.Main.Path == modulePath {
		version = info.Main.Version
	}
	for _, m := range info.Deps {
		if m.Path != modulePath {
			continue
		}
		version = m.Version
		if m.Replace != nil {
			version = m.Replace.Version
		}
	}
	if version = strings.Trim(version, "()"); version == "" {
		return "devel"
	}
	return strings.TrimPrefix(version, "v")
}
