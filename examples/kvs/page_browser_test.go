package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/internal/browser"
)

// tab is the page in a headless browser.
type tab struct{ *browser.Tab }

// openPage opens the page of a server at base, in a tab of its own.
func openPage(t *testing.T, chromium context.Context, base string) tab {
	t.Helper()
	return tab{browser.Page(t, chromium, base, `document.getElementById("count").textContent && document.querySelectorAll("#members tr").length`)}
}

// says waits for what the page tells of a change.
func (p tab) says(words string) {
	p.T.Helper()
	p.Waits(`document.getElementById("said").textContent.includes(` + string(quote(words)) + `)`)
}

// writes puts text into a field in the place of what is there.
func (p tab) writes(id, text string) {
	p.T.Helper()
	p.Do(chromedp.Focus(chromedp.CSS("#"+id), chromedp.NodeVisible),
		chromedp.Evaluate[chromedp.Void](`document.getElementById("`+id+`").select()`), chromedp.KeyEvent(kb.Delete), chromedp.KeyEvent(text))
}

// opens opens a key that is in the list.
func (p tab) opens(key string) {
	p.T.Helper()
	find := `[...document.querySelectorAll("#list button")].find(b => b.textContent === ` + string(quote(key)) + `)`
	p.Waits(find)
	p.Do(chromedp.Evaluate[chromedp.Void](find + ".click()"))
	p.Waits(`document.getElementById("key").value === ` + string(quote(strings.ReplaceAll(key, "\n", ""))) + ` && !document.getElementById("editor").hidden`)
}

// listed are the keys in the list.
func (p tab) listed() []string {
	return browser.JS[[]string](p.Tab, `[...document.querySelectorAll("#list button")].map(b => b.textContent)`)
}

// size makes the window that large; a narrow one is a telephone's.
func (p tab) size(width, height int64) {
	p.T.Helper()
	browser.Send(p.Tab, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600})
}

// serveAt serves HTTP at an address until the test or the returned server ends.
func serveAt(t *testing.T, addr string, h http.Handler) *httptest.Server {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
	return s
}
