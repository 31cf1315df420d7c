package main

import (
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

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
	const top, foot, pitch, around = 72, 42, 22, 54
	most, rows := 0, len(c.groups)
	for _, g := range c.groups {
		most = max(most, len(g.bars))
	}
	pic := newPicture(vg.Length(top+foot+rows*(most*pitch+around)), c.title, c.about, c.source)
	plots := make([][]*plot.Plot, rows)
	for i, g := range c.groups {
		x := c.x
		if i < rows-1 {
			x.title = ""
		}
		plots[i] = []*plot.Plot{g.plot(x)}
	}
	area := draw.Crop(pic.Canvas, margin, -margin, foot, -top)
	tiles := draw.Tiles{Rows: rows, Cols: 1, PadY: 12}
	for i, canvas := range plot.Align(plots, tiles, area) {
		plots[i][0].Draw(canvas[0])
		data := plots[i][0].DataCanvas(canvas[0])
		pic.FillText(style(textSize, true, dark, text.XLeft, text.YBottom), vg.Point{X: data.Min.X, Y: data.Max.Y + 4}, c.groups[i].name)
	}
	return pic.svg()
}

// plot has the first bar at the top.
func (g group) plot(x axis) *plot.Plot {
	p := newPlot(x, axis{ticks: []float64{}})
	p.Title.Text, p.Title.TextStyle = " ", style(textSize, true, dark, text.XLeft, text.YBottom) // room: barChart writes it
	for i, b := range g.bars {
		at := float64(-i)
		p.Add(&plotter.BarChart{Values: plotter.Values{b.value}, Width: 16, Color: b.colour, XMin: at, Horizontal: true})
		p.Add(note(plotter.XY{X: 0, Y: at}, -12, style(textSize, b.bold, dark, text.XRight, text.YCenter), b.name))
		p.Add(note(plotter.XY{X: b.value, Y: at}, 5, style(smallSize, b.bold, dark, text.XLeft, text.YCenter), number(b.value)))
	}
	p.X.Min, p.X.Padding = 0, 0
	p.Y.Min, p.Y.Max = 0.5-float64(len(g.bars)), 0.5
	return p
}

func note(at plotter.XY, right vg.Length, s text.Style, what string) *plotter.Labels {
	return &plotter.Labels{XYs: plotter.XYs{at}, Labels: []string{what}, TextStyle: []text.Style{s}, Offset: vg.Point{X: right}}
}
