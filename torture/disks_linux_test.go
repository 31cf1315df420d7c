package torture

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// loopDisk is a small ext4 file system in a file. It needs root.
type loopDisk struct {
	image, dir string
	mounted    bool
	thawer     int // the process that thaws it in the end; 0: it is not frozen
}

const (
	diskSize    = 192 << 20  // bytes; a log takes up to 64 MiB, and as much again while it is compacted
	ext4Cut     = 0x8004587d // EXT4_IOC_SHUTDOWN
	noFlush     = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH: the journal is not written either
	fiFreeze    = 0xc0045877 // FIFREEZE
	fiThaw      = 0xc0045878 // FITHAW
	ballastName = "ballast"
)

// newDisks makes a file system for each server, mounted in dir.
func newDisks(t *testing.T, dir string, n int) (dirs []string, disks []disk, err error) {
	images := t.TempDir()
	for id := range n {
		d := &loopDisk{image: filepath.Join(images, fmt.Sprint(id)), dir: filepath.Join(dir, fmt.Sprintf("%s%d-disk-%d", prefix, os.Getpid(), id))}
		t.Cleanup(func() {
			if err := d.unmount(); err != nil {
				t.Error(err)
			}
		})
		if err := d.make(); err != nil {
			return nil, nil, err
		}
		dirs, disks = append(dirs, d.dir), append(disks, d)
	}
	return dirs, disks, nil
}

func (d *loopDisk) make() error {
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		return err
	}
	f, err := os.Create(d.image)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(diskSize), f.Close()); err != nil {
		return err
	}
	if err := do("mkfs.ext4", "-q", "-m", "0", d.image); err != nil {
		return err
	}
	return d.mount()
}

func (d *loopDisk) mount() error {
	if err := do("mount", "-o", "loop", d.image, d.dir); err != nil {
		return err
	}
	d.mounted = true
	return nil
}

// unmount waits a little: the kernel closes files of a killed process in its own time.
func (d *loopDisk) unmount() (err error) {
	for began := time.Now(); d.mounted && time.Since(began) < patience; time.Sleep(5 * time.Millisecond) {
		if err = syscall.Unmount(d.dir, 0); err == nil {
			d.mounted = false
		}
	}
	return err
}

func (d *loopDisk) ballast() string { return filepath.Join(d.dir, ballastName) }

func (d *loopDisk) fill() error {
	f, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	end := info.Size()
	for step := int64(diskSize); step >= 4096; {
		err := syscall.Fallocate(int(f.Fd()), 0, end, step)
		switch {
		case err == nil:
			end += step
		case errors.Is(err, syscall.ENOSPC):
			if info, err := f.Stat(); err == nil { // some of it may have been taken
				end = max(end, info.Size())
			}
			step /= 2
		case !errors.Is(err, syscall.EINTR):
			return err
		}
	}
	return nil
}

func (d *loopDisk) free() error { return os.Remove(d.ballast()) }

func (d *loopDisk) cut() error {
	flags := uint32(noFlush)
	return d.ioctl("EXT4_IOC_SHUTDOWN", ext4Cut, uintptr(unsafe.Pointer(&flags)))
}

func (d *loopDisk) ioctl(name string, request, arg uintptr) error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, arg); errno != 0 {
		return fmt.Errorf("%s %s: %w", name, d.dir, errno)
	}
	return nil
}

// freeze lets everybody hang who writes. NB: Not even kill -9 ends a process that does. So a process of its own, which outlives
// this one whatever happens to it, thaws the file system in the end; there is no freezing without it.
func (d *loopDisk) freeze(atMost time.Duration) error {
	thaw := exec.Command("sh", "-c", `sleep "$0"; exec fsfreeze --unfreeze "$1"`, fmt.Sprint(atMost.Seconds()), d.dir)
	thaw.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := thaw.Start(); err != nil {
		return err
	}
	d.thawer = thaw.Process.Pid
	go func() { _ = thaw.Wait() }() // ends with it; it fails if the disk is thawed by then
	return d.ioctl("FIFREEZE", fiFreeze, 0)
}

// thaw lets them go on. The one who would have done so is sent away.
func (d *loopDisk) thaw() error {
	err := d.ioctl("FITHAW", fiThaw, 0)
	if errors.Is(err, syscall.EINVAL) { // it is thawed
		err = nil
	}
	if d.thawer != 0 {
		_ = syscall.Kill(-d.thawer, syscall.SIGKILL) // a session of its own
		d.thawer = 0
	}
	return err
}

func (d *loopDisk) restore() error {
	if err := d.unmount(); err != nil {
		return err
	}
	return d.mount()
}
