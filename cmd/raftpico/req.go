package main

import (
	"bufio"
	"bytes"
	"io"
	"strconv"

	"github.com/goccy/go-json"
	"github.com/goccy/go-json/jsontext"
	"github.com/spf13/cobra"
)

// methods are offered when the shell completes METHOD. Any other is sent as it is.
var methods = []string{"Apply", "CreateCluster", "AddServer", "SetVoter", "RemoveServer", "Configure", "TransferLeader", "TakeSnapshot", "CheckState", "BeginBackup", "ReadBackup", "GetServerState"}

// newReq prints requests of one method.
func newReq() *cobra.Command {
	var params string
	var count int
	var notification bool
	cmd := &cobra.Command{
		Use:   "req METHOD [-p JSON] [-c N] [-n]",
		Short: "print requests with the ids 0 to N-1",
		Example: `  raftpico req Apply --params '{"kind":"Command","input":{"Put":["foo",123]}}'
  raftpico req AddServer -p '{"addr":"127.0.0.1:4001"}'`,
		Args:              exactly("METHOD"),
		ValidArgsFunction: cobra.FixedCompletions(methods, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			head, err := requestHead(args[0], params)
			if err != nil {
				return err
			}
			if count < 1 {
				return usageError("--count must be at least 1")
			}
			return writeRequests(cmd.OutOrStdout(), head, count, notification)
		},
	}
	cmd.Flags().StringVarP(&params, "params", "p", "", "params, a JSON array or object")
	cmd.Flags().IntVarP(&count, "count", "c", 1, "how many")
	cmd.Flags().BoolVarP(&notification, "notification", "n", false, "without ids: they are carried out and not answered")
	return cmd
}

// requestHead is a request up to its id.
func requestHead(method, params string) ([]byte, error) {
	name, err := jsontext.AppendQuote(nil, method)
	if err != nil {
		return nil, usageError("METHOD is not UTF-8")
	}
	head := append([]byte(`{"jsonrpc":"2.0","method":`), name...)
	if params == "" {
		return head, nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(params)); err != nil || compact.Bytes()[0] != '{' && compact.Bytes()[0] != '[' {
		return nil, usageError("--params must be a JSON array or object")
	}
	return append(append(head, `,"params":`...), compact.Bytes()...), nil
}

func writeRequests(to io.Writer, head []byte, count int, notification bool) error {
	out := bufio.NewWriterSize(to, blockSize)
	line := head
	for id := range count {
		line = line[:len(head)]
		if !notification {
			line = strconv.AppendInt(append(line, `,"id":`...), int64(id), 10)
		}
		line = append(line, "}\n"...)
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
	return out.Flush()
}
