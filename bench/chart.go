package main

import (
	"bytes"
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Line charts and bar charts as SVG. They bring a white ground along, because the page may be light or dark, and no script,
// font or link. All measures are pixels, from the upper left.

const (
	chartWidth = 760
	margin     = 22
	textSize   = 13
	smallSize  = 12
	dark       = "#24292f"
	faint      = "#57606a"
	gridColour = "#dfe3e8"
)

// look is how the figures of one name are drawn.
type look struct {
	colour string
	width  float64 // of a line
	dashed bool
	mark   int // which of marks, from 1; 0: none
	bold   bool
}

// marks are the shapes at the points of a line, around its point, so that colours alone need not tell lines apart.
var marks = []string{
	"m-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z", // circle
	"m-3.5,-3.5h7v7h-7z",                  // square
	"m0,-4.5l4.5,8h-9z",                   // triangle
	"m0,-5l5,5l-5,5l-5,-5z",               // diamond
	"m0,4.5l4.5,-8h-9z",                   // triangle upside down
}

type point struct{ x, y float64 }

// curve is a line of a chart. Without a name it has no label.
type curve struct {
	name string
	look
	points []point
}

// axis is a scale. Ticks are chosen if there are none.
type axis struct {
	title  string
	log    bool
	ticks  []float64
	format func(float64) string

	low, high float64 // values
	from, to  float64 // their places
}

// at is the place of a value.
func (a *axis) at(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		v, low, high = math.Log(v), math.Log(low), math.Log(high)
	}
	return a.from + (v-low)/(high-low)*(a.to-a.from)
}

// fit sets the range from the values to be shown, and the ticks. A scale that is not logarithmic begins at 0.
func (a *axis) fit(values []float64) {
	a.low, a.high = slices.Min(values), slices.Max(values)
	switch {
	case !a.log:
		a.low = 0
		step := nice(a.high/5, true)
		a.high = math.Ceil(a.high/step) * step
		for v := 0.0; v <= a.high*1.001; v += step {
			a.ticks = append(a.ticks, v)
		}
	case a.ticks != nil: // what is shown ends where the ticks do
		a.low, a.high = min(a.low, a.ticks[0]), max(a.high, a.ticks[len(a.ticks)-1])
	default:
		a.low, a.high = nice(a.low, false), nice(a.high, true)
		if a.low == a.high {
			a.high *= 10
		}
		a.ticks = []float64{a.low}
		for v := a.low; v < a.high*0.999; a.ticks = append(a.ticks, v) {
			v = nice(v*1.5, true)
		}
		decades := slices.DeleteFunc(slices.Clone(a.ticks), func(v float64) bool {
			power := math.Log10(v)
			return math.Abs(power-math.Round(power)) > 1e-6
		})
		if len(a.ticks) > 12 && len(decades) > 1 { // 2 and 5 between them would be too many
			a.ticks = decades
		}
	}
}

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

// number writes 950, 10k, 1.2M.
func number(v float64) string {
	for _, unit := range []struct {
		of   float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if v >= unit.of*0.9995 {
			return strconv.FormatFloat(v/unit.of, 'g', 3, 64) + unit.name
		}
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// byteSize writes 16 B, 4 KiB.
func byteSize(v float64) string {
	const unit = 1024
	switch n := int64(v); {
	case n >= unit*unit && n%(unit*unit) == 0:
		return fmt.Sprint(n/unit/unit, " MiB")
	case n >= unit && n%unit == 0:
		return fmt.Sprint(n/unit, " KiB")
	case v < 1000:
		return number(v) + " B"
	}
	s := number(v)
	return s[:len(s)-1] + " " + s[len(s)-1:] + "B"
}

// nanoseconds writes 100 µs, 1 ms.
func nanoseconds(v float64) string {
	if v >= 1e9 {
		return number(v/1e9) + " s" // Duration would write minutes
	}
	s := time.Duration(v).String()
	i := strings.IndexFunc(s, func(c rune) bool { return c != '.' && (c < '0' || c > '9') })
	return s[:i] + " " + s[i:]
}

// lineChart is a chart of lines. About stands below the title, source at the foot.
type lineChart struct {
	title, about, source string
	x, y                 axis
	curves               []curve // the first is drawn over the others
}

func (c lineChart) svg() []byte {
	const height, top, bottom, inset = 440, 98, 440 - 76, 14
	var xs, ys []float64
	room := 0.0 // for labels, at the right
	for _, line := range c.curves {
		room = max(room, textWidth(line.name, textSize, line.bold)+36)
		for _, p := range line.points {
			xs, ys = append(xs, p.x), append(ys, p.y)
		}
	}
	c.x.fit(xs)
	c.y.fit(ys)
	left := margin + 8.0
	for _, v := range c.y.ticks {
		left = max(left, margin+textWidth(c.y.format(v), smallSize, false)+8)
	}
	right := chartWidth - margin - room
	c.x.from, c.x.to, c.y.from, c.y.to = left+inset, right-inset, bottom, top

	s := newSVG(height, c.title, c.about, c.source)
	s.text(margin, top-18, "start", smallSize, false, faint, c.y.title)
	for _, v := range c.y.ticks {
		s.rule(left, c.y.at(v), right, c.y.at(v))
		s.text(left-8, c.y.at(v)+4, "end", smallSize, false, dark, c.y.format(v))
	}
	s.ticks(&c.x, top, bottom)
	s.rule(left, bottom, right, bottom)
	s.text((left+right)/2, bottom+38, "middle", smallSize, false, faint, c.x.title)

	for _, line := range slices.Backward(c.curves) {
		var places []point
		for _, p := range line.points {
			places = append(places, point{c.x.at(p.x), c.y.at(p.y)})
		}
		s.line(line.look, places)
		s.marks(line.look, places)
	}
	c.labels(s, right)
	return s.end()
}

// labels names the lines: at their ends if those are at the right and far enough from each other, and in a list if not.
func (c *lineChart) labels(s *svg, right float64) {
	var named []curve
	var ys []float64
	atEnds := true
	for _, line := range c.curves {
		if line.name != "" {
			last := line.points[len(line.points)-1]
			named, ys = append(named, line), append(ys, c.y.at(last.y))
			atEnds = atEnds && c.x.at(last.x) > c.x.to-1
		}
	}
	places := spread(ys, 18, c.y.to, c.y.from)
	for i := range places {
		atEnds = atEnds && math.Abs(places[i]-ys[i]) < 30
	}
	for i, line := range named {
		if atEnds {
			thin := look{colour: line.colour, width: 1}
			s.line(thin, []point{{c.x.to + 7, ys[i]}, {right, ys[i]}, {right + 12, places[i]}, {right + 18, places[i]}})
			s.text(right+22, places[i]+4.5, "start", textSize, line.bold, dark, line.name)
			continue
		}
		y := c.y.to + 8 + 22*float64(i)
		s.line(line.look, []point{{right + 6, y}, {right + 30, y}})
		s.marks(line.look, []point{{right + 18, y}})
		s.text(right+36, y+4.5, "start", textSize, line.bold, dark, line.name)
	}
}

// spread moves places apart, so that they are a gap from each other and within low and high if there is room.
func spread(places []float64, gap, low, high float64) []float64 {
	moved := slices.Clone(places)
	order := make([]int, len(places))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(places[a], places[b]) })
	for at, i := range order {
		moved[i] = max(moved[i], low+gap*float64(at))
		if at > 0 {
			moved[i] = max(moved[i], moved[order[at-1]]+gap)
		}
	}
	for back, i := range slices.Backward(order) {
		moved[i] = min(moved[i], high-gap*float64(len(order)-1-back))
		if back < len(order)-1 {
			moved[i] = min(moved[i], moved[order[back+1]]-gap)
		}
	}
	return moved
}

// barChart is groups of bars, one below the other, each on a scale of its own that begins at 0.
type barChart struct {
	title, about, source string
	x                    axis // of all groups, but for the range
	groups               []group
}

type group struct {
	name string
	bars []bar
}

type bar struct {
	name string
	look
	value float64
}

func (c barChart) svg() []byte {
	const top, heading, thick, pitch, below = 72.0, 24, 16, 21, 36
	left, height := 0.0, top+44
	for _, g := range c.groups {
		height += heading + pitch*float64(len(g.bars)) + below
		for _, b := range g.bars {
			left = max(left, margin+textWidth(b.name, textSize, b.bold)+10)
		}
	}
	s := newSVG(height, c.title, c.about, c.source)
	y := top
	for _, g := range c.groups {
		s.text(left, y+16, "start", textSize, true, dark, g.name)
		y += heading
		x := c.x
		x.from, x.to = left, chartWidth-margin-50 // room for a figure
		var values []float64
		for _, b := range g.bars {
			values = append(values, b.value)
		}
		x.fit(values)
		s.ticks(&x, y, y+pitch*float64(len(g.bars)))
		for _, b := range g.bars {
			end, figure := x.at(b.value), number(b.value)
			s.text(left-10, y+thick/2+5, "end", textSize, b.bold, dark, b.name)
			s.rect(left, y+1, max(end-left, 1), thick, b.colour)
			s.rect(end+3, y+1, textWidth(figure, smallSize, b.bold)+4, thick, "#ffffff") // hides the grid
			s.text(end+5, y+thick/2+5, "start", smallSize, b.bold, dark, figure)
			y += pitch
		}
		y += below
	}
	s.text((left+chartWidth-margin-50)/2, y+6, "middle", smallSize, false, faint, c.x.title)
	return s.end()
}

// svg is a picture in the making.
type svg struct{ bytes.Buffer }

func newSVG(height float64, title, about, source string) *svg {
	s := &svg{}
	fmt.Fprintf(s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%.0f" viewBox="0 0 %[1]d %.0[2]f" role="img" font-family="system-ui, sans-serif">`+"\n", chartWidth, height)
	fmt.Fprintf(s, "<title>%s</title>\n", html.EscapeString(title))
	fmt.Fprintf(s, `<rect x="0.5" y="0.5" width="%d" height="%.0f" rx="8" fill="#ffffff" stroke="#d0d7de"/>`+"\n", chartWidth-1, height-1)
	s.text(margin, 34, "start", 17, true, dark, title)
	s.text(margin, 55, "start", smallSize, false, faint, about)
	s.text(margin, height-14, "start", smallSize, false, faint, source)
	return s
}

func (s *svg) end() []byte {
	s.WriteString("</svg>\n")
	return s.Bytes()
}

// textWidth is about how wide a text is: fonts differ.
func textWidth(text string, size float64, bold bool) float64 {
	w := 0.6 * size * float64(utf8.RuneCountInString(text))
	if bold {
		w *= 1.08
	}
	return w
}

// text is cut where the picture ends.
func (s *svg) text(x, y float64, anchor string, size float64, bold bool, colour, text string) {
	if room := chartWidth - 4 - x; anchor == "start" && textWidth(text, size, bold) > room {
		text = string([]rune(text)[:int(room/textWidth("n", size, bold))-1]) + "…"
	}
	weight := "normal"
	if bold {
		weight = "bold"
	}
	fmt.Fprintf(s, `<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%g" font-weight="%s" fill="%s">%s</text>`+"\n", x, y, anchor, size, weight, colour, html.EscapeString(text))
}

// rule is a line of the grid.
func (s *svg) rule(x1, y1, x2, y2 float64) {
	fmt.Fprintf(s, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", x1, y1, x2, y2, gridColour)
}

func (s *svg) rect(x, y, width, height float64, colour string) {
	fmt.Fprintf(s, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x, y, width, height, colour)
}

// ticks draws those of a horizontal scale, without texts that would touch.
func (s *svg) ticks(a *axis, top, bottom float64) {
	end := math.Inf(-1) // of the last text
	for _, v := range a.ticks {
		s.rule(a.at(v), top, a.at(v), bottom)
		text := a.format(v)
		half := textWidth(text, smallSize, false) / 2
		if a.at(v)-half > end+6 {
			s.text(a.at(v), bottom+19, "middle", smallSize, false, dark, text)
			end = a.at(v) + half
		}
	}
}

func (s *svg) line(l look, places []point) {
	var path strings.Builder
	for _, p := range places {
		fmt.Fprintf(&path, "%.1f,%.1f ", p.x, p.y)
	}
	dashes := ""
	if l.dashed {
		dashes = ` stroke-dasharray="6 4"`
	}
	fmt.Fprintf(s, `<polyline points="%s" fill="none" stroke="%s" stroke-width="%g" stroke-linejoin="round"%s/>`+"\n", strings.TrimSpace(path.String()), l.colour, l.width, dashes)
}

func (s *svg) marks(l look, places []point) {
	if l.mark == 0 {
		return
	}
	for _, p := range places {
		fmt.Fprintf(s, `<path d="M%.1f,%.1f%s" fill="%s" stroke="#ffffff" stroke-width="0.8"/>`+"\n", p.x, p.y, marks[(l.mark-1)%len(marks)], l.colour)
	}
}
