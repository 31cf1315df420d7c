// Package browser drives pages in a headless Chromium, for tests.
package browser

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// patience bounds how long a page may take for what takes it a moment.
const patience = time.Minute

var pictures = flag.String("pictures", "", "where the tests of the page leave pictures of it; empty: nowhere")

// Open starts a headless browser for a test and its subtests. Where REQUIRE_CHROMIUM is set, there must be one.
func Open(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"google-chrome", "chromium-browser", "chromium"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
		}
	}
	if path == "" {
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

// Tab is a page in a headless browser, for one test. What the page should never do is noted: it fails the test at its end.
type Tab struct {
	T    *testing.T
	ctx  context.Context
	mu   sync.Mutex
	seen []string // requests, and complaints of the browser
}

// Page opens the page at base, in a tab of its own, and waits until the JavaScript expression loaded is true.
func Page(t *testing.T, browser context.Context, base, loaded string) *Tab {
	t.Helper()
	limited, end := context.WithTimeout(browser, 5*time.Minute)
	ctx, closeTab := chromedp.NewContext(limited)
	p := &Tab{T: t, ctx: ctx}
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
	Send(p, network.Enable, network.EnableParams{})
	Send(p, log.Enable, cdp.Empty{})
	p.Do(chromedp.Navigate(base + "/"))
	p.Waits(loaded)
	t.Cleanup(func() { require.Empty(t, p.Noted(), "what the page did") })
	return p
}

func (p *Tab) note(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, what)
}

// Noted returns what the page has done that it should not, and forgets it.
func (p *Tab) Noted() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = nil
	return seen
}

func (p *Tab) Do(actions ...chromedp.Action[chromedp.Void]) {
	p.T.Helper()
	require.NoError(p.T, chromedp.Do(p.ctx, actions...))
}

// Send sends the browser a command of its protocol.
func Send[P, R any](p *Tab, command cdp.Command[P, R], params P) {
	p.T.Helper()
	_, err := chromedp.Call(p.ctx, command, params)
	require.NoError(p.T, err)
}

// JS evaluates an expression.
func JS[T any](p *Tab, expression string) T {
	p.T.Helper()
	value, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	require.NoError(p.T, err, expression)
	return value
}

// Content is the text of an element.
func (p *Tab) Content(id string) string {
	p.T.Helper()
	return JS[string](p, `document.getElementById("`+id+`").textContent`)
}

// Waits waits until an expression is true.
func (p *Tab) Waits(expression string) {
	p.T.Helper()
	for end := time.Now().Add(patience); !JS[bool](p, "!!("+expression+")"); time.Sleep(10 * time.Millisecond) {
		require.True(p.T, time.Now().Before(end), "it never came: %s\nthe page says %q", expression, JS[string](p, `document.body.innerText`))
	}
}

// Press clicks. Where the page draws the element anew between a look at it and the click, it looks again.
func (p *Tab) Press(selector string) {
	p.T.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if err = chromedp.Do(p.ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible)); err == nil || !strings.Contains(err.Error(), "Could not find node with given id") {
			break
		}
	}
	require.NoError(p.T, err, selector)
}

// Picture makes the window that large, in light or dark, and saves what the page looks like, if that is wanted. Nothing of the
// page may stand out of a window.
func (p *Tab) Picture(name string, width, height int64, dark bool) {
	p.T.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	Send(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600})
	Send(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	p.Waits(`document.documentElement.clientWidth <= ` + strconv.FormatInt(width, 10))
	require.LessOrEqual(p.T, JS[int64](p, `document.documentElement.scrollWidth`), width, name)
	if *pictures != "" {
		time.Sleep(1200 * time.Millisecond) // for charts with another point
		png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
		require.NoError(p.T, err)
		require.NoError(p.T, os.WriteFile(filepath.Join(*pictures, name+".png"), png, 0o600))
	}
}
