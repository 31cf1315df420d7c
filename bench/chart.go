package main

import (
	"bytes"
	"cmp"
	"image/color"
	"math"
	"slices"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Line charts and bar charts as SVG, drawn by gonum's plot. They bring a white ground along, because the page may be light
// or dark, and no script, font or link. Lengths are pixels of the picture, from the lower left.

const (
	chartWidth = 760
	margin     = 22
	textSize   = 13
	smallSize  = 12
)

var (
	dark       = rgb(0x24292f)
	faint      = rgb(0x57606a)
	gridColour = rgb(0xdfe3e8)
)

func rgb(hex uint32) color.RGBA {
	return color.RGBA{uint8(hex >> 16), uint8(hex >> 8), uint8(hex), 255}
}

// look is how the figures of one name are drawn.
type look struct {
	colour color.RGBA
	width  vg.Length // of a line
	dashed bool
	mark   int // which of marks, from 1; 0: none
	bold   bool
}

// marks are the shapes at the points of a line, so that colours alone need not tell lines apart.
var marks = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{},
	polygon{{X: 0, Y: -1.1}, {X: 1.1, Y: 0}, {X: 0, Y: 1.1}, {X: -1.1, Y: 0}}, polygon{{X: 0, Y: -1}, {X: 0.87, Y: 0.5}, {X: -0.87, Y: 0.5}}}

// polygon is a mark, in radii.
type polygon []vg.Point

func (p polygon) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, at vg.Point) {
	var corners []vg.Point
	for _, corner := range p {
		corners = append(corners, at.Add(corner.Scale(s.Radius)))
	}
	c.FillPolygon(s.Color, corners)
}

func (l look) line() draw.LineStyle {
	s := draw.LineStyle{Color: l.colour, Width: l.width}
	if l.dashed {
		s.Dashes = []vg.Length{6, 4}
	}
	return s
}

func (l look) glyph() draw.GlyphStyle {
	return draw.GlyphStyle{Color: l.colour, Radius: 4.5, Shape: marks[(l.mark-1)%len(marks)]}
}

// style is that of a text.
func style(size float64, bold bool, colour color.Color, x text.XAlignment, y text.YAlignment) text.Style {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Length(size)}
	if bold {
		f.Weight = xfont.WeightBold
	}
	return text.Style{Color: colour, Font: f, XAlign: x, YAlign: y, Handler: plot.DefaultTextHandler}
}

// curve is a line of a chart. Without a name it has no label.
type curve struct {
	name string
	look
	points plotter.XYs
}

// lineChart is a chart of lines. About stands below the title, source at the foot.
type lineChart struct {
	title, about, source string
	x, y                 axis
	curves               []curve // the first is drawn over the others
}

func (c lineChart) svg() []byte {
	pic := newPicture(440, c.title, c.about, c.source)
	p := newPlot(c.x, c.y)
	room := vg.Length(0) // for labels, at the right
	for _, line := range slices.Backward(c.curves) {
		l := plotter.Line{XYs: line.points, LineStyle: line.line()}
		p.Add(&l)
		if line.mark > 0 {
			p.Add(&plotter.Scatter{XYs: line.points, GlyphStyle: line.glyph()})
		}
		room = max(room, label(line).Width(line.name)+40)
	}
	c.x.round(&p.X)
	c.y.round(&p.Y)
	area := draw.Crop(pic.Canvas, margin, -margin-room, 42, -92)
	pic.FillText(style(smallSize, false, faint, text.XLeft, text.YBottom), vg.Point{X: margin, Y: area.Max.Y + 10}, c.y.title)
	p.Draw(area)
	c.labels(pic.Canvas, p, p.DataCanvas(area))
	return pic.svg()
}

func label(line curve) text.Style { return style(textSize, line.bold, dark, text.XLeft, text.YCenter) }

// labels names the lines: at their ends if those are at the right and far enough from each other, and in a list if not.
func (c *lineChart) labels(to draw.Canvas, p *plot.Plot, data draw.Canvas) {
	x, y := p.Transforms(&data)
	var named []curve
	var ends []float64
	atEnds := true
	for _, line := range c.curves {
		if line.name != "" {
			last := line.points[len(line.points)-1]
			named, ends = append(named, line), append(ends, float64(y(last.Y)))
			atEnds = atEnds && x(last.X) > data.Max.X-1
		}
	}
	places := spread(ends, 18, float64(data.Min.Y), float64(data.Max.Y))
	for i := range places {
		atEnds = atEnds && math.Abs(places[i]-ends[i]) < 30
	}
	right := data.Max.X
	for i, line := range named {
		at := vg.Length(places[i])
		if atEnds {
			thin := draw.LineStyle{Color: line.colour, Width: 1}
			to.StrokeLines(thin, []vg.Point{{X: right + 7, Y: vg.Length(ends[i])}, {X: right + 16, Y: vg.Length(ends[i])}, {X: right + 28, Y: at}, {X: right + 34, Y: at}})
		} else {
			at = data.Max.Y - 8 - 22*vg.Length(i)
			to.StrokeLine2(line.line(), right+8, at, right+34, at)
			if line.mark > 0 {
				to.DrawGlyph(line.glyph(), vg.Point{X: right + 21, Y: at})
			}
		}
		to.FillText(label(line), vg.Point{X: right + 38, Y: at}, line.name)
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

// newPlot is an empty plot with a grid and no ground.
func newPlot(x, y axis) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	x.set(&p.X, style(smallSize, false, dark, text.XCenter, text.YTop))
	p.X.Label.Text, p.X.Label.TextStyle = x.title, style(smallSize, false, faint, text.XCenter, text.YBottom)
	p.X.Label.Padding = 6
	y.set(&p.Y, style(smallSize, false, dark, text.XRight, text.YCenter))
	grid := plotter.NewGrid()
	grid.Horizontal = draw.LineStyle{Color: gridColour, Width: 1}
	grid.Vertical = grid.Horizontal
	p.Add(grid)
	return p
}

// picture is what all charts have: ground, title, what was measured, source.
type picture struct {
	draw.Canvas
	file *vgsvg.Canvas
}

func newPicture(height vg.Length, title, about, source string) picture {
	file := vgsvg.New(chartWidth, height)
	p := picture{draw.New(file), file}
	frame := []vg.Point{{X: 0.5, Y: 0.5}, {X: chartWidth - 0.5, Y: 0.5}, {X: chartWidth - 0.5, Y: height - 0.5}, {X: 0.5, Y: height - 0.5}, {X: 0.5, Y: 0.5}}
	p.FillPolygon(color.White, frame)
	p.StrokeLines(draw.LineStyle{Color: rgb(0xd0d7de), Width: 1}, frame)
	p.text(style(17, true, dark, text.XLeft, text.YBottom), height-38, title)
	p.text(style(smallSize, false, faint, text.XLeft, text.YBottom), height-58, about)
	p.text(style(smallSize, false, faint, text.XLeft, text.YBottom), 12, source)
	return p
}

// text is cut where the picture ends.
func (p picture) text(s text.Style, y vg.Length, line string) {
	if room := vg.Length(chartWidth - 2*margin); s.Width(line) > room {
		runes := []rune(line)
		for s.Width(string(runes)+"…") > room {
			runes = runes[:len(runes)-1]
		}
		line = string(runes) + "…"
	}
	p.FillText(s, vg.Point{X: margin, Y: y}, line)
}

// svg is the picture's file. Arial and Helvetica are as wide as Liberation Sans, by which gonum has measured.
func (p picture) svg() []byte {
	var b bytes.Buffer
	_, _ = p.file.WriteTo(&b) // a buffer takes everything
	return bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
}
