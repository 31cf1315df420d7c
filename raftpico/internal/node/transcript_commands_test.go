package node_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Further commands of the transcripts, for those about members and snapshots.

func init() { maps.Copy(commands, memberCommands) }

var memberCommands = map[string]func(*world, *datadriven.TestData){
	// transfer SERVER TO: the request that SERVER hand leadership to TO
	"transfer": func(w *world, d *datadriven.TestData) {
		s, to := w.server(d.CmdArgs[0].Key), w.server(d.CmdArgs[1].Key)
		w.serial++
		s.node.Request(caller(w.serial), &node.Request{Op: node.TransferLeader, NodeID: to.id()})
		s.flush()
	},
	// remove-dead TIME: after what silence a leader removes a member, at servers that start from now on
	"remove-dead": func(w *world, d *datadriven.TestData) {
		silence := span(d.CmdArgs[0].Key)
		w.limit = append(w.limit, func(c *node.Config) { c.RemoveDead = silence })
	},
	// warnings SERVER: what it has logged as a warning since its start
	"warnings": func(w *world, d *datadriven.TestData) {
		w.out.WriteString(w.server(d.CmdArgs[0].Key).warnings.String())
	},
	// move SERVER ADDR: it ends, and is started at another address
	"move": func(w *world, d *datadriven.TestData) {
		s := w.server(d.CmdArgs[0].Key)
		if s.node != nil {
			s.crash()
		}
		s.addr = d.CmdArgs[1].Key
		s.start()
	},
	// found SERVER at=ADDR id=N instance=I: what says at ADDR that it is that server
	"found": func(w *world, d *datadriven.TestData) {
		s := w.server(d.CmdArgs[0].Key)
		identity, _ := s.node.Identity()
		who := node.Who{ClusterID: identity.ClusterID}
		var addr string
		d.ScanArgs(w.t, "at", &addr)
		d.ScanArgs(w.t, "id", &who.NodeID)
		d.ScanArgs(w.t, "instance", &who.Instance)
		s.node.Found(addr, who)
		s.flush()
	},
	// hold SERVER: what it does beside its loop, probes and snapshot files, does not end. release SERVER: it does
	"hold": func(w *world, d *datadriven.TestData) { w.server(d.CmdArgs[0].Key).held = true },
	"release": func(w *world, d *datadriven.TestData) {
		s := w.server(d.CmdArgs[0].Key)
		s.held = false
		s.flush()
	},
	// freeze SERVER: it does nothing, as a stopped process, and its links stay. thaw SERVER: it goes on
	"freeze": func(w *world, d *datadriven.TestData) { w.server(d.CmdArgs[0].Key).frozen = true },
	"thaw":   func(w *world, d *datadriven.TestData) { w.server(d.CmdArgs[0].Key).frozen = false },
	// links: to whom each server wants a link, by id; in brackets where it is not up
	"links": func(w *world, d *datadriven.TestData) {
		for _, s := range w.servers {
			fmt.Fprintf(&w.out, "%s:", s.name)
			for _, p := range s.peers {
				link := fmt.Sprintf("%d=%s", p.ID, p.Addr)
				if p.Place != "" {
					link += " at " + p.Place
				}
				if p.Hint != "" {
					link += " perhaps at " + p.Hint
				}
				if s.up[p.ID] == nil {
					link = "(" + link + ")"
				}
				fmt.Fprintf(&w.out, " %s", link)
			}
			fmt.Fprintln(&w.out)
		}
	},
	// flight: the messages under way
	"flight": func(w *world, d *datadriven.TestData) {
		for _, m := range w.flight {
			typ := "Propose"
			if m.Raft != nil {
				typ = m.Raft.GetType().String()
			} else if m.Rejected != nil {
				typ = "Rejected"
			}
			fmt.Fprintf(&w.out, "%s from %d to %d\n", typ, m.From, m.To)
		}
	},
	// overtake: snapshots travel on a way of their own, and here all else arrives before them
	"overtake": func(w *world, d *datadriven.TestData) {
		slices.SortStableFunc(w.flight, func(a, b *wire.Message) int {
			switch {
			case (a.Snapshot == nil) == (b.Snapshot == nil):
				return 0
			case a.Snapshot == nil:
				return -1
			}
			return 1
		})
	},
	// snapshots: the place of each server's
	"snapshots": func(w *world, d *datadriven.TestData) {
		for _, s := range w.servers {
			if s.node != nil {
				at := s.node.State().Snapshot
				fmt.Fprintf(&w.out, "%s: term %d, index %d\n", s.name, at.Term, at.Index)
			}
		}
	},
	// hello SERVER id=N addr=A instance=I [cluster=C] [to=N] [to-instance=I]: what SERVER says to somebody who knows the
	// cluster's key, and who takes it for the server TO
	"hello": func(w *world, d *datadriven.TestData) {
		s := w.server(d.CmdArgs[0].Key)
		identity, _ := s.node.Identity()
		arg := func(name, otherwise string) string {
			if d.HasArg(name) {
				d.ScanArgs(w.t, name, &otherwise)
			}
			return otherwise
		}
		number := func(name string, otherwise uint64) uint64 {
			return uint64(w.number(arg(name, strconv.FormatUint(otherwise, 10))))
		}
		from := node.Peer{ID: number("id", 0), Addr: arg("addr", ""), Instance: arg("instance", "")}
		to := node.Peer{ID: number("to", identity.NodeID), Addr: s.addr, Instance: arg("to-instance", s.instance())}
		verdict := s.node.Hello(arg("cluster", identity.ClusterID), from, to)
		names := []string{node.Welcome: "welcome", node.Stranger: "a server without a cluster", node.Mistaken: "mistaken", node.Removed: "removed"}
		fmt.Fprintln(&w.out, names[verdict])
	},
	// join SERVER id=N instance=I: what SERVER answers to a member that gives it a place in its cluster
	"join": func(w *world, d *datadriven.TestData) {
		s := w.server(d.CmdArgs[0].Key)
		identity, _ := w.servers[0].node.Identity()
		var instance string
		d.ScanArgs(w.t, "id", &identity.NodeID)
		d.ScanArgs(w.t, "instance", &instance)
		if err := s.node.Join(identity, instance); err != nil {
			fmt.Fprintln(&w.out, err)
		}
	},
	// alias SERVER NAME: who is asked at the address NAME from now on is SERVER
	"alias": func(w *world, d *datadriven.TestData) { w.server(d.CmdArgs[0].Key).addr = d.CmdArgs[1].Key + ":1" },
	// copy SERVER: its file is copied. older SERVER: it is gone, and comes back with that copy
	"copy": func(w *world, d *datadriven.TestData) {
		s := w.server(d.CmdArgs[0].Key)
		var err error
		s.copied, err = s.fs.ReadFile("log")
		require.NoError(w.t, err)
	},
	// recover SERVER: it is gone, and comes back with a file made of its own: that of another cluster's first server
	"recover": func(w *world, d *datadriven.TestData) { w.server(d.CmdArgs[0].Key).recover() },
	"older": func(w *world, d *datadriven.TestData) {
		s := w.server(d.CmdArgs[0].Key)
		s.crash()
		s.fs.WriteFile("log", slices.Clone(s.copied))
		s.start()
	},
}
