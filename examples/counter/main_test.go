package main

import (
	"testing"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/machine/machinetest"
)

func TestMachine(t *testing.T) {
	machinetest.Run(t, machinetest.Config{
		New:    func() machine.Machine { return machine.JSON(&counter{}) },
		Inputs: []any{1, 2, -3},
	})
}
