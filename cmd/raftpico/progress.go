package main

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

// besideOutput is where a subcommand shows its progress while it prints: nowhere if both would go to one terminal.
func besideOutput(cmd *cobra.Command) io.Writer {
	if isTerminal(cmd.OutOrStdout()) {
		return io.Discard
	}
	return cmd.ErrOrStderr()
}

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
		progressbar.OptionShowTotalBytes(total >= 0),
		progressbar.OptionSetItsString("lines"),
		progressbar.OptionClearOnFinish(),
	)...)
}
