package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico"
)

// statusTimeout is how long a server may take to tell its state.
const statusTimeout = 3 * time.Second

// status prints a table of the servers asked, and of the members that they know of.
func status(c *console, args []string) error {
	f := newFlags()
	var watch bool
	for _, name := range []string{"watch", "w"} {
		f.BoolVar(&watch, name, false, "")
	}
	args, err := f.parse(args, 1, 1<<10)
	if err != nil {
		return err
	}
	for i := range args {
		if args[i], err = address(args[i]); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for {
		table, unreachable := statusTable(ctx, args)
		if !watch {
			fmt.Fprint(c.out, table)
			if unreachable > 0 {
				return fmt.Errorf("%d of the servers could not be asked", unreachable)
			}
			return nil
		}
		fmt.Fprintf(c.out, "\x1b[H\x1b[2J%s  every second; Ctrl-C ends\n\n%s", time.Now().Format(time.TimeOnly), table)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// statusTable asks the servers, then those members that were not asked yet, each once.
func statusTable(ctx context.Context, addrs []string) (table string, unreachable int) {
	states := map[string]*raftpico.State{}
	errs := map[string]error{}
	var order []string
	for len(addrs) > 0 {
		order = append(order, addrs...)
		askAll(ctx, addrs, states, errs)
		addrs = nil
		for _, addr := range order {
			if s := states[addr]; s != nil {
				for _, m := range s.Members {
					if !slices.Contains(order, m.Addr) && !slices.Contains(addrs, m.Addr) {
						addrs = append(addrs, m.Addr)
					}
				}
			}
		}
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ADDRESS\tID\tROLE\tTERM\tCOMMIT\tAPPLIED\tLAG\tPROGRESS\tLOG\tSNAPSHOT\tUNDER WAY")
	var newest uint64
	for _, s := range states {
		newest = max(newest, s.CommitIndex)
	}
	for _, addr := range order {
		s := states[addr]
		if s == nil {
			fmt.Fprintf(w, "%s\t-\t%s\n", addr, short(errs[addr]))
			unreachable++
			continue
		}
		id, role := "-", s.Role
		if s.NodeID != nil {
			id = fmt.Sprint(*s.NodeID)
		} else {
			role = "no cluster"
		}
		if s.Removed {
			role = "removed"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%d\n", s.Addr, id, role, s.Term, s.CommitIndex, s.AppliedIndex,
			newest-s.AppliedIndex, seenByLeader(states, addr), size(s.Log.Bytes), size(s.Log.SnapshotBytes), s.Pending)
	}
	_ = w.Flush() // a strings.Builder takes everything
	return out.String(), unreachable
}

// seenByLeader is how the leader sees the member at addr.
func seenByLeader(states map[string]*raftpico.State, addr string) string {
	for _, s := range states {
		if s.Role != "Leader" {
			continue
		}
		for _, m := range s.Members {
			switch {
			case m.Addr != addr || m.Progress == "":
			case m.Active != nil && !*m.Active:
				return "silent"
			default:
				return m.Progress
			}
		}
	}
	return "-"
}

// askAll fills in what each server says of itself.
func askAll(ctx context.Context, addrs []string, states map[string]*raftpico.State, errs map[string]error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, addr := range addrs {
		wg.Go(func() {
			s, err := ask(ctx, addr)
			mu.Lock()
			defer mu.Unlock()
			states[addr], errs[addr] = s, err
			if err != nil {
				delete(states, addr)
			}
		})
	}
	wg.Wait()
}

func ask(ctx context.Context, addr string) (*raftpico.State, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	client, err := jsonrpc.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	state := new(raftpico.State)
	err = client.Call(ctx, "GetServerState", map[string]bool{"machines": false}, state)
	return state, err
}

// short is the end of an error's text, which tells most.
func short(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer"
	}
	text := err.Error()
	return text[strings.LastIndex(text, ": ")+1:]
}

func size(bytes int64) string {
	switch {
	case bytes >= 10<<20:
		return fmt.Sprintf("%d MiB", bytes>>20)
	case bytes >= 10<<10:
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d B", bytes)
}
