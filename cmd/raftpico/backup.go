package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico"
)

// How long the server may take for an answer. For a piece: its disk may be slow. For the beginning it answers at the deadline
// that it is told, in milliseconds, or it hangs.
const (
	pieceTimeout  = time.Minute
	beginDeadline = 10_000
)

// beginTimeout is that of the beginning, as this side waits. A test has less patience.
var beginTimeout = time.Minute

// newBackup streams a backup from a server.
func newBackup() *cobra.Command {
	var file string
	var last bool
	var d *dialer
	cmd := &cobra.Command{
		Use:   "backup ADDR [-o FILE] [--last]",
		Short: "write a backup of a cluster, taken from one of its servers while it serves",
		Long: `Backup writes the state of a cluster, as the server at ADDR has it, with all that was acknowledged before. The server
takes a snapshot for it; ask a follower, and the leader is not held up. The output is JSON Lines; raftpico restore makes
a new cluster of it.

With -o the file appears when it is whole, and there must be none yet. Otherwise the backup goes to standard output: look
at the exit status, for after a failure what was written is no backup. It would be refused.`,
		Example: `  raftpico backup 10.0.0.2:4000 -o kvs.backup
  raftpico backup 10.0.0.2:4000 | zstd > kvs.backup.zst`,
		Args:              exactly("ADDR"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			addr, err := address(args[0])
			if err != nil {
				return err
			}
			if file == "" && isTerminal(cmd.OutOrStdout()) {
				return usageError("a backup is not for a terminal: redirect it, or give -o FILE")
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), endings()...)
			defer stop()
			info, err := backUp(ctx, cmd, d, addr, file, last)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%d bytes: the state of cluster %s as of entry %d, term %d, time %s\n",
				info.Bytes, info.ClusterID, info.Index, info.Term, info.Time.Format(time.RFC3339))
			return nil
		},
	}
	d = dialing(cmd)
	cmd.Flags().StringVarP(&file, "output", "o", "", "write to FILE, which appears when it is whole")
	cmd.Flags().BoolVar(&last, "last", false, "take the server's last snapshot, however old: it needs no other server")
	return cmd
}

func backUp(ctx context.Context, cmd *cobra.Command, d *dialer, addr, file string, last bool) (info raftpico.BackupInfo, err error) {
	client, err := d.open(ctx, addr)
	if err != nil {
		return info, err
	}
	defer client.Close()
	if file == "" {
		return download(ctx, cmd, client, cmd.OutOrStdout(), last)
	}
	err = writeNew(file, func(w io.Writer) error {
		info, err = download(ctx, cmd, client, w, last)
		return err
	})
	return info, err
}

// download writes a backup, and verifies it meanwhile.
func download(ctx context.Context, cmd *cobra.Command, client *jsonrpc.Client, w io.Writer, last bool) (raftpico.BackupInfo, error) {
	size, err := begin(ctx, cmd, client, last)
	if err != nil {
		return raftpico.BackupInfo{}, err
	}
	bar := newProgress(cmd.ErrOrStderr(), size, "backup", progressbar.OptionShowBytes(true))
	defer func() { _ = bar.Finish() }()
	return raftpico.VerifyBackup(io.TeeReader(&pieces{ctx: ctx, client: client}, io.MultiWriter(w, atMost{bar, size})))
}

// atMost tells a progress bar of a backup, which is a little longer than its state.
type atMost struct {
	bar  *progressbar.ProgressBar
	size int64
}

func (a atMost) Write(p []byte) (int, error) {
	_ = a.bar.Set64(min(a.bar.State().CurrentNum+int64(len(p)), a.size))
	return len(p), nil
}

// begin has the server open a backup, and returns the size of the state. A snapshot that takes longer than a request may
// is waited for.
func begin(ctx context.Context, cmd *cobra.Command, client *jsonrpc.Client, last bool) (size int64, err error) {
	var head struct {
		Bytes int64 `json:"bytes"`
	}
	for told := false; ; told = true {
		err = call(ctx, client, beginTimeout, "BeginBackup", map[string]any{"fresh": !last, "timeout_ms": beginDeadline}, &head)
		if !errors.Is(err, raftpico.ErrUnknown) {
			return head.Bytes, err
		}
		if !told {
			fmt.Fprintln(cmd.ErrOrStderr(), "the server has not yet written its snapshot; waiting for it")
		}
	}
}

// pieces reads a backup from a server.
type pieces struct {
	ctx    context.Context
	client *jsonrpc.Client
	offset int64
	left   []byte
	end    bool
}

func (p *pieces) Read(b []byte) (int, error) {
	for len(p.left) == 0 {
		if p.end {
			return 0, io.EOF
		}
		if err := p.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.left)
	p.left = p.left[n:]
	return n, nil
}

func (p *pieces) next() error {
	var piece struct {
		Offset int64  `json:"offset"`
		Data   []byte `json:"data"`
		End    bool   `json:"end"`
	}
	err := call(p.ctx, p.client, pieceTimeout, "ReadBackup", map[string]int64{"offset": p.offset}, &piece)
	switch {
	case err != nil:
		return err
	case piece.Offset != p.offset || len(piece.Data) == 0 && !piece.End:
		return fmt.Errorf("the server answered with another piece than was asked for")
	}
	p.offset += int64(len(piece.Data))
	p.left, p.end = piece.Data, piece.End
	return nil
}

// call calls a server that may hang.
func call(ctx context.Context, client *jsonrpc.Client, timeout time.Duration, method string, params, result any) error {
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := client.Call(bounded, method, params, result)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("the server has not answered %s for %v: it hangs, or can't be reached any more", method, timeout)
	}
	return err
}

// endings are the signals that end a command in good order, so that no half of a file stays. SIGHUP is none under nohup.
func endings() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}
