package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/internal/browser"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/memnet"
)

// TestPage drives the page in a browser.
func TestPage(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds; runs without -short")
	}
	chromium := browser.Open(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"BrowsesKeys":              testPageBrowsesKeys,
		"ChangesAddsAndDeletes":    testPageChangesAddsAndDeletes,
		"KeepsEveryValue":          testPageKeepsEveryValue,
		"RunsNothingOfWhatItShows": testPageRunsNothingOfWhatItShows,
		"WatchesTheCluster":        testPageWatchesTheCluster,
		"TellsWhatIsNotKnown":      testPageTellsWhatIsNotKnown,
		"FitsAndHasNames":          testPageFitsAndHasNames,
	} {
		t.Run(name, func(t *testing.T) { test(t, chromium) })
	}
}

func testPageBrowsesKeys(t *testing.T, chromium context.Context) {
	s := newSite(t)
	for i := range 230 {
		s.apply(fmt.Sprintf(`{"Put":["user/%03d",%d]}`, i, i))
	}
	s.apply(`{"Put":["other","x"]}`)
	p := openPage(t, chromium, s.http.URL)
	require.Len(t, p.listed(), 100)
	require.Equal(t, "other", p.listed()[0])
	require.Equal(t, "The first 100 keys", p.Content("count"))
	p.writes("prefix", "user/")
	p.Waits(`document.querySelector("#list button").textContent === "user/000"`)
	p.Press("#more")
	p.Waits(`document.querySelectorAll("#list button").length === 200`)
	require.Equal(t, "user/100", browser.JS[string](p.Tab, `document.activeElement.textContent`), "the focus goes on to the first new one")
	p.Press("#more")
	p.Waits(`document.querySelectorAll("#list button").length === 230 && document.getElementById("more").hidden`)
	require.Equal(t, "user/229", p.listed()[229])
	p.writes("prefix", "user/22")
	p.Waits(`document.getElementById("count").textContent === "10 keys"`)
	p.writes("prefix", "nobody")
	p.Waits(`document.getElementById("count").textContent === "No such key"`)
	require.Empty(t, p.listed())
	s.apply(`{"Put":["nobody","x"]}`)
	p.Press("#search button")
	p.Waits(`document.getElementById("count").textContent === "1 key"`)
}

func testPageChangesAddsAndDeletes(t *testing.T, chromium context.Context) {
	s := newSite(t)
	s.apply(`{"Put":["a","one"]}`)
	p := openPage(t, chromium, s.http.URL)
	get := func(key string) string { return s.apply(`{"Get":` + string(quote(key)) + `}`) }

	p.opens("a")
	p.Waits(`document.getElementById("value").value === "one"`)
	p.writes("value", "two\nlines & ümlauts 😀")
	p.Press("#save")
	p.says("Saved.")
	require.Equal(t, `"two\nlines & ümlauts 😀"`, get("a"))

	s.apply(`{"Put":["a","theirs"]}`) // somebody else, meanwhile
	p.writes("value", "mine")
	p.Press("#save")
	p.says("changed this key meanwhile")
	require.Equal(t, `"theirs"`, get("a"))
	p.Press("#reload")
	p.Waits(`document.getElementById("value").value === "theirs"`)

	p.Press("#add")
	require.Equal(t, "key", browser.JS[string](p.Tab, `document.activeElement.id`))
	p.Press("#save")
	p.says("The key is missing.")
	p.writes("key", "a")
	p.writes("value", "mine")
	p.Press("#save")
	p.says("There is such a key already.")
	require.Equal(t, `"theirs"`, get("a"))
	p.writes("key", " b/✓ ")
	p.Press("#save")
	p.says("Saved.")
	require.Equal(t, `"mine"`, get(" b/✓ "))
	p.opens("a")
	p.opens(" b/✓ ")

	p.Do(chromedp.SetValue(chromedp.CSS("#kind"), "json"))
	p.writes("value", "{oops")
	p.Press("#save")
	p.says("value is not JSON")
	p.writes("value", `{"n": 1}`)
	p.Press("#save")
	p.says("Saved.")
	require.Equal(t, `{"n":1}`, get(" b/✓ "))

	p.Press("#delete")
	p.Waits(`document.getElementById("confirm").open`)
	require.Equal(t, "Keep it", browser.JS[string](p.Tab, `document.activeElement.textContent`), "a careless Enter deletes nothing")
	require.Contains(t, p.Content("question"), " b/✓ ")
	p.Do(chromedp.KeyEvent(kb.Enter))
	p.Waits(`!document.getElementById("confirm").open`)
	p.Press("#delete")
	p.Waits(`document.getElementById("confirm").open`)
	p.Do(chromedp.KeyEvent(kb.Escape))
	p.Waits(`!document.getElementById("confirm").open`)
	require.Equal(t, `{"n":1}`, get(" b/✓ "))
	p.Press("#delete")
	p.Waits(`document.getElementById("confirm").open`)
	p.Press(`#confirm button[value="yes"]`)
	p.says("Deleted.")
	require.Equal(t, `null`, get(" b/✓ "))
	p.Waits(`document.querySelectorAll("#list button").length === 1`)
}

// Saving what was not changed leaves every value as it is, whatever it holds.
func testPageKeepsEveryValue(t *testing.T, chromium context.Context) {
	s := newSite(t)
	s.apply(`{"Put":["line\nbreak","old"]}`)
	for i, v := range []string{`"text"`, `""`, `"\r\n"`, `"a\u0000b\u2028\u0085"`, `"\n\n"`, `" x "`, `null`, `123456789012345678901234567890`, `{"a":[1.50,"<x>"]}`, `{"$bytes":"/wA="}`, `"{}"`} {
		s.apply(fmt.Sprintf(`{"Put":["v%02d",%s]}`, i, v))
	}
	p := openPage(t, chromium, s.http.URL)
	keys := p.listed()
	for _, key := range keys {
		before := s.apply(fmt.Sprintf(`{"Get":%q}`, key))
		p.opens(key)
		p.Press("#save")
		p.says("Saved.")
		after := s.apply(fmt.Sprintf(`{"Get":%q}`, key))
		var want, got any
		require.NoError(t, json.Unmarshal([]byte(before), &want))
		require.NoError(t, json.Unmarshal([]byte(after), &got))
		require.Equal(t, want, got, "%s became %s", before, after)
	}
	require.Equal(t, keys, p.listed())
}

// Keys and values are text, whatever they look like.
func testPageRunsNothingOfWhatItShows(t *testing.T, chromium context.Context) {
	s := newSite(t)
	evil := []string{`<img src=x onerror="window.hacked=1">`, `"><script>window.hacked=1</script>`, `javascript:window.hacked=1`, `');window.hacked=1;//`, `</textarea><svg onload=window.hacked=1>`}
	for _, key := range evil {
		s.apply(`{"Put":[` + string(quote(key)) + `,` + string(quote(key)) + `]}`)
	}
	p := openPage(t, chromium, s.http.URL)
	require.ElementsMatch(t, evil, p.listed())
	for _, key := range evil {
		p.opens(key)
		p.Waits(`document.getElementById("value").value === ` + string(quote(key)))
		p.Press("#delete")
		p.Waits(`document.getElementById("confirm").open`)
		p.Do(chromedp.KeyEvent(kb.Escape))
		p.Waits(`!document.getElementById("confirm").open`)
	}
	require.False(t, browser.JS[bool](p.Tab, `"hacked" in window`))
	require.Zero(t, browser.JS[int](p.Tab, `document.querySelectorAll("img, svg").length + document.querySelectorAll("script").length - 1`))
	require.Equal(t, "blocked", browser.JS[string](p.Tab, `(() => { const s = document.createElement("script"); s.textContent = "window.hacked = 1"; document.head.append(s); return "hacked" in window ? "ran" : "blocked" })()`),
		"a script that is not the page's own")
	require.Eventually(t, func() bool { return len(p.Noted()) > 0 }, time.Minute, 10*time.Millisecond, "the browser says nothing of it")
}

func testPageWatchesTheCluster(t *testing.T, chromium context.Context) {
	c := memnet.Start(t, 3, func() machine.Machine { return machine.JSON(&kvs{}) })
	leader := c.Leader()
	all := places{}
	for i, s := range c.Servers {
		all[s.Addr()] = place{fmt.Sprintf("node%d", i+1), fmt.Sprintf("127.0.0.1:%d", 8000+i)}
	}
	h := newFront(leader, all)
	web := serveAt(t, "127.0.0.1:0", h)
	p := openPage(t, chromium, web.URL)
	cells := `[...document.querySelectorAll("#members td")].map(td => td.textContent).join("|")`
	for i, s := range c.Servers {
		require.Contains(t, browser.JS[string](p.Tab, cells), fmt.Sprintf("node%d", i+1))
		require.Equal(t, s != leader, browser.JS[bool](p.Tab, fmt.Sprintf(`!!document.querySelector('#members a[href="http://127.0.0.1:%d/"]')`, 8000+i)), "a link to each other server's page")
	}
	require.Equal(t, all.name(leader.Addr()), p.Content("leader"))
	require.Equal(t, "leader", p.Content("role"))
	p.Waits(`!` + cells + `.includes("down")`)
	before := p.Content("commit")
	_, err := leader.Apply(t.Context(), machine.Command, json.RawMessage(`{"Put":["k",1]}`))
	require.NoError(t, err)
	p.Waits(`document.getElementById("commit").textContent !== "` + before + `"`)

	c.Isolate(leader.Addr())
	p.Waits(`document.getElementById("role").textContent === "not ready"`)
	c.Heal()
	p.Waits(`document.getElementById("role").textContent.startsWith("follows node") || document.getElementById("role").textContent === "leader"`)

	addr := web.Listener.Addr().String()
	web.CloseClientConnections()
	web.Close()
	p.Waits(`!document.getElementById("away").hidden && document.getElementById("role").textContent === "away"`)
	p.Picture("away", 1280, 900, false)
	serveAt(t, addr, h)
	p.Waits(`document.getElementById("away").hidden && document.getElementById("role").textContent !== "away"`)
}

// The page does not say that a change failed when nobody can know.
func testPageTellsWhatIsNotKnown(t *testing.T, chromium context.Context) {
	s := newSite(t)
	s.apply(`{"Put":["k","old"]}`)
	unknown := true
	web := serveAt(t, "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			writeJSON(w, 503, &failure{Error: "Request result unknown", Unknown: &unknown})
			return
		}
		newFront(s.server, nil).ServeHTTP(w, r)
	}))
	p := openPage(t, chromium, web.URL)
	p.opens("k")
	p.writes("value", "new")
	p.Press("#save")
	p.says("not known")
	require.Equal(t, "new", browser.JS[string](p.Tab, `document.getElementById("value").value`), "what was written is kept")
}

// The page fits the width of what it is seen on, and everything on it has a name for those who do not see it.
func testPageFitsAndHasNames(t *testing.T, chromium context.Context) {
	c := memnet.Start(t, 3, func() machine.Machine { return machine.JSON(&kvs{}) })
	server := c.Leader()
	s := &site{t: t, server: server, http: serveAt(t, "127.0.0.1:0", newFront(server, nil))}
	for i := range 40 {
		s.apply(fmt.Sprintf(`{"Put":["user/%04d",{"name":"user %d","tags":["a","b"]}]}`, i*7, i))
	}
	long := strings.Repeat("long", 100)
	s.apply(fmt.Sprintf(`{"Put":[%q,%q]}`, "user/"+long, long))
	p := openPage(t, chromium, s.http.URL)
	for _, key := range []string{"user/0014", "user/" + long} {
		p.opens(key)
		for _, look := range []struct {
			name          string
			width, height int64
			dark          bool
		}{{"wide", 1280, 900, false}, {"telephone", 390, 844, false}, {"wide-dark", 1280, 900, true}, {"telephone-dark", 390, 844, true}, {"narrow", 320, 600, false}} {
			p.Picture(fmt.Sprintf("%s-%.9s", look.name, strings.ReplaceAll(key, "/", "-")), look.width, look.height, look.dark)
			require.LessOrEqual(t, browser.JS[int](p.Tab, `document.documentElement.scrollWidth`), int(look.width), look.name)
		}
	}
	nameless := browser.JS[[]string](p.Tab, `[...document.querySelectorAll("button, input, select, textarea, a")]
		.filter(e => !(e.labels && e.labels.length && e.labels[0].textContent.trim()) && !e.textContent.trim()).map(e => e.outerHTML)`)
	require.Empty(t, nameless)

	// By the keyboard alone: from the search to a key, to its value, to Save.
	p.size(1280, 900)
	p.Do(chromedp.Focus(chromedp.CSS("#prefix")))
	for range 3 {
		p.Do(chromedp.KeyEvent(kb.Tab))
	}
	require.Equal(t, "user/0000", browser.JS[string](p.Tab, `document.activeElement.textContent`))
	p.Do(chromedp.KeyEvent(kb.Enter))
	p.Waits(`document.getElementById("key").value === "user/0000" && document.activeElement.id === "value-title"`)
	for range 4 {
		p.Do(chromedp.KeyEvent(kb.Tab))
	}
	require.Equal(t, "save", browser.JS[string](p.Tab, `document.activeElement.id`))
	p.Do(chromedp.KeyEvent(kb.Enter))
	p.says("Saved.")
}
