package raftpico_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// countToFive runs a server on a file, and lets it count to five.
func countToFive(file string, then func(s *raftpico.Server) error) error {
	s, err := raftpico.Start(machine.JSON(&counter{}), raftpico.Options{Addr: "127.0.0.1:0", File: file, Logger: quiet})
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.CreateCluster(context.Background(), raftpico.Timeouts{}); err != nil {
		return err
	}
	for range 5 {
		if _, err := raftpico.Apply[int](context.Background(), s, 1); err != nil {
			return err
		}
	}
	return then(s)
}

// A backup of a running server becomes the first server of a new cluster.
func ExampleServer_Backup() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	var backup bytes.Buffer
	err = countToFive(filepath.Join(dir, "log"), func(s *raftpico.Server) error {
		_, err := s.Backup(context.Background(), &backup)
		return err
	})
	fmt.Println("backup:", err)

	_, err = raftpico.Restore(&backup, filepath.Join(dir, "new"), "127.0.0.1:4000")
	fmt.Println("restore:", err)
	s, err := raftpico.Start(machine.JSON(&counter{}), raftpico.Options{Addr: "127.0.0.1:0", File: filepath.Join(dir, "new"), Logger: quiet})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	value, err := raftpico.Query[int](context.Background(), s, 0)
	fmt.Println("the new cluster has", value, err)
	// Output:
	// backup: <nil>
	// restore: <nil>
	// the new cluster has 5 <nil>
}

// The state as it was at any entry that the log still covers.
func ExampleReplay() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "log")
	if err := countToFive(file, func(*raftpico.Server) error { return nil }); err != nil {
		fmt.Println(err)
	}
	for _, upTo := range []uint64{1, 3, 7} {
		m := &counter{}
		info, err := raftpico.Replay(file, machine.JSON(m), upTo)
		fmt.Println("behind entry", info.Index, "it was", m.Value, err)
	}
	// Output:
	// behind entry 1 it was 0 <nil>
	// behind entry 3 it was 1 <nil>
	// behind entry 7 it was 5 <nil>
}
