//go:build race

package raftpico_test

const atOnce = "1" // tests
