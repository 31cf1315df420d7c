package main

import (
	"math"
	"slices"
	"strconv"

	"github.com/dustin/go-humanize"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
)

// axis is a scale. Without a format it shows no figures.
type axis struct {
	title  string
	log    bool
	ticks  []float64 // nil: chosen
	format func(float64) string
}

// set gives a plot's axis this scale.
func (a axis) set(to *plot.Axis, label text.Style) {
	to.LineStyle.Width, to.Tick.Length, to.Tick.LineStyle.Width = 0, 0, 0
	to.Tick.Label, to.Tick.Marker, to.Padding = label, a, 6
	if a.log {
		to.Scale = plot.LogScale{}
	}
}

// round widens the range of a plot's axis, when everything has been added to it, to whole ticks.
func (a axis) round(to *plot.Axis) {
	switch {
	case !a.log:
		to.Min = 0
	case a.ticks != nil:
		to.Min, to.Max = min(to.Min, a.ticks[0]), max(to.Max, a.ticks[len(a.ticks)-1])
	default:
		to.Min, to.Max = nice(to.Min, false), nice(to.Max, true)
		if to.Min == to.Max {
			to.Max *= 10
		}
	}
}

// Ticks are those given, or 1, 2 and 5 times powers of ten where there is room, on a scale that is not logarithmic whatever
// gonum chooses. It makes axis a plot.Ticker.
func (a axis) Ticks(low, high float64) (ticks []plot.Tick) {
	values := a.ticks
	switch {
	case values != nil:
	case a.log:
		for v := nice(low, true); v <= high*1.0001; v = nice(v*1.5, true) {
			values = append(values, v)
		}
		decades := slices.DeleteFunc(slices.Clone(values), func(v float64) bool {
			power := math.Log10(v)
			return math.Abs(power-math.Round(power)) > 1e-6
		})
		if len(values) > 12 && len(decades) > 1 { // 2 and 5 between them would be too many
			values = decades
		}
	default:
		for _, t := range (plot.DefaultTicks{}).Ticks(low, high) {
			if t.Label != "" {
				values = append(values, t.Value)
			}
		}
	}
	last := math.Inf(-1) // the place of the last text, from 0 to 1
	for _, v := range values {
		t := plot.Tick{Value: v, Label: " "} // without a label it would be a minor one, and have no line in the grid
		place := (v - low) / (high - low)
		if a.log {
			place = math.Log(v/low) / math.Log(high/low)
		}
		if a.format != nil && (a.ticks == nil || place > last+crowded) {
			t.Label, last = a.format(v), place
		}
		ticks = append(ticks, t)
	}
	return ticks
}

// crowded is how much of a scale a text takes at most.
const crowded = 0.1

// nice is the nearest 1, 2 or 5 times a power of ten, not below v or not above it.
func nice(v float64, up bool) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	steps := []float64{1, 2, 5, 10}
	if up {
		i := slices.IndexFunc(steps, func(s float64) bool { return s*power >= v*0.9999 })
		return steps[i] * power
	}
	slices.Reverse(steps)
	i := slices.IndexFunc(steps, func(s float64) bool { return s*power <= v*1.0001 })
	return steps[i] * power
}

// number writes 950, 10k, 1.2M: three digits.
func number(v float64) string {
	if v < 1 {
		return strconv.FormatFloat(v, 'g', 3, 64) // not 50m
	}
	value, unit := humanize.ComputeSI(v)
	if value >= 999.5 { // which would be written 1e+03
		value, unit = humanize.ComputeSI(v * 1.001)
	}
	return strconv.FormatFloat(value, 'g', 3, 64) + unit
}

// byteSize writes 16 B, 4.0 KiB.
func byteSize(v float64) string { return humanize.IBytes(uint64(v)) }

// nanoseconds writes 100 µs, 1 ms.
func nanoseconds(v float64) string { return humanize.SIWithDigits(v/1e9, 2, "s") }
