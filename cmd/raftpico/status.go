package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-json"
	"github.com/spf13/cobra"

	"github.com/raftpico/go/raftpico"
)

// statusTimeout is how long a server may take to tell its state.
const statusTimeout = 3 * time.Second

// newStatus prints a table of the servers asked, and of the members that they know of.
func newStatus() *cobra.Command {
	var watch, lines, only bool
	var d *dialer
	cmd := &cobra.Command{
		Use:   "status ADDR... [-w] [--json] [--only]",
		Short: "print a table of the servers and the members they know",
		Long: `Status asks the servers, and the members that they know, for their state, without the machines' content.
The exit status is 1 if any could not be asked. With --only it asks no members: whether one server is well.

With --json it prints one line for each server:
  {"addr":"127.0.0.1:4000","state":{"role":"Leader",...}}        what GetServerState answered
  {"addr":"127.0.0.1:4001","error":"connection refused"}`,
		Args:              addresses,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, addrs []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			defer stop()
			for {
				servers := survey(ctx, d, addrs, only)
				if watch && !lines {
					fmt.Fprintf(cmd.OutOrStdout(), "\x1b[H\x1b[2J%s  every second; Ctrl-C ends\n\n", time.Now().Format(time.TimeOnly))
				}
				if err := show(cmd.OutOrStdout(), servers, lines); err != nil {
					return err
				}
				if !watch {
					return unreachable(servers)
				}
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(time.Second):
				}
			}
		},
	}
	d = dialing(cmd)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "again every second, until Ctrl-C")
	cmd.Flags().BoolVar(&only, "only", false, "ask these servers, and not the members that they know")
	cmd.Flags().BoolVar(&lines, "json", false, "print JSON Lines for programs")
	return cmd
}

func show(out io.Writer, servers []*surveyed, lines bool) error {
	if !lines {
		return writeTable(out, servers)
	}
	encoder := json.NewEncoder(out)
	for _, s := range servers {
		if err := encoder.Encode(s); err != nil {
			return err
		}
	}
	return nil
}

func unreachable(servers []*surveyed) error {
	n := 0
	for _, s := range servers {
		if s.state == nil {
			n++
		}
	}
	if n > 0 {
		return fmt.Errorf("%d of the servers could not be asked", n)
	}
	return nil
}

// surveyed is what a server says of itself, or why it does not.
type surveyed struct {
	Addr  string          `json:"addr"`
	Raw   json.RawMessage `json:"state,omitempty"` // as it came
	Error string          `json:"error,omitempty"`
	state *raftpico.State
}

// survey asks the servers at once, then those members that were not asked yet, each once; or only the servers.
func survey(ctx context.Context, d *dialer, addrs []string, only bool) (all []*surveyed) {
	for len(addrs) > 0 {
		var wg sync.WaitGroup
		for _, addr := range addrs {
			if known(all, addr) {
				continue
			}
			s := &surveyed{Addr: addr}
			all = append(all, s)
			wg.Go(func() { s.ask(ctx, d) })
		}
		wg.Wait()
		if addrs = nil; only {
			break
		}
		for _, s := range all {
			for _, addr := range s.members() {
				if !known(all, addr) {
					addrs = append(addrs, addr)
				}
			}
		}
	}
	return all
}

// known tells whether a server has been asked, be it under another name than the members use.
func known(all []*surveyed, addr string) bool {
	return slices.ContainsFunc(all, func(s *surveyed) bool { return s.Addr == addr || s.state != nil && s.state.Addr == addr })
}

func (s *surveyed) members() (addrs []string) {
	if s.state != nil {
		for _, m := range s.state.Members {
			addrs = append(addrs, m.Addr)
		}
	}
	return addrs
}

func (s *surveyed) ask(ctx context.Context, d *dialer) {
	raw, err := getState(ctx, d, s.Addr)
	if err == nil {
		s.Raw, s.state = raw, new(raftpico.State)
		err = json.Unmarshal(raw, s.state)
	}
	if err != nil {
		s.Raw, s.state, s.Error = nil, nil, short(err)
	}
}

func getState(ctx context.Context, d *dialer, addr string) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	client, err := d.open(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.CallRaw(ctx, "GetServerState", json.RawMessage(`{"machines":false}`))
}

// short is the end of an error's text, which tells most.
func short(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer"
	}
	text := err.Error()
	if _, why, secure := strings.Cut(text, "secure: "); secure { // whose certificate is meant, the end does not tell
		_, why, _ = strings.Cut(why, ": ") // the address
		return why
	}
	return strings.TrimPrefix(text[strings.LastIndex(text, ": ")+1:], " ")
}
