package web_test

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

var pictures = flag.String("pictures", "", "where the tests of the page leave pictures of it; empty: nowhere")

// openBrowser starts a headless browser for a test and its subtests. Where REQUIRE_CHROMIUM is set, there must be one.
func openBrowser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		require.Empty(t, os.Getenv("REQUIRE_CHROMIUM"), "there is no Chromium here")
		t.Skip("the page is tested in Chromium, and there is none here (Debian: apt-get install chromium)")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1280, 900))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, end := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // a browser that has crashed has failed the test elsewhere
		end()
		stop()
	})
	require.NoError(t, chromedp.Do(ctx))
	return ctx
}

// tab is the page in a headless browser. What the page should never do is noted: it fails the test at its end.
type tab struct {
	t    *testing.T
	ctx  context.Context
	mu   sync.Mutex
	seen []string // requests, and complaints of the browser
}

// openPage opens the page of a server at base, in a tab of its own.
func openPage(t *testing.T, browser context.Context, base string) *tab {
	t.Helper()
	limited, end := context.WithTimeout(browser, 2*time.Minute)
	ctx, closeTab := chromedp.NewContext(limited)
	p := &tab{t: t, ctx: ctx}
	t.Cleanup(func() {
		closeTab()
		end()
	})
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			if url := e.Request.URL; !strings.HasPrefix(url, base+"/") && !strings.HasPrefix(url, "data:") {
				p.note("asked for " + url)
			}
		case *runtime.EventExceptionThrown:
			p.note("threw " + e.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			if e.Entry.Source != log.EntrySourceNetwork { // a server that is away, and answers that are errors, are noted there
				p.note(e.Entry.Text)
			}
		}
	}))
	send(p, network.Enable, network.EnableParams{})
	send(p, log.Enable, cdp.Empty{})
	p.do(chromedp.Navigate(base + "/"))
	p.waits(`document.getElementById("node").textContent`)
	t.Cleanup(func() { require.Empty(t, p.noted(), "what the page did") })
	return p
}

func (p *tab) note(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, what)
}

func (p *tab) noted() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	require.NoError(p.t, chromedp.Do(p.ctx, actions...))
}

// send sends the browser a command of its protocol.
func send[P, R any](p *tab, command cdp.Command[P, R], params P) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, command, params)
	require.NoError(p.t, err)
}

// js evaluates an expression.
func js[T any](p *tab, expression string) T {
	p.t.Helper()
	value, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	require.NoError(p.t, err, expression)
	return value
}

// content is the text of an element.
func (p *tab) content(id string) string {
	p.t.Helper()
	return js[string](p, `document.getElementById("`+id+`").textContent`)
}

// waits waits until an expression is true.
func (p *tab) waits(expression string) {
	p.t.Helper()
	for end := time.Now().Add(patience); !js[bool](p, "!!("+expression+")"); time.Sleep(10 * time.Millisecond) {
		require.True(p.t, time.Now().Before(end), "it never came: %s\nthe page says %q", expression, p.content("done"))
	}
}

// press clicks.
func (p *tab) press(selector string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// writes puts text into a field in the place of what is there.
func (p *tab) writes(id, text string) {
	p.t.Helper()
	p.do(chromedp.SetValue(chromedp.CSS("#"+id), text))
}

// picture makes the window that large, in light or dark, and saves what the page looks like, if that is wanted. Nothing of the
// page may stand out of a window.
func (p *tab) picture(name string, width, height int64, dark bool) {
	p.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	send(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600})
	send(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	p.waits(`document.documentElement.clientWidth <= ` + itoa(width))
	require.LessOrEqual(p.t, js[int64](p, `document.documentElement.scrollWidth`), width, name)
	if *pictures != "" {
		time.Sleep(1200 * time.Millisecond) // for charts with another point
		png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
		require.NoError(p.t, err)
		require.NoError(p.t, os.WriteFile(filepath.Join(*pictures, name+".png"), png, 0o600))
	}
}
