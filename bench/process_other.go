//go:build !linux

package main

import (
	"os"
	"syscall"
	"time"
)

func orphans() *syscall.SysProcAttr { return nil }

func syncData(f *os.File) error { return f.Sync() }

func sleepUntil(t time.Time) { time.Sleep(time.Until(t)) }
