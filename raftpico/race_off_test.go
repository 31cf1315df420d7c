//go:build !race

package raftpico_test

const atOnce = "8" // tests
