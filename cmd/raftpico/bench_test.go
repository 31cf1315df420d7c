package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// resultLine is a line of bench as its readers know it.
type resultLine struct {
	ID, Result, Error json.RawMessage
	Method, Server    string
	Request           int64 `json:"request_byte_size"`
	Response          int64 `json:"response_byte_size"`
	Start             int64 `json:"start_unix_timestamp_micros"`
	End               int64 `json:"end_unix_timestamp_micros"`
}

func parseResults(t *testing.T, text string) (results []resultLine) {
	for line := range strings.Lines(text) {
		var r resultLine
		require.NoError(t, json.Unmarshal([]byte(line), &r), line)
		results = append(results, r)
	}
	return results
}

func TestBenchPrintsRequestAnswerAndFigures(t *testing.T) {
	addr := serve(t, echo)
	const in = `{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Query", "input":"List"},"id":7}`
	require.Regexp(t, `^{"jsonrpc":"2.0","id":7,"method":"Apply","params":{"kind":"Query", "input":"List"},"result":{"kind":"Query", "input":"List"},`+
		`"server":"`+addr+`","request_byte_size":83,"response_byte_size":66,`+
		`"start_unix_timestamp_micros":\d{16},"end_unix_timestamp_micros":\d{16}}\n$`, succeed(t, in+"\r\n", "bench", addr))
	require.Regexp(t, `^{"jsonrpc":"2.0","id":"a","method":"m","error":{"code":-32601,"message":"Method not found"},"server"`,
		succeed(t, `{"jsonrpc":"2.0","id":"a","method":"m"}`, "bench", addr))
	require.Empty(t, succeed(t, "", "bench", addr))
}

func TestGenBenchStats(t *testing.T) {
	const count = 5000
	args := []string{"bench", "-c", "100"}
	for range 3 {
		args = append(args, serve(t, echo))
	}
	requests := succeed(t, "", "gen", "put", "--count", fmt.Sprint(count))
	text := succeed(t, requests, args...)
	answered, servers := map[string]bool{}, map[string]int{}
	for _, r := range parseResults(t, text) {
		require.Equal(t, "Apply", r.Method)
		require.LessOrEqual(t, r.Start, r.End)
		answered[string(r.ID)] = true
		servers[r.Server]++
	}
	require.Len(t, answered, count)
	require.Len(t, servers, 3)
	var s struct {
		Detail struct {
			Count       struct{ Success, Error int }
			Latency     map[string]float64
			Concurrency struct{ Max int }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(succeed(t, text, "stats")), &s))
	require.Equal(t, count, s.Detail.Count.Success)
	require.LessOrEqual(t, s.Detail.Concurrency.Max, 100)
	require.Contains(t, s.Detail.Latency, "p99.9")
}

func TestBenchKeepsNoMoreUnderWayThanAsked(t *testing.T) {
	var held []string // owned by the one connection
	most := 0
	addr := serve(t, func(line string) string { // answers every five, the last first, but one line in two parts
		held = append(held, echo(line))
		most = max(most, len(held))
		if len(held) < 5 {
			return ""
		}
		text := ""
		for _, answer := range held {
			text = answer + text
		}
		held = nil
		return text
	})
	text := succeed(t, succeed(t, "", "gen", "get", "--count", "1000"), "bench", addr, "-c", "5")
	require.Len(t, parseResults(t, text), 1000)
	require.Equal(t, 5, most)
}

func TestBenchRefusesLines(t *testing.T) {
	addr := serve(t, echo)
	const good = `{"jsonrpc":"2.0","method":"m","params":[],"id":0}` + "\n"
	for bad, want := range map[string]string{
		`{"jsonrpc":"2.0","method":"m","id":0}`:         "line 3: id 0 is there twice",
		`{"jsonrpc":"2.0","method":"m","id":1.0}`:       "integer",
		`{"jsonrpc":"2.0","method":"m","id":null}`:      "integer",
		`{"jsonrpc":"2.0","method":"m"}`:                "without id",
		`[{"jsonrpc":"2.0","method":"m","id":1}]`:       "no JSON object",
		`{"jsonrpc":"2.0","method":"m","id":1} x`:       "not JSON",
		`{"jsonrpc":"2.0","method":"m","id":"` + "\xff": "not JSON",
	} {
		stdout, stderr, status := shell(good+"\n"+bad+"\n"+good, "bench", addr)
		require.Equal(t, 1, status, bad)
		require.Len(t, parseResults(t, stdout), 1, "what came before it is answered")
		require.Contains(t, stderr, want, bad)
		require.Contains(t, stderr, "line 3", bad)
	}
}

func TestIDsDiffer(t *testing.T) {
	var seen ids
	for _, id := range []string{"5", "6", "8", `"6"`, `"é"`, "7", "-1", "123456789012345678901", "9"} {
		require.NoError(t, seen.add(id), id)
	}
	for _, id := range []string{"5", "6", "7", "8", "9", `"6"`, `"\u0036"`, `"\u00e9"`, "-1", "123456789012345678901"} {
		require.Error(t, seen.add(id), id)
	}
	require.NoError(t, seen.add("10"))
	require.NoError(t, seen.add("0"))
}

func TestBenchMatchesIDsHoweverTheyAreWritten(t *testing.T) {
	addr := serve(t, func(string) string { return `{"jsonrpc":"2.0","id":"\u00e9A","result":1}` + "\n" })
	text := succeed(t, `{"jsonrpc":"2.0","method":"m","id":"é\u0041"}`, "bench", addr)
	require.Equal(t, `"é\u0041"`, string(parseResults(t, text)[0].ID))
}

func TestStatsLayout(t *testing.T) {
	line := func(start, end int64, outcome string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":0,"method":"m",%s,"server":"127.0.0.1:4000","request_byte_size":104,"response_byte_size":38,`+
			`"start_unix_timestamp_micros":%d,"end_unix_timestamp_micros":%d}`+"\n", outcome, 1795261909000000+start, 1795261909000000+end)
	}
	in := line(0, 24, `"result":null`) + line(24, 76, `"result":{"error":1}`) + line(30, 92, `"error":{"code":108}`) + "\n" +
		line(50, 125, `"result":1`) + line(7888, 49257, `"result":1`)
	require.Equal(t, `{
  "elapsed_seconds": 0.049257,
  "requests_per_second": 102,
  "avg_latency_seconds": 0.0083164,
  "detail": {
    "count": { "success": 4, "error": 1 },
    "size": { "request_avg_bytes": 104, "response_avg_bytes": 38 },
    "latency": { "min": 0.000024, "p25": 0.000052, "p50": 0.000062, "p75": 0.000075, "p99": 0.041369, "p99.9": 0.041369, "max": 0.041369 },
    "concurrency": { "max": 3 }
  }
}
`, succeed(t, in, "stats"))
	for _, bad := range []string{"x\n", "{}\n", line(5, 4, `"result":1`)} {
		stdout, _, status := shell(bad, "stats")
		require.Equal(t, 1, status)
		require.Empty(t, stdout)
	}
	require.Contains(t, succeed(t, "", "stats"), `"requests_per_second": 0,`)
}

func TestPercentilesAreNearestRank(t *testing.T) {
	var s summary
	for i := range int64(1000) {
		s.latencies = append(s.latencies, i+1)
	}
	for p, want := range map[float64]string{0: "0.000001", 0.25: "0.00025", 0.99: "0.00099", 0.999: "0.000999", 1: "0.001"} {
		require.Equal(t, want, s.percentile(p), p)
	}
}

// The scanner and encoding/json see the same members in every valid object, and no text makes the scanner panic.
func FuzzMembersAreThoseOfEncodingJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1}`, ` { "a" : [1,{"b":"]}\\\""}] , "c":null } `, `{"a":"x}`, `{"a\`, `{"a":1,}`, `{"a":1}}`, `[1]`, `{"a":]}`, `{a:1}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := map[string]json.RawMessage{}
		escaped := false
		err := members(text, func(name, value string) error {
			got[name] = json.RawMessage(value)
			escaped = escaped || strings.ContainsAny(name, "\\") || strings.ToValidUTF8(name, "") != name
			return nil
		})
		var want map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &want) != nil || want == nil {
			return
		}
		require.NoError(t, err)
		if !escaped {
			require.Equal(t, want, got)
		}
	})
}

func TestLinesComeWholeHoweverTheyAreRead(t *testing.T) {
	text := strings.Repeat("x", 3*blockSize) + "\n\n" + strings.Repeat("0123456789\n", blockSize/4) + "end"
	in := lines{r: &halves{text}}
	var got strings.Builder
	var buf []byte
	for {
		block, err := in.next(buf)
		if err != nil {
			break
		}
		require.True(t, strings.HasSuffix(string(block), "\n") || strings.HasSuffix(string(block), "end"))
		got.Write(block)
		buf = block
	}
	require.Equal(t, text, got.String())
}

// halves reads no more than half of what is asked.
type halves struct{ text string }

func (h *halves) Read(p []byte) (int, error) {
	if h.text == "" {
		return 0, io.EOF
	}
	n := copy(p[:(len(p)+1)/2], h.text)
	h.text = h.text[n:]
	return n, nil
}
