package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// line is a result as it is shown while the run goes on.
func (r Result) line() string {
	return fmt.Sprintf("%-15s %d servers %-8s window %5d, %6d B, %5d connections: %9.0f/s  p50 %8v  p99 %8v  failed %d  CPU %v + %v  RSS %d MB  %.40s", r.System, r.Servers, r.what(), r.Window, r.ValueSize,
		r.Connections, r.Rate(), short(r.P50), short(r.P99), r.Failed, short(r.CPU), short(r.ClientCPU), r.RSS>>20, r.Error)
}

func short(d time.Duration) time.Duration {
	if d > 10*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}

func (s *System) has(k Kind) bool { return slices.Contains(s.Kinds, k) }

// summary is the rounds of one load: medians.
type summary struct {
	Result
	rates []float64 // of all rounds, sorted
}

func (s summary) rate() float64 { return s.rates[len(s.rates)/2] }

// summaries brings the rounds of each load together, in the order of their first round.
func (r *Report) summaries() (all []summary) {
	type key struct {
		system   string
		servers  int
		inMemory bool
		load     Load
	}
	rounds := map[key][]Result{}
	var order []key
	for _, result := range r.Results {
		k := key{result.System, result.Servers, result.InMemory, result.Load}
		if rounds[k] == nil {
			order = append(order, k)
		}
		rounds[k] = append(rounds[k], result)
	}
	for _, k := range order {
		results := rounds[k]
		s := summary{}
		for _, result := range results {
			s.rates = append(s.rates, result.Rate())
		}
		slices.Sort(s.rates)
		slices.SortFunc(results, func(a, b Result) int { return cmp.Compare(a.Rate(), b.Rate()) })
		s.Result = results[len(results)/2] // the round of the median rate tells the rest
		all = append(all, s)
	}
	return all
}

// write prints the table, and keeps everything in a folder if there is one.
func (r *Report) write(dir string) error {
	var shown bytes.Buffer
	r.table(&shown)
	if _, err := os.Stdout.Write(shown.Bytes()); err != nil || dir == "" {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "report.json"), append(b, '\n'), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "table.txt"), shown.Bytes(), 0o644); err != nil {
		return err
	}
	return r.draw(dir)
}

func (r *Report) table(out io.Writer) {
	fmt.Fprintf(out, "%s; commit %s; %s\n", r.Machine, r.Commit, r.Began.Format(time.DateTime))
	for _, f := range r.Floors {
		fmt.Fprintf(out, "disk: %d appending %d bytes at once, fdatasync each: %.0f/s each, p50 %v, p99 %v\n", f.Writers, f.Bytes, f.Rate, short(f.P50), short(f.P99))
	}
	t := table.NewWriter()
	t.SetOutputMirror(out)
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault // as written
	t.AppendHeader(table.Row{"system", "servers", "kind", "value", "conns", "under way", "op/s", "from", "to", "p50", "p99", "p99.9",
		"CPU/op", "client", "allocs", "disk B", "wire B", "syncs", "RSS MB", "failed"})
	columns := make([]table.ColumnConfig, 20)
	for i := range columns {
		columns[i] = table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight}
	}
	columns[0].Align, columns[0].AlignHeader = text.AlignLeft, text.AlignLeft
	t.SetColumnConfigs(columns)
	whole := func(v float64) string { return humanize.Comma(int64(math.Round(v))) }
	for _, s := range r.summaries() {
		t.AppendRow(table.Row{s.System, s.Servers, s.what(), s.ValueSize, s.Connections, s.Window,
			whole(s.rate()), whole(s.rates[0]), whole(s.rates[len(s.rates)-1]), short(s.P50), short(s.P99), short(s.P999),
			short(s.CPU), short(s.ClientCPU), fmt.Sprintf("%.1f", s.Allocs), whole(s.Disk), whole(s.Wire), fmt.Sprintf("%.4f", s.Syncs), s.RSS >> 20, s.Failed})
	}
	t.Render()
}
