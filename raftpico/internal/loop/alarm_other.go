//go:build !linux

package loop

func newAlarm(bool) alarm { return newGoAlarm() }
