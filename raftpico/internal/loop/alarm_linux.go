package loop

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

// fileAlarm is an alarm by timerfd_create(2), which wakes the process once, when time is up. Of a program that is idle, Go's
// own timers wake two threads, one of them twice, since Go waits for files by the millisecond: a fifth of all that an
// idle server does. NB: it tells the real time, so it has no place in a bubble of testing/synctest.
type fileAlarm struct {
	wake chan struct{} // capacity 1
	file *os.File
	raw  syscall.RawConn
}

// itimerspec is the time that timerfd_settime(2) is given. All zero, it stops the timer.
type itimerspec struct{ interval, value syscall.Timespec }

const clockMonotonic = 1

// newAlarm makes an alarm. Real tells that the process has the system's network, and so its time.
func newAlarm(real bool) alarm {
	if !real {
		return newGoAlarm()
	}
	fd, _, errno := syscall.RawSyscall(syscall.SYS_TIMERFD_CREATE, clockMonotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return newGoAlarm()
	}
	a := &fileAlarm{wake: make(chan struct{}, 1), file: os.NewFile(fd, "timer")}
	var err error
	if a.raw, err = a.file.SyscallConn(); err != nil {
		_ = a.file.Close()
		return newGoAlarm()
	}
	go a.listen()
	return a
}

// listen is a goroutine, which ends with Stop.
func (a *fileAlarm) listen() {
	var times uint64
	expired := func(fd uintptr) bool { // or else it is called again when it has
		_, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&times)), unsafe.Sizeof(times))
		return errno == 0
	}
	for a.raw.Read(expired) == nil {
		ring(a.wake)
	}
}

func (a *fileAlarm) Wake() <-chan struct{} { return a.wake }

func (a *fileAlarm) Set(d time.Duration) {
	t := itimerspec{value: syscall.NsecToTimespec(max(int64(d), 1))}
	_ = a.raw.Control(func(fd uintptr) {
		syscall.RawSyscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&t)), 0, 0, 0)
	})
}

func (a *fileAlarm) Stop() { _ = a.file.Close() }
