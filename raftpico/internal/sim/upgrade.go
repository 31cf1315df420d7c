package sim

import (
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
)

// upgrades are new builds of the machine, which servers run from one of their starts on; and now and then an older
// one again. In a world without them all machines have version 0. What a version changes is small: the version goes
// into the history's hash, and cas is a command since version 2.
type upgrades struct {
	rng    *rand.Rand    // nil: there are none. Its own, so that other worlds stay what they were
	newest int           // that any server has run
	checks time.Duration // how often the states are compared
}

// Builds there are, and the first that knows cas.
const (
	lastBuild = 3
	casBuild  = 2
)

func (u *upgrades) begin(w *world) {
	if rng := rand.New(rand.NewPCG(w.cfg.Seed, 1)); w.cfg.Load == nil && rng.IntN(3) == 0 {
		u.rng = rng
	}
	u.checks = time.Duration(w.cfg.Seed%4) * time.Second
}

// install chooses the build that a server starts with.
func (u *upgrades) install(s *server) {
	switch {
	case u.rng == nil:
		return
	case s.build == 0:
		s.build = 1 + u.rng.IntN(casBuild)
	case s.w.faults.stopped:
	case u.rng.IntN(3) == 0:
		s.build = min(s.build+1, lastBuild)
	case u.rng.IntN(8) == 0:
		s.build = max(s.build-1, 1)
	}
	u.newest = max(u.newest, s.build)
}

// tooOld tells whether a server has stopped since its build is too old, as it must, and has the operator see to that.
func (u *upgrades) tooOld(s *server, err error) bool {
	if err == nil || s.build >= u.newest || !strings.Contains(err.Error(), "start it with the new build") {
		return false
	}
	s.w.tracef("%s is of build %d: %v", s, s.build, err)
	s.w.result.Faults["old build stopped"]++
	s.build = u.newest
	return true
}

// settled checks the versions in the end: what all members know is in use.
func (u *upgrades) settled(c *checks, members []*server) {
	if u.rng == nil || len(members) < len(c.view) {
		return
	}
	lowest := lastBuild
	for _, s := range members {
		lowest = min(lowest, s.build)
	}
	for _, s := range members {
		if st := s.node.State(); st.ActiveVersion != lowest || st.MachineVersion != s.build {
			s.w.fail("%s of build %d has version %d in the end, and all are of build %d at least", s, s.build, st.ActiveVersion, lowest)
		}
	}
}

// Version implements machine.Versioned.
func (m *keyValue) Version() int { return m.s.build }

// Needs implements machine.Needer.
func (m *keyValue) Needs(input json.RawMessage) int {
	if m.s.build >= casBuild && isCas(input) {
		return casBuild
	}
	return 0
}

func isCas(input json.RawMessage) bool {
	words := strings.Split(string(input), " ")
	return len(words) > 1 && words[1] == "cas"
}

// checkVersion is called before a machine applies something. An error refuses it.
func (m *keyValue) checkVersion(ctx *machine.Context, words []string) error {
	s := m.s
	if ctx.Version > s.build {
		s.w.fail("%s of build %d is to behave like version %d", s, s.build, ctx.Version)
	}
	if s.w.upgrades.rng == nil || words[1] != "cas" {
		return nil
	}
	if s.build < casBuild {
		return errors.New("unknown command")
	}
	if ctx.Kind == machine.Command && ctx.Version < casBuild {
		s.w.fail("%s applies %q with version %d", s, words, ctx.Version)
	}
	return nil
}
