package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/goccy/go-json"
	"github.com/spf13/cobra"
)

// result is what stats needs of a line of bench.
type result struct {
	Error    json.RawMessage `json:"error"`
	Request  int64           `json:"request_byte_size"`
	Response int64           `json:"response_byte_size"`
	Start    int64           `json:"start_unix_timestamp_micros"`
	End      int64           `json:"end_unix_timestamp_micros"`
}

// newStats sums up what bench printed.
func newStats() *cobra.Command {
	return &cobra.Command{
		Use:               "stats < RESULTS",
		Short:             "sum up what bench printed",
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			bar := newProgress(cmd.ErrOrStderr(), -1, "results")
			s, err := readResults(input(cmd, "results of bench"), func(count int) { _ = bar.Set(count) })
			_ = bar.Finish()
			if err == nil {
				_, err = cmd.OutOrStdout().Write(s.text())
			}
			return err
		},
	}
}

// readResults reads lines of bench to their end.
func readResults(in io.Reader, progress func(count int)) (*summary, error) {
	input, s := lines{r: in}, new(summary)
	var buf []byte
	for {
		block, err := input.next(buf)
		if err != nil || len(block) == 0 {
			return s, ignoreEOF(err)
		}
		buf = block
		for line := range bytes.Lines(block) {
			if line = bytes.TrimSpace(line); len(line) == 0 {
				continue
			}
			var r result
			if err := json.Unmarshal(line, &r); err != nil || r.Start <= 0 || r.End < r.Start {
				return nil, fmt.Errorf("not a line of bench: %.64q", line)
			}
			s.add(r)
		}
		progress(len(s.starts))
	}
}

// summary collects results. Times are in microseconds.
type summary struct {
	starts, ends, latencies             []int64
	errors, requestBytes, responseBytes int64
	latencySum                          int64
}

func (s *summary) add(r result) {
	s.starts = append(s.starts, r.Start)
	s.ends = append(s.ends, r.End)
	s.latencies = append(s.latencies, r.End-r.Start)
	s.latencySum += r.End - r.Start
	s.requestBytes += r.Request
	s.responseBytes += r.Response
	if r.Error != nil {
		s.errors++
	}
}

// text is the summary in the layout of jlot, with two more percentiles.
func (s *summary) text() []byte {
	slices.Sort(s.starts)
	slices.Sort(s.ends)
	slices.Sort(s.latencies)
	n := len(s.starts)
	var elapsed int64
	if n > 0 {
		elapsed = s.ends[n-1] - s.starts[0]
	}
	average := func(sum int64) int64 { return int64(math.Round(ratio(sum, int64(n)))) }
	return fmt.Appendf(nil, `{
  "elapsed_seconds": %s,
  "requests_per_second": %d,
  "avg_latency_seconds": %s,
  "detail": {
    "count": { "success": %d, "error": %d },
    "size": { "request_avg_bytes": %d, "response_avg_bytes": %d },
    "latency": { "min": %s, "p25": %s, "p50": %s, "p75": %s, "p99": %s, "p99.9": %s, "max": %s },
    "concurrency": { "max": %d }
  }
}
`, seconds(elapsed), int64(math.Round(ratio(int64(n)*1e6, elapsed))), decimal(math.Round(ratio(s.latencySum*1000, int64(n)))/1e9),
		int64(n)-s.errors, s.errors, average(s.requestBytes), average(s.responseBytes),
		s.percentile(0), s.percentile(0.25), s.percentile(0.5), s.percentile(0.75), s.percentile(0.99), s.percentile(0.999), s.percentile(1),
		s.concurrency())
}

// percentile is the least latency that a part p of all is not above (nearest rank).
func (s *summary) percentile(p float64) string {
	n := len(s.latencies)
	if n == 0 {
		return "0"
	}
	rank := int(math.Ceil(p*float64(n) - 1e-9)) // 0.999·1000 is a little above 999
	return seconds(s.latencies[max(rank-1, 0)])
}

// concurrency is the largest number of requests under way at once. One that ends when another starts is not with it.
func (s *summary) concurrency() int {
	most, ended := min(len(s.starts), 1), 0
	for i, start := range s.starts {
		for s.ends[ended] <= start && ended < i {
			ended++
		}
		most = max(most, i+1-ended)
	}
	return most
}

func ratio(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

func seconds(micros int64) string { return decimal(float64(micros) / 1e6) }

func decimal(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
