package main

import (
	_ "embed"

	pages "github.com/raftpico/go/raftpico/web"
)

//go:embed page/index.html
var pageHTML []byte

// showPage is for browsers. It has its own script and style in it.
var showPage = pages.Page(pageHTML)
