package raftpico_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// What servers say to each other, said by others. A script is a line for each request: a method and its params, in
// which a word that begins with $ stands for what the server has told.

// talk is a connection with what was learned over it.
type talk struct {
	*client
	told     peer.HelloAnswer
	instance string // of the server, where it may be used
	crc      uint32 // of the chunks sent
}

// ask sends a line of a script, if it is one, and returns the method and the answer.
func (c *talk) ask(line string) (method, answer string) {
	c.t.Helper()
	method, answer, err := c.try(line)
	require.NoError(c.t, err)
	return method, answer
}

// try is ask where the server may close the connection.
func (c *talk) try(line string) (method, answer string, err error) {
	method, params, ok := strings.Cut(line, " ")
	if !ok || !wire.ValidToken(strings.ToLower(method)) {
		return "", "", nil
	}
	params = strings.NewReplacer("$instance", c.instance, "$cluster", c.told.ClusterID, "$id", fmt.Sprint(c.told.NodeID),
		"$nonce", c.told.Nonce, "$mac", c.told.MAC, "$crc", fmt.Sprint(c.crc)).Replace(params)
	if _, err := io.WriteString(c, `{"jsonrpc":"2.0","id":1,"method":"raftpico.`+method+`","params":`+params+"}\n"); err != nil {
		return method, "", err
	}
	if answer, err = c.readLine(); err != nil {
		return method, "", err
	}
	var said struct {
		Result json.RawMessage
		Error  *struct{ Code int }
	}
	require.NoError(c.t, json.Unmarshal([]byte(answer), &said), answer)
	require.Equal(c.t, said.Result == nil, said.Error != nil, answer)
	switch method {
	case "Hello":
		_ = json.Unmarshal(said.Result, &c.told) // a refusal tells nothing
	case "Chunk":
		var chunk peer.Chunk
		if json.Unmarshal([]byte(params), &chunk) == nil {
			c.crc = crc32.Update(c.crc, peer.Castagnoli, chunk.Data)
		}
	}
	return method, answer, nil
}

// place is what nobody but a member may change.
func place(t *testing.T, s *raftpico.Server) *raftpico.State {
	t.Helper()
	st, err := s.State(t.Context(), false) // with the machines' states it would be told once a second
	require.NoError(t, err)
	value, err := s.Apply(t.Context(), machine.LocalQuery, 0)
	require.NoError(t, err)
	st.Machines = &raftpico.StateMachines{User: value}
	st.Log, st.Loop, st.Pending = raftpico.State{}.Log, raftpico.State{}.Loop, 0
	return st
}

var handshakes = []string{
	`Hello {"protocol":1}`,
	"Hello {\"protocol\":1}\nJoin {\"identity\":{\"cluster_id\":\"a\",\"key\":\"b\",\"node_id\":7},\"instance\":\"$instance\"}",
	"Hello {\"protocol\":1}\nHello {\"protocol\":1,\"cluster_id\":\"$cluster\",\"from\":{\"id\":99,\"instance\":\"a\",\"addr\":\"127.0.0.1:1\"},\"to\":{\"id\":$id,\"instance\":\"$instance\"},\"nonce\":\"00\"}\nProve {\"mac\":\"$mac\"}\nProve {\"mac\":\"$mac\"}",
	"Hello {\"protocol\":1}\nHello {\"protocol\":1,\"cluster_id\":\"$cluster\",\"from\":{\"id\":$id,\"instance\":\"$instance\",\"addr\":\"127.0.0.1:1\"},\"to\":{\"id\":$id,\"instance\":\"$instance\"},\"nonce\":\"$nonce\"}\nProve {\"mac\":\"\"}\nPing []",
	`Prove {"mac":"0000000000000000000000000000000000000000000000000000000000000000"}`,
	`Hello {"protocol":18446744073709551616,"from":5}`,
	`Snapshot {"message":{"type":"MsgSnap","from":99,"to":1,"term":2,"snapshot":{"last_included":{"term":2,"index":900},"voters":[1],"learners":[],"machines":{"system":{}}}},"bytes":4}`,
	"Chunk {\"data\":\"bnVsbA==\"}\nInstall {\"crc\":$crc}",
	`Message {"type":"MsgHeartbeat","from":99,"to":1,"term":99}`,
	"Ping {}\nPing []",
}

// FuzzHandshake: who does not know the cluster's key is no member, whatever it says; the server's place in its cluster
// stays as it was, and the same connection goes on.
func FuzzHandshake(f *testing.F) {
	servers := make([]*raftpico.Server, 2) // the first is a cluster, the second belongs to none
	for i := range servers {
		s, err := raftpico.Start(machine.JSON(&counter{}), raftpico.Options{Addr: "127.0.0.1:0", InMemory: true, Logger: quiet})
		require.NoError(f, err)
		f.Cleanup(func() { _ = s.Close() })
		servers[i] = s
	}
	_, err := servers[0].CreateCluster(f.Context(), calm)
	require.NoError(f, err)
	_, err = servers[0].Apply(f.Context(), machine.Command, json.RawMessage("1")) // it leads, and has come to rest
	require.NoError(f, err)
	for _, script := range handshakes {
		f.Add(false, script)
		f.Add(true, script)
	}
	f.Fuzz(func(t *testing.T, second bool, script string) {
		s := servers[0]
		c := &talk{client: dial(t, s)}
		if second { // NB: who names its instance may give it a place; so that is not handed out here
			s = servers[1]
			c.client = dial(t, s)
		} else {
			var who peer.HelloAnswer
			c.ask(`Hello {"protocol":1}`)
			who, c.told = c.told, peer.HelloAnswer{}
			c.instance = who.Instance
		}
		before := place(t, s)
		for line := range strings.SplitSeq(script, "\n") {
			switch method, answer := c.ask(line); method {
			case "", "Hello":
			case "Ping":
				if strings.Contains(answer, `"result"`) {
					require.Equal(t, result("1", "null"), answer)
				}
			default:
				require.Contains(t, answer, `"error":{"code":`, line)
			}
		}
		failed(t, c.client.ask(request("1", "raftpico.Message", `{"type":"MsgHeartbeat","from":99,"to":1,"term":99}`)), 102)
		c.silent()
		require.NoError(t, c.Close())
		require.Equal(t, before, place(t, s))
	})
}

// join gives a server its place in a cluster of ours, as server 2, and makes the connection that of its server 1.
func (c *talk) join() {
	_, _ = c.ask(`Hello {"protocol":1}`)
	c.instance = c.told.Instance
	_, answer := c.ask(`Join {"identity":{"cluster_id":"c","key":"k","node_id":2},"instance":"$instance"}`)
	require.Equal(c.t, result("1", "{}"), answer)
	h := &peer.Hello{Protocol: peer.Protocol, ClusterID: "c", From: peer.Name{ID: 1, Instance: "a", Addr: "127.0.0.1:1"},
		To: peer.Name{ID: 2, Instance: c.instance}, Nonce: "00"}
	hello, err := json.Marshal(h)
	require.NoError(c.t, err)
	c.ask("Hello " + string(hello))
	_, answer = c.ask(`Prove {"mac":"` + peer.MAC("k", peer.Dialling, h, c.told.Nonce) + `"}`)
	require.Equal(c.t, result("1", "{}"), answer)
}

var transfers = []string{
	`Snapshot {"message":{"type":"MsgSnap","from":1,"to":2,"term":2,"snapshot":{"last_included":{"term":2,"index":9},"voters":[1],"learners":[2],"time":5,"machines":{"system":{"min_election_timeout_ms":300,"max_election_timeout_ms":2000,"members":{"1":{"addr":"127.0.0.1:1","instance":"a"},"2":{"addr":"127.0.0.1:2","instance":"b"}}}}}},"bytes":11}` +
		"\nChunk {\"data\":\"eyJWYWw=\"}\nChunk {\"data\":\"dWUiOjd9\"}\nInstall {\"crc\":$crc}\n" +
		`Message {"type":"MsgApp","from":1,"to":2,"term":2,"log_term":2,"index":9,"commit":10,"entries":[{"from":1,"boot":"b","seq":0,"time":7,"commands":[{"Apply":3}]}]}`,
	`Snapshot {"message":{"type":"MsgSnap","from":1,"to":2,"term":2,"snapshot":{"last_included":{"term":1,"index":3},"voters":[2],"learners":[],"machines":{"system":{"min_election_timeout_ms":300,"max_election_timeout_ms":2000,"members":{}}}}},"bytes":4}` +
		"\nChunk {\"data\":\" bnVsbA==\"}\nInstall {\"crc\":$crc}",
	`Snapshot {"message":{"type":"MsgSnap","from":1,"to":2,"term":2,"snapshot":{}},"bytes":-1}` + "\nChunk {}\nInstall {\"crc\":0}",
	`Snapshot {"message":{"type":"MsgApp","from":1,"to":2,"term":2},"bytes":0}` + "\nSnapshot {}\nChunk []\nInstall []",
	`Message {"type":"MsgVote","from":1,"to":2,"term":3,"log_term":2,"index":9}`,
	"Prove {\"mac\":\"\"}\nHello {\"protocol\":1}\nJoin {\"identity\":{\"cluster_id\":\"c\",\"key\":\"k\",\"node_id\":3},\"instance\":\"$instance\"}\nMessage {}",
}

// FuzzTransfer: a member that sends anything as a snapshot, in any order, makes no server panic. It goes on answering, or
// has stopped with an error.
func FuzzTransfer(f *testing.F) {
	for _, script := range transfers {
		f.Add(false, script)
		f.Add(true, script)
	}
	f.Fuzz(func(t *testing.T, file bool, script string) {
		opts := raftpico.Options{Addr: "127.0.0.1:0", InMemory: !file, Logger: quiet,
			Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody is there") }}
		if file {
			opts.File = filepath.Join(t.TempDir(), "log.jsonl")
		}
		s, err := raftpico.Start(machine.JSON(&counter{}), opts)
		require.NoError(t, err)
		defer func() { _ = s.Close() }()
		c := &talk{client: dial(t, s)}
		c.join()
		for line := range strings.SplitSeq(script, "\n") {
			if method, params, ok := strings.Cut(line, " "); ok && method == "Message" { // no request: it may close the connection
				_, _ = io.WriteString(c, request("", "raftpico.Message", params))
				continue
			}
			if _, _, err := c.try(line); err != nil {
				break
			}
		}
		_, _, _ = c.try("Ping {}") // the messages have been read, where the connection is still there
		if _, err := s.State(t.Context(), true); err != nil {
			require.Error(t, s.Wait(), "it answers no more, and has not failed")
		}
		_ = c.Close() // else the server waits for it to go
	})
}
