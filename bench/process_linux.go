package main

import (
	"os"
	"syscall"
)

// orphans lets a child end with its parent.
func orphans() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
