package main

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// newProgress shows how far a long run is, if stderr is a terminal: total is how much there is to do, -1 if nobody knows.
func newProgress(stderr io.Writer, total int64, what string, options ...progressbar.Option) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total, append(options,
		progressbar.OptionSetWriter(stderr),
		progressbar.OptionSetVisibility(isTerminal(stderr)),
		progressbar.OptionSetDescription(what),
		progressbar.OptionThrottle(200*time.Millisecond),
		progressbar.OptionSetSpinnerChangeInterval(0), // else a goroutine of its own turns it
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetItsString("lines"),
		progressbar.OptionClearOnFinish(),
	)...)
}
