package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
)

func TestFiguresAreShort(t *testing.T) {
	for _, c := range []struct {
		format func(float64) string
		v      float64
		want   string
	}{
		{number, 0, "0"},
		{number, 0.05, "0.05"},
		{number, 950, "950"},
		{number, 999.4, "999"},
		{number, 999.6, "1k"},
		{number, 10_000, "10k"},
		{number, 12_345, "12.3k"},
		{number, 999_960, "1M"},
		{number, 2e9, "2G"},
		{byteSize, 16, "16 B"},
		{byteSize, 1024, "1.0 KiB"},
		{byteSize, 65536, "64 KiB"},
		{byteSize, 1 << 20, "1.0 MiB"},
		{nanoseconds, 500, "500 ns"},
		{nanoseconds, 20e3, "20 µs"},
		{nanoseconds, 1e6, "1 ms"},
		{nanoseconds, 2e9, "2 s"},
		{nanoseconds, 100e9, "100 s"},
	} {
		if got := c.format(c.v); got != c.want {
			t.Errorf("%v is written %q, want %q", c.v, got, c.want)
		}
	}
}

func TestTicksSurroundTheValues(t *testing.T) {
	for _, c := range []struct {
		about  string
		a      axis
		values []float64
		want   []float64
	}{
		{"from 0", axis{}, []float64{70, 96_752}, []float64{0, 40e3, 80e3}},
		{"1, 2, 5 where there is room", axis{log: true}, []float64{862, 7_000}, []float64{500, 1000, 2000, 5000, 10_000}},
		{"else powers of ten", axis{log: true}, []float64{70, 839_000}, []float64{100, 1000, 10_000, 100_000, 1e6}},
		{"fractions", axis{log: true}, []float64{0.03, 0.4}, []float64{0.02, 0.05, 0.1, 0.2, 0.5}},
		{"one round value", axis{log: true}, []float64{1000, 1000}, []float64{1000, 2000, 5000, 10_000}},
		{"given", axis{log: true, ticks: []float64{1, 10, 1000}}, []float64{1, 10}, []float64{1, 10, 1000}},
	} {
		to := plot.Axis{Min: slices.Min(c.values), Max: slices.Max(c.values)}
		c.a.round(&to)
		if to.Min > slices.Min(c.values) || to.Max < slices.Max(c.values) {
			t.Errorf("%s: from %v to %v", c.about, to.Min, to.Max)
		}
		var got []float64
		for _, tick := range c.a.Ticks(to.Min, to.Max) {
			got = append(got, tick.Value)
		}
		same := func(a, b float64) bool { return a == b || a/b > 0.9999 && a/b < 1.0001 }
		if !slices.EqualFunc(got, c.want, same) {
			t.Errorf("%s: ticks %v, want %v", c.about, got, c.want)
		}
	}
}

func TestLabelsAreSpread(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const gap, low, high = 18, 100, 364
	for range 1000 {
		places := make([]float64, 1+rng.IntN(14)) // as many as there is room for
		for i := range places {
			places[i] = low + rng.Float64()*(high-low)
		}
		moved := spread(places, gap, low, high)
		for i := range places {
			if moved[i] < low-1e-6 || moved[i] > high+1e-6 {
				t.Fatalf("%v: out of bounds: %v", places, moved)
			}
			for j := range i {
				if d := moved[i] - moved[j]; d > -gap+1e-6 && d < gap-1e-6 {
					t.Fatalf("%v: too near: %v", places, moved)
				}
				if (places[i] < places[j]) != (moved[i] < moved[j]) {
					t.Fatalf("%v: in another order: %v", places, moved)
				}
			}
		}
	}
	far := []float64{110, 300, 200}
	if moved := spread(far, gap, low, high); !slices.Equal(moved, far) {
		t.Errorf("far from each other, but moved: %v to %v", far, moved)
	}
}

// sample is a report of systems that differ by a factor each.
func sample(systems []string, factor float64, windows, sizes []int) *Report {
	r := &Report{Machine: "a <machine> & more", Commit: "be488c9", Began: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)}
	for round := range 3 {
		slower := 1.0
		for _, system := range systems {
			slower *= factor
			for _, kind := range []Kind{Put, Get, LocalGet} {
				for _, w := range windows {
					r.Results = append(r.Results, result(system, kind, w, 16, 900*float64(w)/(1+float64(w)/100)/slower+float64(round)))
				}
			}
			for _, size := range sizes {
				r.Results = append(r.Results, result(system, Put, 100, size, 20e3/(1+float64(size)/1000)/slower))
			}
		}
		for _, size := range sizes {
			r.Floors = append(r.Floors, Floor{Writers: 1, Bytes: size, Rate: 9999}, Floor{Writers: 3, Bytes: size, Rate: float64(1000 + round)})
		}
	}
	return r
}

func result(system string, kind Kind, window, size int, rate float64) Result {
	latency := time.Duration(float64(window) / rate * 1e9)
	return Result{System: system, Servers: 3,
		Load:     Load{Kind: kind, Window: window, ValueSize: size, Connections: 3, Keys: 100, Warm: time.Second, Time: time.Second},
		Measured: Measured{Operations: int(rate * 100), Took: 100 * time.Second, P50: latency, P99: 4 * latency},
		CPU:      latency / 2, ClientCPU: latency / 10}
}

func files(r *Report) (names []string) {
	for _, c := range r.charts() {
		names = append(names, c.file)
	}
	return names
}

func TestChartsAreThoseWithData(t *testing.T) {
	throughput := []string{"throughput-put.svg", "throughput-get.svg", "throughput-localget.svg"}
	for _, c := range []struct {
		about string
		r     *Report
		want  []string
	}{
		{"nothing", &Report{}, nil},
		{"everything", sample([]string{"raftpico", "etcd"}, 2, []int{1, 10, 100, 1000}, []int{16, 4096}),
			append(throughput, "latency-put.svg", "bytes-put.svg", "cpu-put.svg", "rates-1000.svg")},
		{"one window", sample([]string{"raftpico"}, 2, []int{1000}, nil), []string{"rates-1000.svg"}},
		{"few under way", sample([]string{"raftpico"}, 2, []int{1, 10}, nil), append(throughput, "latency-put.svg")},
		{"sizes alone", sample([]string{"raftpico"}, 2, nil, []int{16, 4096}), []string{"bytes-put.svg", "cpu-put.svg"}},
		{"nothing succeeded", &Report{Results: []Result{{System: "x", Load: Load{Kind: Put, Window: 1}}, {System: "x", Load: Load{Kind: Put, Window: 1000}}}}, nil},
	} {
		if got := files(c.r); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.about, got, c.want)
		}
	}
	r := sample([]string{"raftpico"}, 2, nil, []int{16, 4096})
	for i := range r.Results {
		r.Results[i].CPU, r.Results[i].ClientCPU = 0, 0
	}
	if got := files(r); !slices.Equal(got, []string{"bytes-put.svg"}) {
		t.Errorf("without CPU time: %v", got)
	}
}

// words is a text of a picture, and its place.
type words struct {
	text                     string
	left, right, top, bottom float64
}

// points are the corners of a path.
var points = regexp.MustCompile(`[ML]([^,]+),([-0-9.e]+)`)

// read parses a picture and checks what is true of all.
func read(t *testing.T, picture []byte) (all []words) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(string(picture)))
	var height float64
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		attr := map[string]string{}
		for _, a := range e.Attr {
			attr[a.Name.Local] = a.Value
		}
		figure := func(text string) float64 {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatalf("%s: %v", e.Name.Local, err)
			}
			return v
		}
		inside := func(x, y float64) {
			if !(x >= 0 && x <= chartWidth && y >= 0 && y <= height) {
				t.Errorf("%s: outside at %v, %v", e.Name.Local, x, y)
			}
		}
		switch e.Name.Local {
		case "svg":
			height = figure(strings.TrimSuffix(attr["height"], "pt"))
		case "g":
		case "path":
			for _, p := range points.FindAllStringSubmatch(attr["d"], -1) {
				inside(figure(p[1]), figure(p[2]))
			}
		case "text":
			var text string
			if err := d.DecodeElement(&text, &e); err != nil {
				t.Fatal(err)
			}
			if text == " " {
				continue
			}
			_, size, _ := strings.Cut(attr["style"], "font-size:")
			size, _, _ = strings.Cut(size, "px")
			if figure(size) < 12 {
				t.Errorf("%q is %v px high", text, size)
			}
			if !strings.HasPrefix(attr["style"], "font-family:Liberation Sans,Arial,Helvetica,sans-serif;") {
				t.Errorf("%q is not legible without our font: %s", text, attr["style"])
			}
			x, y := figure(attr["x"]), height+figure(attr["y"])
			w := float64(style(figure(size), strings.Contains(attr["style"], "font-weight:bold"), dark, 0, 0).Width(text))
			inside(x, y-figure(size))
			inside(x+w, y+3)
			all = append(all, words{text, x, x + w, y - 0.8*figure(size), y + 2})
		default:
			t.Errorf("a %s in the picture", e.Name.Local)
		}
	}
	for i, a := range all {
		for _, b := range all[:i] {
			if a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom {
				t.Errorf("%q and %q overlap", a.text, b.text)
			}
		}
	}
	return all
}

func TestPicturesAreReadable(t *testing.T) {
	many := []string{"raftpico", "raftpico-local", "raftpico-echo", "echo", "etcd", "hashicorp", "hashicorp-local", "dragonboat", "dragonboat-local", "uhaha"}
	windows, sizes := []int{1, 3, 9, 10, 11, 30, 100, 1000}, []int{16, 100, 256, 1000, 1024, 65536, 1 << 20}
	for _, c := range []struct {
		about string
		r     *Report
	}{
		{"one system", sample(many[:1], 1, windows, sizes)},
		{"a few, far from each other", sample(many[:4], 5, windows, sizes)},
		{"many at the same place", sample(many, 1, windows, sizes)},
		{"many over many powers of ten", sample(many, 3, windows, sizes)},
	} {
		t.Run(c.about, func(t *testing.T) {
			for _, chart := range c.r.charts() {
				t.Run(chart.file, func(t *testing.T) {
					all := read(t, chart.svg())
					names := map[string]bool{}
					for _, text := range all {
						names[text.text] = true
					}
					for _, result := range c.r.Results {
						if !names[result.System] {
							t.Fatalf("%s has no label", result.System)
						}
					}
					if !names["commit be488c9, 2026-11-21; a <machine> & more"] {
						t.Error("the source is not named")
					}
				})
			}
		})
	}
}

func TestLongTextsAreCut(t *testing.T) {
	r := sample([]string{"raftpico"}, 1, []int{1, 1000}, nil)
	r.Machine = strings.Repeat("machine ", 40)
	for _, c := range r.charts() {
		read(t, c.svg())
	}
}

func TestLinesAreLabelledAtTheirEnds(t *testing.T) {
	windows := []int{1, 10, 100}
	r := sample([]string{"raftpico", "etcd"}, 3, windows, nil)
	places := func() map[string]words {
		at := map[string]words{}
		for _, w := range read(t, r.charts()[0].svg()) {
			at[w.text] = w
		}
		return at
	}
	at := places()
	if at["etcd"].top-at["raftpico"].top < 40 {
		t.Errorf("not at their ends: %+v", at)
	}
	// A line that ends before the others has no end beside the labels: they become a list.
	r.Results = slices.DeleteFunc(r.Results, func(r Result) bool { return r.System == "etcd" && r.Window == 100 })
	at = places()
	if math.Abs(at["etcd"].top-at["raftpico"].top-22) > 0.1 {
		t.Errorf("no list: %+v", at)
	}
}

func TestOwnSystemsAreStrongest(t *testing.T) {
	r := sample([]string{"etcd", "echo", "raftpico", "uhaha", "raftpico-local"}, 2, []int{1, 10}, nil)
	r.Results[len(r.Results)-1].InMemory = true
	names, looks := r.looks()
	if want := []string{"raftpico", "raftpico-local", "raftpico-local, in memory", "etcd", "uhaha", "echo"}; !slices.Equal(names, want) {
		t.Errorf("the order is %v, want %v", names, want)
	}
	seen := map[look]string{}
	for name, l := range looks {
		if own := strings.HasPrefix(name, "raftpico"); own != (l.width > 2) || own != l.bold {
			t.Errorf("%s: %+v", name, l)
		}
		if other, taken := seen[l]; taken {
			t.Errorf("%s and %s look the same", name, other)
		}
		seen[l] = name
	}
}

func TestChartComparesLikeWithLike(t *testing.T) {
	r := sample([]string{"raftpico", "etcd"}, 2, []int{1, 10, 100}, []int{256})
	other := result("uhaha", Put, 10, 16, 500)
	other.Connections = 100
	again := result("etcd", Put, 10, 16, 777) // of another length: it counts, and not the first
	again.Time *= 2
	r.Results = append(r.Results, other, again)
	all, same := r.most(func(s summary) bool { return s.Kind == Put }, func(l *Load) { l.Window = 0 })
	if got, want := same.String(), "3 servers, values of 16 B, 3 connections"; got != want {
		t.Errorf("the setting is %q, want %q", got, want)
	}
	curves := r.curves(all, byWindow, summary.underWay, summary.rate)
	if len(curves) != 2 || curves[0].name != "raftpico" || curves[1].name != "etcd" {
		t.Fatalf("lines: %+v", curves)
	}
	if got := curves[1].points; len(got) != 3 || got[1] != (plotter.XY{X: 10, Y: 777}) {
		t.Errorf("points: %v", got)
	}
}

func TestSettingOfThreeServersIsPreferred(t *testing.T) {
	r := sample([]string{"raftpico"}, 2, []int{1, 10}, nil)
	for _, servers := range []int{1, 5} {
		for _, result := range r.Results[:6] {
			result.Servers = servers
			r.Results = append(r.Results, result)
		}
	}
	_, same := r.most(func(summary) bool { return true }, func(l *Load) { l.Window, l.Kind = 0, "" })
	if same.servers != 3 {
		t.Errorf("%d servers are shown", same.servers)
	}
}

func TestFloorIsTheMedianOfAsManyWriters(t *testing.T) {
	r := sample(nil, 1, nil, []int{16, 4096})
	floor := r.floor(3, []float64{16, 256, 4096})
	if want := (plotter.XYs{{X: 16, Y: 1001 * 16 / 1e6}, {X: 4096, Y: 1001 * 4096 / 1e6}}); !slices.Equal(floor.points, want) {
		t.Errorf("the floor is %v, want %v", floor.points, want)
	}
	if floor := r.floor(5, []float64{16}); floor.points != nil {
		t.Errorf("a floor of 5 writers: %v", floor.points)
	}
}

func TestDrawTakesReportsTogether(t *testing.T) {
	dir := t.TempDir()
	keep := func(name string, r *Report) string {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	// Only together do they have two windows.
	a, b := sample([]string{"raftpico"}, 1, []int{1}, nil), sample([]string{"raftpico", "etcd"}, 2, []int{1000}, nil)
	b.Commit, b.Began = "fcd038b", b.Began.AddDate(0, 0, 1)
	out := filepath.Join(dir, "charts")
	if err := drawReports([]string{keep("a.json", a), keep("b.json", b), out}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"throughput-put.svg", "latency-put.svg", "rates-1000.svg"} {
		picture, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		read(t, picture)
		if want := "commit be488c9 / fcd038b, 2026-11-22; a &lt;machine&gt; &amp; more"; !strings.Contains(string(picture), want) {
			t.Errorf("%s does not say %q", name, want)
		}
	}
}

func TestDrawSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.json")
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := drawReports([]string{dir}); err == nil || !strings.Contains(err.Error(), "usage") {
		t.Errorf("without reports: %v", err)
	}
	if err := drawReports([]string{filepath.Join(dir, "none.json"), dir}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such report: %v", err)
	}
	if err := drawReports([]string{broken, dir}); err == nil || !strings.Contains(err.Error(), "broken.json") {
		t.Errorf("a broken report: %v", err)
	}
}
