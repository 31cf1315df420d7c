package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/plot/plotter"
)

// Which charts a report gives. One chart compares like with like: of all the settings that were measured it shows the one
// that was measured most, and says which.

// drawReports draws the charts of earlier reports, taken together: REPORT.json... OUTDIR.
func drawReports(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: bench draw REPORT.json... OUTDIR")
	}
	files, dir := args[:len(args)-1], args[len(args)-1]
	var all Report
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var r Report
		if err := json.Unmarshal(b, &r); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		all.merge(r)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return all.draw(dir)
}

// merge adds what another report found. The date is that of the last.
func (r *Report) merge(o Report) {
	r.Machine, r.Commit = both(r.Machine, o.Machine), both(r.Commit, o.Commit)
	if r.Began.Before(o.Began) {
		r.Began = o.Began
	}
	r.Floors, r.Results = append(r.Floors, o.Floors...), append(r.Results, o.Results...)
}

func both(a, b string) string {
	if a == "" || slices.Contains(strings.Split(a, " / "), b) {
		return cmp.Or(a, b)
	}
	return a + " / " + b
}

// draw writes the charts into a folder.
func (r *Report) draw(dir string) error {
	for _, c := range r.charts() {
		if err := os.WriteFile(filepath.Join(dir, c.file), c.svg(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// chart is a picture in a file.
type chart struct {
	file string
	svg  func() []byte
}

// charts are those for which there are data.
func (r *Report) charts() (all []chart) {
	for _, kind := range []Kind{Put, Get, LocalGet} {
		all = append(all, r.throughput(kind)...)
	}
	all = append(all, r.latency(Put)...)
	all = append(all, r.costs(Put)...)
	return append(all, r.rates(1000)...)
}

var kindNames = map[Kind]string{Put: "Replicated writes", Get: "Linearizable reads", LocalGet: "Local reads, perhaps stale"}

func byWindow(s summary) int { return s.Window }
func bySize(s summary) int   { return s.ValueSize }

func (r *Report) throughput(kind Kind) []chart {
	measured, same := r.most(func(s summary) bool { return s.Kind == kind }, func(l *Load) { l.Window = 0 })
	return drawn(fmt.Sprintf("throughput-%s.svg", kind), lineChart{
		title: fmt.Sprintf("%s (%s): throughput", kindNames[kind], kind), about: same.String(), source: r.source(),
		x:      axis{title: "operations under way", log: true, format: number, ticks: steps(measured, byWindow)},
		y:      axis{title: "operations a second", log: true, format: number},
		curves: r.curves(measured, byWindow, summary.underWay, summary.rate),
	})
}

func (r *Report) latency(kind Kind) []chart {
	measured, same := r.most(func(s summary) bool { return s.Kind == kind }, func(l *Load) { l.Window = 0 })
	windows := steps(measured, byWindow)
	if len(windows) < 2 {
		return nil
	}
	c := lineChart{
		title:  fmt.Sprintf("%s (%s): latency under load", kindNames[kind], kind),
		about:  fmt.Sprintf("%g to %g operations under way, %s", windows[0], windows[len(windows)-1], same),
		source: r.source(),
		x:      axis{title: "operations a second achieved", log: true, format: number},
		y:      axis{title: "latency: p50 thick, p99 thin", log: true, format: nanoseconds},
		curves: r.curves(measured, byWindow, summary.rate, func(s summary) float64 { return float64(s.P50) }),
	}
	for _, tail := range r.curves(measured, byWindow, summary.rate, func(s summary) float64 { return float64(s.P99) }) {
		tail.name, tail.width, tail.mark = "", 1, 0
		c.curves = append(c.curves, tail)
	}
	return drawn(fmt.Sprintf("latency-%s.svg", kind), c)
}

// costs are the disk's and the processor's.
func (r *Report) costs(kind Kind) []chart {
	measured, same := r.most(func(s summary) bool { return s.Kind == kind }, func(l *Load) { l.ValueSize = 0 })
	bytes := lineChart{
		title: fmt.Sprintf("%s (%s): bytes a second", kindNames[kind], kind), about: same.String(), source: r.source(),
		x:      axis{title: "size of a value", log: true, format: byteSize, ticks: steps(measured, bySize)},
		y:      axis{title: "MB/s of values", log: true, format: number},
		curves: r.curves(measured, bySize, summary.size, func(s summary) float64 { return s.rate() * s.size() / 1e6 }),
	}
	cpu := bytes
	cpu.title = fmt.Sprintf("%s (%s): processor time", kindNames[kind], kind)
	cpu.y = axis{title: "CPU time an operation, of all servers and the clients", log: true, format: nanoseconds}
	cpu.curves = r.curves(measured, bySize, summary.size, func(s summary) float64 { return float64(s.CPU + s.ClientCPU) })
	if floor := r.floor(same.servers, bytes.x.ticks); len(bytes.curves) > 0 && len(floor.points) > 1 {
		bytes.curves = append(bytes.curves, floor)
	}
	return append(drawn(fmt.Sprintf("bytes-%s.svg", kind), bytes), drawn(fmt.Sprintf("cpu-%s.svg", kind), cpu)...)
}

// drawn is the chart, if it has lines and not only dots above each other.
func drawn(file string, c lineChart) []chart {
	for _, line := range c.curves {
		if len(line.points) > 1 {
			return []chart{{file, c.svg}}
		}
	}
	return nil
}

// floor is what the disk does for as many writers as there are servers, if each value is synced by itself.
func (r *Report) floor(servers int, sizes []float64) curve {
	c := curve{name: "disk, each synced", look: look{colour: rgb(0x6e7781), width: 2, dashed: true}}
	for _, size := range sizes {
		var rates []float64
		for _, f := range r.Floors {
			if f.Writers == servers && f.Bytes == int(size) {
				rates = append(rates, f.Rate)
			}
		}
		if slices.Sort(rates); len(rates) > 0 {
			c.points = append(c.points, plotter.XY{X: size, Y: rates[len(rates)/2] * size / 1e6})
		}
	}
	return c
}

// rates compares the kinds of operations, with so many under way.
func (r *Report) rates(window int) []chart {
	measured, same := r.most(func(s summary) bool { return s.Window == window }, func(l *Load) { l.Kind, l.Window = "", 0 })
	c := barChart{title: fmt.Sprintf("Throughput with %d operations under way", window), about: same.String() + "; each kind has its own scale", source: r.source(),
		x: axis{title: "operations a second", format: number}}
	for _, kind := range []Kind{Put, Get, LocalGet} {
		g := group{name: fmt.Sprintf("%s (%s)", kindNames[kind], kind)}
		of := slices.DeleteFunc(slices.Clone(measured), func(s summary) bool { return s.Kind != kind })
		for _, line := range r.curves(of, byWindow, summary.underWay, summary.rate) {
			g.bars = append(g.bars, bar{line.name, line.look, line.points[0].Y})
		}
		if len(g.bars) > 0 {
			c.groups = append(c.groups, g)
		}
	}
	if len(c.groups) == 0 {
		return nil
	}
	return []chart{{fmt.Sprintf("rates-%d.svg", window), c.svg}}
}

// setting is what the figures of a chart have in common. What they differ in is zero.
type setting struct {
	servers int
	load    Load
}

func (s setting) String() string {
	facts := []string{fmt.Sprint(s.servers, " servers")}
	if s.load.Window > 0 {
		facts = append(facts, fmt.Sprint(s.load.Window, " operations under way"))
	}
	if s.load.ValueSize > 0 {
		facts = append(facts, "values of "+byteSize(float64(s.load.ValueSize)))
	}
	facts = append(facts, fmt.Sprint(s.load.Connections, " connections"))
	if s.load.Puts > 0 {
		facts = append(facts, fmt.Sprintf("%.0f%% of them writes", 100*s.load.Puts))
	}
	switch {
	case s.load.Leader:
		facts = append(facts, "all to the leader")
	case s.load.Follower:
		facts = append(facts, "all to one follower")
	}
	return strings.Join(facts, ", ")
}

// most are the summaries of the setting that has most of them. Vary clears that in which they may differ.
func (r *Report) most(want func(summary) bool, vary func(*Load)) ([]summary, setting) {
	found := map[setting][]summary{}
	for _, s := range r.summaries() {
		if want(s) {
			same := setting{s.Servers, s.Load}
			same.load.Warm, same.load.Time = 0, 0
			vary(&same.load)
			found[same] = append(found[same], s)
		}
	}
	if len(found) == 0 {
		return nil, setting{}
	}
	best := slices.MaxFunc(slices.Collect(maps.Keys(found)), func(a, b setting) int {
		return cmp.Or(
			cmp.Compare(len(found[a]), len(found[b])),
			-cmp.Compare(max(a.servers-3, 3-a.servers), max(b.servers-3, 3-b.servers)), // three is what most people run
			cmp.Compare(a.load.Window, b.load.Window),
			-cmp.Compare(a.load.ValueSize, b.load.ValueSize),
			-cmp.Compare(a.load.Connections, b.load.Connections),
			-cmp.Compare(a.load.Keys, b.load.Keys),
			strings.Compare(a.String(), b.String()),
		)
	})
	return found[best], best
}

func steps(all []summary, along func(summary) int) (steps []float64) {
	for _, s := range all {
		steps = append(steps, float64(along(s)))
	}
	slices.Sort(steps)
	return slices.Compact(steps)
}

func (s summary) underWay() float64 { return float64(s.Window) }
func (s summary) size() float64     { return float64(s.ValueSize) }

// name tells a system's forms apart.
func (r Result) name() string {
	if r.InMemory {
		return r.System + ", in memory"
	}
	return r.System
}

// curves makes a line of each system, in the order of looks. Points are in the order of along, one for each; of several the last
// counts. What is 0 or unknown is left out.
func (r *Report) curves(all []summary, along func(summary) int, x, y func(summary) float64) (curves []curve) {
	names, looks := r.looks()
	for _, name := range names {
		at := map[int]summary{}
		for _, s := range all {
			if s.name() == name {
				at[along(s)] = s
			}
		}
		c := curve{name: name, look: looks[name]}
		for _, i := range slices.Sorted(maps.Keys(at)) {
			if p := (plotter.XY{X: x(at[i]), Y: y(at[i])}); p.X > 0 && p.Y > 0 {
				c.points = append(c.points, p)
			}
		}
		if len(c.points) > 0 {
			curves = append(curves, c)
		}
	}
	return curves
}

// The colours are those of Okabe and Ito, which the colour-blind tell apart, without yellow, which is not seen on white.
var (
	ownColours   = []color.RGBA{rgb(0xd55e00), rgb(0x0072b2), rgb(0xcc79a7)}
	otherColours = []color.RGBA{rgb(0x009e73), rgb(0xe69f00), rgb(0x56b4e9), rgb(0x000000)}
)

// looks are the same in all charts of a report. Our own systems come first and are strongest; the echo, which is a bound and no
// system, is grey.
func (r *Report) looks() (names []string, looks map[string]look) {
	looks = map[string]look{}
	var own, others, bounds []string
	for _, result := range r.Results {
		name := result.name()
		if _, known := looks[name]; known {
			continue
		}
		switch {
		case name == "echo":
			bounds = append(bounds, name)
			looks[name] = look{colour: rgb(0x6e7781), width: 1.5, dashed: true, mark: 1}
		case strings.HasPrefix(name, "raftpico"):
			looks[name] = look{colour: ownColours[len(own)%len(ownColours)], width: 3.5, mark: len(own) + 1, bold: true, dashed: len(own) >= len(ownColours)}
			own = append(own, name)
		default:
			looks[name] = look{colour: otherColours[len(others)%len(otherColours)], width: 1.8, mark: len(others) + 2, dashed: len(others) >= len(otherColours)}
			others = append(others, name)
		}
	}
	return slices.Concat(own, others, bounds), looks
}

// source is where the figures are from.
func (r *Report) source() string {
	return fmt.Sprintf("commit %s, %s; %s", r.Commit, r.Began.Format(time.DateOnly), r.Machine)
}
