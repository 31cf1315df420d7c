//go:build race

package raftpico_test

const atOnce = "3" // tests
