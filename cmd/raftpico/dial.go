package main

import (
	"context"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/secure"
)

const dialTimeout = 10 * time.Second

// dialer opens the connections of a command, as its flags say.
type dialer struct {
	cert, key, ca string
	tls           *secure.TLS // nil: plain TCP
}

// dialing gives a command the flags that say how it connects, and reads the files before it runs.
func dialing(cmd *cobra.Command) *dialer {
	d := new(dialer)
	cmd.Flags().StringVar(&d.cert, "cert", "", "speak TLS, with the certificate in this PEM file")
	cmd.Flags().StringVar(&d.key, "key", "", "with --cert: its private key")
	cmd.Flags().StringVar(&d.ca, "ca", "", "with --cert: the authorities that sign the servers' certificates")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if flags := cmd.Flags(); flags.Changed("cert") || flags.Changed("key") || flags.Changed("ca") { // be it to nothing
			if d.cert == "" || d.key == "" || d.ca == "" {
				return usageError("--cert, --key and --ca go together, and none is empty")
			}
			if d.tls, err = secure.Files(d.cert, d.key, d.ca); err != nil {
				return err
			}
		}
		return run(cmd, args)
	}
	return d
}

// dial connects within timeout.
func (d *dialer) dial(ctx context.Context, addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil || d.tls == nil {
		return conn, err
	}
	return d.tls.Client(ctx, conn, addr)
}

// open connects a client of one server.
func (d *dialer) open(ctx context.Context, addr string) (*jsonrpc.Client, error) {
	conn, err := d.dial(ctx, addr, dialTimeout)
	if err != nil {
		return nil, err
	}
	return jsonrpc.NewClient(conn), nil
}
