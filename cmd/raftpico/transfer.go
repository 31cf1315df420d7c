package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftpico/go/client"
)

// newTransfer hands leadership to a server.
func newTransfer() *cobra.Command {
	var to string
	var timeout time.Duration
	var d *dialer
	cmd := &cobra.Command{
		Use:   "transfer ADDR... --to ADDR [--timeout 10s]",
		Short: "hand leadership to one of the voters",
		Long: `Transfer asks the leader of the servers at ADDR to hand leadership to another voter, and waits until that leads. It finds the
leader by itself. If the server leads already, nothing changes. When the timeout comes first, it may lead later all the same.`,
		Example:           `  raftpico transfer :4000 :4001 :4002 --to :4002`,
		Args:              addresses,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, addrs []string) error {
			if timeout < time.Millisecond {
				return usageError("--timeout must be at least 1ms")
			}
			to, err := address(to)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			defer stop()
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			c := client.NewWith(client.Options{Dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
				return d.dial(ctx, addr, dialTimeout)
			}}, addrs...)
			defer c.Close()
			if err := c.TransferLeader(ctx, to); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s leads\n", to)
			return nil
		},
	}
	d = dialing(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the address of the server that is to lead")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "longest wait")
	return cmd
}
