package torture

import (
	"fmt"
	"os"
	"strings"
)

// resident is how much memory a server's process has at hand, in KiB. From now on mostResident counts.
func (s *server) resident() (int, error) {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.proc.cmd.Process.Pid), []byte("5"), 0); err != nil {
		return 0, err
	}
	return s.memory("VmRSS")
}

// mostResident is the most it has had since, in KiB.
func (s *server) mostResident() (int, error) { return s.memory("VmHWM") }

func (s *server) memory(name string) (kib int, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.proc.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "\n"+name+":")
	_, err = fmt.Sscanf(rest, "%d kB", &kib)
	return kib, err
}
