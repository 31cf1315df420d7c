package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/raftpico/go/raftpico"
)

// Demo is a cluster in one process.
type Demo struct {
	Addrs     []string // of its servers
	HTTPAddrs []string // of its servers; empty: none
	Dir       string   // where their logs are
	Files     []string // the logs
}

// demoPatience bounds how long a server of the demo may take to join.
const demoPatience = 20 * time.Second

// demo starts a whole cluster, and says what to type. Its data is found again.
func (g *group) demo(out io.Writer) error {
	slog.SetLogLoggerLevel(slog.LevelWarn) // the everyday talk of several servers would bury what is printed here
	s := g.service
	d := Demo{Addrs: s.Addrs, HTTPAddrs: s.HTTPAddrs, Dir: s.Name + "-data"}
	if !s.speaksHTTP() {
		d.HTTPAddrs = nil
	}
	if len(d.HTTPAddrs) > 0 && len(d.HTTPAddrs) != len(d.Addrs) {
		return fmt.Errorf("%d addresses for HTTP, and %d servers", len(d.HTTPAddrs), len(d.Addrs))
	}
	console := ConsoleConfig{Manage: true, Page: d.pages()}
	for i, addr := range d.Addrs {
		d.Files = append(d.Files, filepath.Join(d.Dir, fmt.Sprintf("server-%d.jsonl", i)))
		o := raftpico.Options{Addr: addr, File: d.Files[i], Join: d.Addrs, Bootstrap: len(d.Addrs)}
		if s.Options != nil {
			s.Options(&o)
		}
		web := ""
		if len(d.HTTPAddrs) > 0 {
			web = d.HTTPAddrs[i]
		}
		_, err := g.start(o, web, console)
		if listen, ok := errors.AsType[*net.OpError](err); ok && listen.Op == "listen" {
			return fmt.Errorf("the cluster in one process needs the addresses %s: %w", strings.Join(slices.Concat(d.Addrs, d.HTTPAddrs), ", "), err)
		}
		if err != nil {
			return err
		}
	}
	if err := g.form(); err != nil {
		if g.ctx.Err() != nil {
			return nil // it was told to end, or what has ended tells
		}
		return err
	}
	_, err := io.WriteString(out, d.text(s))
	return err
}

// form waits until the servers are a cluster: a start may have been broken off anywhere.
func (g *group) form() error {
	ctx, cancel := context.WithTimeout(g.ctx, demoPatience)
	defer cancel()
	for _, s := range g.servers {
		if err := s.Ready(ctx); err != nil {
			return fmt.Errorf("%s does not join the others; if a log was deleted, delete them all to begin anew: %w", s.Addr(), err)
		}
	}
	return nil
}

// text is what the demo prints.
func (d *Demo) text(s *Service) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nThese servers are a cluster now: %s. Their logs are in %s.\n", strings.Join(d.Addrs, ", "), d.Dir)
	if len(d.HTTPAddrs) > 0 {
		fmt.Fprintf(&b, "HTTP: http://%s\n", strings.Join(d.HTTPAddrs, ", http://"))
	}
	if len(d.HTTPAddrs) > 0 && s.Console != nil {
		fmt.Fprintf(&b, "Console: http://%s%s\n", strings.Join(d.HTTPAddrs, ConsolePath+", http://"), ConsolePath)
	}
	if s.Next != nil {
		b.WriteString("In another terminal:\n\n")
		for line := range strings.Lines(s.Next(*d)) {
			b.WriteString("  " + strings.TrimSpace(line) + "\n")
		}
	}
	b.WriteString("\nCtrl-C stops them; the next start finds the data again.\n")
	return b.String()
}
