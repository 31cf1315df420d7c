package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/raftpico/go/raftpico"
)

// newRestore makes the log file of a new cluster's first server of a backup.
func newRestore() *cobra.Command {
	var addr string
	var verify bool
	cmd := &cobra.Command{
		Use:   "restore BACKUP NEW.jsonl --addr ADDR, or restore BACKUP --verify",
		Short: "make the log file of a new cluster's first server of a backup",
		Long: `Restore makes the log file of the first server of a new cluster, which others reach at ADDR. It goes on with the state,
the sessions and the time of the backup. No server of the old cluster can come into it. Start a server with the new file,
and add others, with empty files, by AddServer.

BACKUP is a file, or - for standard input. A backup that is cut or changed is refused, and nothing is made.`,
		Example: `  raftpico restore kvs.backup kvs-1.jsonl --addr 10.0.0.1:4000
  zstd -d < kvs.backup.zst | raftpico restore - kvs-1.jsonl --addr 10.0.0.1:4000
  raftpico restore kvs.backup --verify`,
		Args: func(cmd *cobra.Command, args []string) error {
			names := []string{"BACKUP", "NEW.jsonl"}
			if verify {
				names = names[:1]
			}
			return exactly(names...)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !verify && addr == "" {
				return usageError("--addr is missing: the address at which clients and other servers will reach the new server")
			}
			in, size, err := openBackup(cmd, args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			bar := newProgress(cmd.ErrOrStderr(), size, args[0], progressbar.OptionShowBytes(true))
			from := io.TeeReader(in, bar)
			if verify {
				info, err := raftpico.VerifyBackup(from)
				_ = bar.Finish()
				if err == nil {
					fmt.Fprintf(cmd.OutOrStdout(), "good: %s\n", describeBackup(info))
				}
				return err
			}
			if addr, err = address(addr); err != nil {
				return err
			}
			made, err := raftpico.Restore(from, args[1], addr)
			_ = bar.Finish()
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\nis now in %s: the first server of the new cluster %s.\n"+
				"Start it at %s with that file, then add other servers, with empty files.\n", describeBackup(made.Backup), args[1], made.ClusterID, made.Addr)
			return nil
		},
	}
	cmd.Flags().StringVar(&addr, "addr", "", "HOST:PORT at which clients and other servers will reach the new server")
	cmd.Flags().BoolVar(&verify, "verify", false, "only read the backup, and tell what is in it")
	return cmd
}

func describeBackup(info raftpico.BackupInfo) string {
	return fmt.Sprintf("a backup of cluster %s, made %s: entry %d, term %d, time %s, %d bytes of state",
		info.ClusterID, info.Made.Format(time.RFC3339), info.Index, info.Term, info.Time.Format(time.RFC3339), info.StateBytes)
}

// openBackup opens a file, or standard input for "-". The size is -1 where nobody knows.
func openBackup(cmd *cobra.Command, name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(input(cmd, "a backup")), -1, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	size := int64(-1)
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return file, size, nil
}
