package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSummariesAreMediansInTheOrderOfTheFirstRound(t *testing.T) {
	var r Report
	add := func(system string, window int, rates ...float64) {
		for _, rate := range rates {
			r.Results = append(r.Results, result(system, Put, window, 16, rate))
		}
	}
	add("b", 10, 500)
	add("a", 1, 30)
	add("b", 1, 7)
	add("b", 10, 900, 600) // later rounds
	add("a", 1, 10, 20)
	inMemory := result("a", Put, 1, 16, 99)
	inMemory.InMemory = true
	five := result("a", Put, 1, 16, 98)
	five.Servers = 5
	r.Results = append(r.Results, inMemory, five)

	all := r.summaries()
	var got []string
	for _, s := range all {
		got = append(got, s.name())
	}
	if want := []string{"b", "a", "b", "a, in memory", "a"}; !slices.Equal(got, want) {
		t.Fatalf("the order is %v, want %v", got, want)
	}
	for i, want := range []struct {
		rates  []float64
		median float64
		window int
	}{{[]float64{500, 600, 900}, 600, 10}, {[]float64{10, 20, 30}, 20, 1}, {[]float64{7}, 7, 1}, {[]float64{99}, 99, 1}, {[]float64{98}, 98, 1}} {
		s := all[i]
		if !slices.Equal(s.rates, want.rates) || s.rate() != want.median || s.Window != want.window {
			t.Errorf("summary %d: %v, median %v, window %d; want %+v", i, s.rates, s.rate(), s.Window, want)
		}
		// All the other figures are of the round in the middle, and not of several.
		if round := result("", Put, want.window, 16, want.median); s.Rate() != want.median || s.P50 != round.P50 || s.CPU != round.CPU {
			t.Errorf("summary %d: %v/s, p50 %v, CPU %v", i, s.Rate(), s.P50, s.CPU)
		}
	}
}

func TestSummariesOfNothing(t *testing.T) {
	if all := (&Report{}).summaries(); all != nil {
		t.Errorf("%v", all)
	}
}

func TestTableHasARowForEachLoad(t *testing.T) {
	r := sample([]string{"raftpico", "etcd"}, 2, []int{1, 10}, nil)
	r.Floors = []Floor{{Writers: 3, Bytes: 16, Rate: 1234, P50: time.Millisecond}}
	var text bytes.Buffer
	r.table(&text)
	rows := strings.Split(strings.TrimSpace(text.String()), "\n")
	const head, foot = 2 + 3, 1 // the machine, the disk; the heading between rules; a rule
	if len(rows) != head+2*3*2+foot {
		t.Fatalf("%d rows:\n%s", len(rows), text.String())
	}
	if want := "disk: 3 appending 16 bytes at once, fdatasync each: 1234/s each, p50 1ms"; !strings.HasPrefix(rows[1], want) {
		t.Errorf("%q, want %q", rows[1], want)
	}
	for _, row := range rows[head : len(rows)-foot] {
		if got, want := strings.Count(row, "│"), strings.Count(rows[head-2], "│"); got != want {
			t.Errorf("%d columns, the heading has %d: %s", got-1, want-1, row)
		}
	}
}

func TestReportIsKeptWithTableAndCharts(t *testing.T) {
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer nowhere.Close()
	defer func(out *os.File) { os.Stdout = out }(os.Stdout)
	os.Stdout = nowhere // the table
	dir := filepath.Join(t.TempDir(), "out")
	r := sample([]string{"raftpico"}, 1, []int{1, 1000}, []int{16, 4096})
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(back.Results, r.Results) || !slices.Equal(back.Floors, r.Floors) {
		t.Error("the report that was read is not the one that was written")
	}
	for _, name := range append(files(r), "table.txt") {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
