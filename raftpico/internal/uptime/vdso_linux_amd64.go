package uptime

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// The kernel maps a small library into each process, the vDSO (man 7 vdso). Its clock_gettime reads clocks without a system
// call, which takes 0.05 µs rather than 0.3 to 0.9. Go's runtime looks at its own clocks so, but has none that counts suspension,
// and what it has found is its own. Kernels before 5.3 ask the system inside that function, for this clock.

// quick is Now by that function. It reports false if there is none.
func quick() (d time.Duration, ok bool) {
	f := function()
	if f == 0 {
		return 0, false
	}
	return look(f)
}

func look(function uintptr) (d time.Duration, ok bool) {
	seconds, nanoseconds, result := call(function)
	return time.Duration(seconds)*time.Second + time.Duration(nanoseconds), result == 0
}

// call calls a clock_gettime for clockBoottime.
func call(function uintptr) (seconds, nanoseconds, result int64)

// function is where clock_gettime is; 0: nowhere, or it does not tell what the system tells.
var function = sync.OnceValue(func() uintptr {
	if !newKernel() {
		return 0
	}
	f, err := find()
	if err != nil {
		return 0
	}
	before, _ := ask()
	now, ok := look(f)
	if after, _ := ask(); !ok || now < before || after < now {
		return 0
	}
	return f
})

// newKernel tells whether the kernel is of 5.3 or later.
func newKernel() bool {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	var major, minor int
	if _, scanned := fmt.Sscanf(string(release), "%d.%d", &major, &minor); err != nil || scanned != nil {
		return false
	}
	return major > 5 || major == 5 && minor >= 3
}

// find looks for the function in the vDSO.
func find() (uintptr, error) {
	start, end, err := mapped()
	if err != nil {
		return 0, err
	}
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		return 0, err
	}
	defer memory.Close()
	library, err := elf.NewFile(io.NewSectionReader(memory, start, end-start))
	if err != nil {
		return 0, err
	}
	symbols, err := library.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" && s.Section != elf.SHN_UNDEF && s.Value < uint64(end-start) {
			return uintptr(start) + uintptr(s.Value), nil
		}
	}
	return 0, errNone
}

var errNone = errors.New("uptime: there is no vDSO with a clock")

// mapped tells where the vDSO is.
func mapped() (start, end int64, err error) {
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return 0, 0, err
	}
	defer maps.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		if line := lines.Text(); strings.HasSuffix(line, "[vdso]") {
			_, err := fmt.Sscanf(line, "%x-%x ", &start, &end)
			return start, end, err
		}
	}
	return 0, 0, errNone
}
