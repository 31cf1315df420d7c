package loop

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// alarms are both kinds; where the system has no other, Go's twice.
func alarms(t *testing.T, f func(t *testing.T, a alarm)) {
	for name, real := range map[string]bool{"Go's": false, "the system's": true} {
		t.Run(name, func(t *testing.T) {
			a := newAlarm(real)
			defer a.Stop()
			f(t, a)
		})
	}
}

func rings(a alarm, within time.Duration) bool {
	select {
	case <-a.Wake():
		return true
	case <-time.After(within):
		return false
	}
}

func TestAlarmRingsWhenTimeIsUp(t *testing.T) {
	alarms(t, func(t *testing.T, a alarm) {
		for _, d := range []time.Duration{0, -1, time.Microsecond, 3 * time.Millisecond, 30 * time.Millisecond} {
			began := time.Now()
			a.Set(d)
			require.True(t, rings(a, 10*time.Second), d)
			require.GreaterOrEqual(t, time.Since(began), d)
			require.False(t, rings(a, 5*time.Millisecond), "%v: once only", d)
		}
	})
}

func TestAlarmIsSetAnew(t *testing.T) {
	alarms(t, func(t *testing.T, a alarm) {
		a.Set(never)
		require.False(t, rings(a, 5*time.Millisecond))
		a.Set(20 * time.Millisecond)
		a.Set(time.Millisecond)
		require.True(t, rings(a, 10*time.Second), "earlier")
		a.Set(10 * time.Millisecond)
		a.Set(time.Hour)
		require.False(t, rings(a, 30*time.Millisecond), "later")
		a.Stop()
		a.Set(time.Millisecond) // does no harm
	})
}
