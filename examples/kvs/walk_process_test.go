//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/internal/ports"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico"
)

// TestWalkFromOneToFiveToOneLosesNoWrite grows and shrinks a cluster of processes while clients write, and kills servers
// wherever it hurts.
func TestWalkFromOneToFiveToOneLosesNoWrite(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds; runs without -short")
	}
	w := newWalk(t, 5)

	// 1 → 5. From the second step on, somebody is killed while the newcomer joins.
	w.begin(w.servers[0])
	w.add(w.servers[1])
	w.level("2 servers")

	w.add(w.servers[2])
	w.servers[2].kill(t)
	w.load.await(few)
	w.servers[2].start(t)
	w.level("3 servers; the third was killed as it joined")

	leader, _ := w.leader()
	w.add(w.servers[3])
	leader.kill(t)
	w.load.await(few)
	leader.start(t)
	w.level("4 servers; the leader was killed as the fourth joined")

	w.add(w.servers[4])
	w.level("5 servers")

	w.wipe()
	w.level("5 servers; one is another than before")

	// 5 → 1.
	leader, followers := w.leader()
	w.remove(followers[0], followers[1])
	leader.kill(t)
	w.load.await(few)
	leader.start(t)
	w.level("4 servers; the leader was killed after the removal of a follower")
	w.out(followers[0])

	leader, followers = w.leader()
	w.remove(leader, followers[0])
	w.level("3 servers; the leader was removed")
	w.out(leader)

	leader, followers = w.leader()
	followers[0].kill(t)
	w.remove(followers[0], leader)
	w.level("2 servers; one was removed while it was down")
	followers[0].start(t)
	w.out(followers[0])

	leader, _ = w.leader()
	w.remove(leader, leader)
	w.level("1 server; the leader of two was asked to remove itself")

	last := w.members[0]
	_, _, err := w.ask("RemoveServer", last, last)
	require.ErrorIs(t, err, raftpico.ErrLastServer)
	for _, s := range w.servers {
		if s != last {
			w.out(s)
			s.kill(t)
			s.start(t)
			w.out(s) // for good
		}
	}
	w.load.await(few)
	w.check(last)
}

// few is how many acknowledged writes are seen between one step and the next.
const few = 100

// walk is a cluster whose members change, and its clients.
type walk struct {
	t       *testing.T
	servers []*server // all that there are, each at its own address
	members []*server // in the order in which they were added, which is that of their ids
	load    *load
}

func newWalk(t *testing.T, n int) *walk {
	w := &walk{t: t, load: &load{t: t, quit: make(chan struct{})}}
	dir := t.TempDir()
	for i := range n {
		w.servers = append(w.servers, &server{addr: ports.Free(t, 1)[0], file: filepath.Join(dir, fmt.Sprintf("server-%d.jsonl", i))})
	}
	return w
}

// begin makes s a cluster and starts the clients. They end with the test at the latest.
func (w *walk) begin(s *server) {
	s.start(w.t)
	require.NoError(w.t, call(s.addr, "CreateCluster", nil, nil))
	w.members = []*server{s}
	var addrs []string
	for _, s := range w.servers {
		addrs = append(addrs, s.addr)
	}
	for i := range 8 {
		client := &writer{load: w.load, key: fmt.Sprintf("key-%d", i), puts: []put{{fate: applied}}}
		w.load.writers = append(w.load.writers, client)
		w.load.wg.Go(func() { client.wander(addrs) })
	}
	w.t.Cleanup(w.load.stop)
}

// wander puts until the load is stopped, through one server after the other: members, servers that are down, and such as are
// members no more or not yet.
func (w *writer) wander(addrs []string) {
	for {
		client, err := jsonrpc.Dial(context.Background(), addrs[rand.IntN(len(addrs))])
		for range 50 {
			if err != nil {
				break
			}
			select {
			case <-w.load.quit:
				_ = client.Close()
				return
			default:
				err = w.putAnywhere(client)
			}
		}
		if client != nil {
			_ = client.Close()
		}
		select {
		case <-w.load.quit:
			return
		case <-time.After(time.Millisecond): // not to spin while all are down
		}
	}
}

// putAnywhere is put to a server that may be no member: 102 is as certain as 106.
func (w *writer) putAnywhere(client *jsonrpc.Client) error {
	w.load.mu.Lock()
	n := len(w.puts)
	w.puts = append(w.puts, put{})
	w.load.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), answerBy)
	defer cancel()
	began := time.Now()
	previous := 0 // null leaves it so
	err := client.Call(ctx, "Apply", map[string]any{"kind": "Command", "input": map[string]any{"Put": []any{w.key, n}}}, &previous)
	fate := err
	if errors.Is(err, raftpico.ErrNotMember) {
		fate = raftpico.ErrRejected
	}
	w.end(n, began, previous, fate)
	return err
}

// add starts s and adds it. It is still joining when add returns.
func (w *walk) add(s *server) {
	w.t.Helper()
	s.start(w.t)
	w.members = append(w.members, s)
	w.change("AddServer", s, w.members[rand.IntN(len(w.members)-1)], raftpico.ErrServerExists)
}

// remove removes s by asking a member.
func (w *walk) remove(s, asked *server) {
	w.t.Helper()
	w.members = slices.DeleteFunc(slices.Clone(w.members), func(m *server) bool { return m == s })
	w.change("RemoveServer", s, asked, raftpico.ErrNotMember)
}

// change asks for a change of the members, which must come true: done is what a member answers if it already has.
func (w *walk) change(method string, s, asked *server, done error) {
	w.t.Helper()
	members, maybe, err := w.ask(method, s, asked)
	if maybe && errors.Is(err, done) {
		return
	}
	require.NoError(w.t, err, "%s of %s, asked of %s", method, s.addr, asked.addr)
	var want []string
	for _, m := range w.members {
		want = append(want, m.addr)
	}
	require.Equal(w.t, want, members)
}

// ask asks until the answer does not depend on whether there is a leader at the moment. Maybe tells that an earlier
// answer has left the result open.
func (w *walk) ask(method string, s, asked *server) (members []string, maybe bool, err error) {
	w.t.Helper()
	waitFor(w.t, method, func() bool {
		var answer struct{ Members []string }
		err = call(asked.addr, method, map[string]string{"addr": s.addr}, &answer)
		members = answer.Members
		maybe = maybe || errors.Is(err, raftpico.ErrUnknown)
		for _, passing := range []error{raftpico.ErrUnknown, raftpico.ErrRejected, raftpico.ErrNoLeader, raftpico.ErrUnreachable} {
			if errors.Is(err, passing) {
				return false
			}
		}
		return true
	})
	return members, maybe, err
}

// leader returns the member that all members follow, and the others.
func (w *walk) leader() (leader *server, followers []*server) {
	w.t.Helper()
	waitFor(w.t, "a leader", func() bool {
		leader, followers = nil, nil
		addr := ""
		for _, s := range w.members {
			state, err := s.state(false)
			if err != nil || state.Leader == "" || addr != "" && state.Leader != addr {
				return false
			}
			if addr = state.Leader; addr == s.addr {
				leader = s
			} else {
				followers = append(followers, s)
			}
		}
		return leader != nil
	})
	return leader, followers
}

// level waits until the members know each other as voters and nobody else, and some more writes are acknowledged.
func (w *walk) level(what string) {
	w.t.Helper()
	began := time.Now()
	waitFor(w.t, what, func() bool {
		for _, s := range w.members {
			state, err := s.state(false)
			if err != nil || len(state.Members) != len(w.members) || voters(state) != len(w.members) {
				return false
			}
		}
		return true
	})
	w.t.Logf("%s: settled after %v", what, time.Since(began).Round(time.Millisecond))
	w.load.await(few)
}

// wipe kills a follower, deletes its file and starts it again: it must be nobody until it is removed and added anew.
func (w *walk) wipe() {
	t := w.t
	t.Helper()
	_, followers := w.leader()
	victim := followers[0]
	state, err := victim.state(false)
	require.NoError(t, err)
	before := *state.NodeID
	victim.kill(t)
	require.NoError(t, os.Remove(victim.file))
	victim.start(t)
	waitFor(t, "every other member to meet the blank server", func() bool {
		for _, s := range w.members {
			if s != victim && !strings.Contains(s.stderr(), fmt.Sprintf("server %d is another instance now", before)) {
				return false
			}
		}
		return true
	})
	blank := func() {
		state, err := victim.state(false)
		require.NoError(t, err)
		require.Nil(t, state.NodeID, "a blank server has taken the place of its former self")
		require.ErrorIs(t, apply(victim.addr, "Command", `{"Put":["blank",1]}`, nil), raftpico.ErrNotMember)
	}
	blank()
	w.load.await(few)
	_, _, err = w.ask("AddServer", victim, followers[1])
	require.ErrorIs(t, err, raftpico.ErrServerExists)
	blank()
	w.remove(victim, followers[1])
	blank()
	w.members = append(w.members, victim)
	w.change("AddServer", victim, followers[1], raftpico.ErrServerExists)
	waitFor(t, "its new id", func() bool {
		state, err := victim.state(false)
		return err == nil && state.NodeID != nil && *state.NodeID > before
	})
}

// out waits until a server that runs and was removed says so, to whatever it is asked.
func (w *walk) out(s *server) {
	t := w.t
	t.Helper()
	waitFor(t, "the removed server to learn of it", func() bool {
		return errors.Is(apply(s.addr, "Query", `"List"`, nil), raftpico.ErrNotMember)
	})
	for method, params := range map[string]any{
		"Apply": map[string]any{"kind": "Command", "input": map[string]any{"Put": []any{"out", 1}}}, "CreateCluster": nil, "TakeSnapshot": nil,
		"AddServer": map[string]string{"addr": w.servers[0].addr}, "RemoveServer": map[string]string{"addr": "127.0.0.1:1"},
	} {
		require.ErrorIs(t, call(s.addr, method, params, nil), raftpico.ErrNotMember, method)
	}
	// Its own removal it answers when it is out for good, as docs/API.md says. From then on it is no member for that either.
	if err := call(s.addr, "RemoveServer", map[string]string{"addr": s.addr}, nil); err != nil {
		require.ErrorIs(t, err, raftpico.ErrNotMember)
	}
	require.ErrorIs(t, call(s.addr, "RemoveServer", map[string]string{"addr": s.addr}, nil), raftpico.ErrNotMember)
}

// check stops the clients and holds what they know against the last server: its answers to queries, and its log, which
// goes back to its last snapshot. In no server's log may a Put be twice.
func (w *walk) check(last *server) {
	t := w.t
	w.load.stop()
	logs := map[*server]map[kvPut]bool{}
	for _, s := range w.servers {
		logs[s] = map[kvPut]bool{}
		for _, p := range replay(t, s.file) {
			require.False(t, logs[s][p], "%v is twice in the log %s", p, s.file)
			logs[s][p] = true
		}
	}
	var keys []string
	require.NoError(t, apply(last.addr, "Query", `"List"`, &keys))
	require.Len(t, keys, len(w.load.writers), "keys of nobody: %v", keys)
	held := 0
	for _, client := range w.load.writers {
		value := 0
		require.NoError(t, apply(last.addr, "Query", fmt.Sprintf(`{"Get":%q}`, client.key), &value))
		require.Empty(t, client.replaced(len(client.puts), value), "%s is %d, and %d was acknowledged last", client.key, value, client.last)
		behind := false // the snapshot
		for n, p := range client.puts {
			there := logs[last][kvPut{client.key, n}]
			behind = behind || there
			require.False(t, there && p.fate == refused, "%d for %s was refused, and is in the log", n, client.key)
			require.False(t, behind && !there && p.fate == applied, "%d for %s was acknowledged, and is not in the log", n, client.key)
			if there {
				held++
			}
		}
	}
	require.Len(t, logs[last], held, "commands of nobody")
	t.Logf("the last server's log holds %d of the puts", held)
}
