package addr

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCanonical(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:4000":                "127.0.0.1:4000",
		"127.0.0.1:04000":               "127.0.0.1:4000",
		"[0:0:0:0:0:0:0:1]:1":           "[::1]:1",
		"[::1]:65535":                   "[::1]:65535",
		"[::ffff:192.0.2.1]:80":         "192.0.2.1:80",
		"[FE80::1%eth0]:80":             "[fe80::1%eth0]:80",
		"Db-1.Example.COM:4000":         "db-1.example.com:4000",
		"BÜCHER.example:4000":           "bücher.example:4000",
		"":                              "",
		"127.0.0.1":                     "",
		":4000":                         "",
		"0.0.0.0:4000":                  "",
		"[::]:4000":                     "",
		"[::ffff:0.0.0.0]:4000":         "",
		"host:0":                        "",
		"host:65536":                    "",
		"host:http":                     "",
		"host:+80":                      "",
		"a b:80":                        "",
		"a\n:80":                        "",
		"\xff:80":                       "",
		strings.Repeat("a", 300) + ":1": "",
	} {
		got, err := Canonical(addr)
		require.Equal(t, want, got, addr)
		require.Equal(t, want == "", err != nil, addr)
		if err == nil {
			again, err := Canonical(got)
			require.NoError(t, err)
			require.Equal(t, got, again)
		}
	}
}
