package main

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheReadmeShowsWhatServersSay replays each transcript of README.md on a server of its own.
func TestTheReadmeShowsWhatServersSay(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?ms)^```transcript\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	require.Len(t, blocks, 2)
	for _, block := range blocks {
		_, w := startWire(t)
		lines := strings.Split(strings.TrimSpace(block[1]), "\n")
		require.Zero(t, len(lines)%2)
		for i := 0; i < len(lines); i += 2 {
			method, rest, _ := strings.Cut(lines[i], " ")
			path, body, _ := strings.Cut(rest, " ")
			number, answer, _ := strings.Cut(lines[i+1], " ")
			status, err := strconv.Atoi(number)
			require.NoError(t, err)
			require.Equal(t, "POST", method)
			w.want(path, body, status, answer)
		}
	}
}

// TestTheReadmeTellsTheBounds finds each bound in the README as it is in the code.
func TestTheReadmeTellsTheBounds(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for bound, says := range map[int]string{
		defaultLimits.size: "1 GiB of memory", defaultLimits.waiters: "100,000", defaultLimits.ids: "last million", maxParts: "1,024 parts",
		maxValue: "1 MiB; 8 MiB", maxTenant: "255 bytes", maxDur: "7 days", maxWait: "an hour", idKept: "24 hours",
	} {
		require.Contains(t, string(text), says, bound)
	}
	require.Equal(t, []int{1 << 30, 100_000, 1_000_000, 1024, 1 << 20, 8 << 20, 255, 1024, 7 * 86400, 3600, 86_400_000},
		[]int{defaultLimits.size, defaultLimits.waiters, defaultLimits.ids, maxParts, maxValue, maxAnswer, maxTenant, maxName, maxDur, maxWait, idKept})
}
