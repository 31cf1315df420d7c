package serve

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// ends are the signals that end the program. SIGHUP is one where a terminal sends it, when it is closed, and what runs in it is not
// wanted any more. Elsewhere it is how a supervisor says that something is to be read anew: nothing here needs that, and a server
// must not end by it. Whoever has SIGHUP ignored, as nohup does, means it.
func ends(stdin *os.File) []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	switch {
	case signal.Ignored(syscall.SIGHUP):
	case isTerminal(stdin):
		signals = append(signals, syscall.SIGHUP)
	default:
		heard := make(chan os.Signal, 1)
		signal.Notify(heard, syscall.SIGHUP)
		go func() { // ends with the process
			for range heard {
				slog.Info("SIGHUP: nothing to do. New certificates are found without it; SIGTERM ends the server")
			}
		}()
	}
	return signals
}

// isTerminal tells whether a person may sit at a file. /dev/null is a device, too.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
