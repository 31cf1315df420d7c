package ids

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The README's requests have the answers that it shows. ULIDs themselves are not compared.
func TestReadmeShowsWhatIsAnswered(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?ms)^```text\n(.*?)^```$").FindSubmatch(readme)
	require.NotNil(t, block)
	r := start(t)
	ulids := regexp.MustCompile(`"[0-9A-HJKMNP-TV-Z]{26}"`)
	lines := strings.Split(strings.TrimSpace(string(block[1])), "\n")
	for _, line := range lines {
		input, want, ok := strings.Cut(line, "→")
		require.True(t, ok, line)
		got := r.text(noon, strings.TrimSpace(input))
		require.Equal(t, ulids.ReplaceAllString(strings.TrimSpace(want), "ULID"), ulids.ReplaceAllString(got, "ULID"), line)
	}
	require.Len(t, lines, 5)
}
