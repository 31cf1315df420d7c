package web_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
	"github.com/raftpico/go/raftpico/web"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// TestPage drives the console in a browser.
func TestPage(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds; runs without -short")
	}
	browser := openBrowser(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"ShowsTheCluster":          testPageShowsTheCluster,
		"SendsRequests":            testPageSendsRequests,
		"ManagesTheCluster":        testPageManagesTheCluster,
		"ManagesNothingUnasked":    testPageManagesNothingUnasked,
		"ShowsServersWithoutOne":   testPageShowsServersWithoutOne,
		"RunsNothingOfWhatItShows": testPageRunsNothingOfWhatItShows,
	} {
		t.Run(name, func(t *testing.T) { test(t, browser) })
	}
}

// load asks a server for a while, so that there is something to draw.
func load(t *testing.T, s *raftpico.Server) {
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				for _, kind := range []machine.Kind{machine.Command, machine.Query, machine.LocalQuery} {
					_, _ = s.Apply(ctx, kind, 1)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	t.Cleanup(func() { stop(); wg.Wait() })
}

func testPageShowsTheCluster(t *testing.T, browser context.Context) {
	c := memnet.Start(t, 9, newEcho)
	s := c.Leader()
	h := site(t, s, web.Options{Page: func(addr string) string { return "http://" + addr + "/raftpico/" }})
	load(t, s)
	dead := c.Servers[8]
	if dead == s {
		dead = c.Servers[7]
	}
	p := openPage(t, browser, h.URL)
	p.waits(`document.querySelectorAll("#members tr").length === 9`)
	require.Equal(t, "Leader", p.content("role"))
	require.Equal(t, s.Addr(), js[string](p, `[...document.querySelectorAll("#figures dd")][0].textContent`))
	require.Equal(t, 8, js[int](p, `document.querySelectorAll("#members a").length`), "the pages of the others")
	require.Equal(t, 8, js[int](p, `document.querySelectorAll("#picture .link").length`))
	require.Equal(t, 9, js[int](p, `document.querySelectorAll("#picture circle").length`))
	require.NoError(t, dead.Close())
	p.waits(`document.querySelectorAll("#picture .link.down").length === 1`)
	p.waits(`[...document.querySelectorAll("#events li")].some(e => e.textContent.includes("the link to ` + dead.Addr() + ` is down"))`)
	p.waits(`document.querySelectorAll(".chart polyline").length >= 6`)
	p.waits(`!document.querySelector(".chart li").textContent.startsWith("commands 0/s")`)
	p.picture("desktop", 1280, 900, false)
	require.Greater(t, js[int](p, `document.querySelector("#picture").clientWidth`), 1000)
	p.picture("dark", 1280, 900, true)
	p.picture("telephone", 360, 800, false)
	p.waits(`document.querySelector("#picture").viewBox.baseVal.width < 360`)
	p.picture("telephone-dark", 360, 800, true)
	require.NoError(t, s.Close())
	p.waits(`document.getElementById("role").textContent === "has ended"`)
	h.Close()
	p.waits(`!document.getElementById("away").hidden`)
	require.Equal(t, "away", p.content("role"))
}

func testPageSendsRequests(t *testing.T, browser context.Context) {
	s := lone(t, raftpico.Limits{})
	p := openPage(t, browser, site(t, s, web.Options{}).URL)
	p.waits(`document.getElementById("method").options.length > 0`)
	require.NotContains(t, js[string](p, `[...document.getElementById("method").options].map(o => o.textContent).join()`), "TakeSnapshot")
	p.do(chromedp.SetValue(chromedp.CSS("#method"), "Apply: Command"), chromedp.Evaluate[chromedp.Void](`document.getElementById("method").dispatchEvent(new Event("change"))`))
	require.Contains(t, js[string](p, `document.getElementById("params").value`), `"Command"`)
	p.writes("params", "{\"kind\": \"Command\",\n \"input\": {\"a\": \"<b>\"}}")
	p.press("#send")
	p.waits(`!document.getElementById("answer").hidden`)
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":{"a":"<b>"}}`, p.content("answer"))
	require.Contains(t, p.content("took"), "Answered after")
	p.writes("params", `{"kind": "Comm`)
	p.press("#send")
	p.waits(`document.getElementById("took").textContent.startsWith("An error")`)
	require.Contains(t, p.content("answer"), "-32700")
	p.picture("request", 1280, 900, false)
}

// agree presses a button and answers its question with yes.
func (p *tab) agree(selector, question string) {
	p.t.Helper()
	p.press(selector)
	p.waits(`document.getElementById("confirm").open`)
	require.Contains(p.t, p.content("question"), question)
	require.Equal(p.t, "Leave it as it is", js[string](p, `document.activeElement.textContent`), "a careless Enter changes nothing")
	p.press("#yes")
	p.waits(`!document.getElementById("confirm").open`)
}

func testPageManagesTheCluster(t *testing.T, browser context.Context) {
	var net memnet.Network
	start := func(addr string) *raftpico.Server {
		l, err := net.Listen(addr)
		require.NoError(t, err)
		s, err := raftpico.Start(newEcho(), raftpico.Options{Addr: addr, InMemory: true, Listener: l, Dial: net.Dialer(addr)})
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	first, second := start("first:4000"), start("second:4000")
	start("third:4000")
	p := openPage(t, browser, site(t, first, web.Options{Manage: true}).URL)
	require.Equal(t, "belongs to no cluster", p.content("role"))
	p.picture("no-cluster", 1280, 900, false)
	p.agree("#create", "first member of a new cluster")
	p.waits(`document.getElementById("done").textContent.startsWith("CreateCluster is done.")`)
	p.waits(`document.getElementById("role").textContent === "Leader"`)
	for _, addr := range []string{"second:4000", "third:4000"} {
		p.writes("addr", addr)
		p.agree("#add button", "Add the server at "+addr)
		p.waits(`document.getElementById("done").textContent.startsWith("AddServer is done.")`)
	}
	p.waits(`[...document.querySelectorAll("#members tr")].filter(r => r.textContent.includes("Voter")).length === 2`)
	p.writes("addr", "nobody:4000")
	p.agree("#add button", "nobody:4000")
	p.waits(`document.getElementById("done").textContent.startsWith("AddServer: Server unreachable")`)
	p.agree("#snapshot", "Take a snapshot now?")
	p.waits(`document.getElementById("done").textContent.startsWith("TakeSnapshot is done.")`)

	p.picture("manage", 1280, 900, false)
	p.press(`[aria-label="Demote second:4000"]`)
	p.waits(`document.getElementById("confirm").open`)
	p.picture("question", 1280, 900, false)
	p.do(chromedp.KeyEvent(kb.Enter))
	p.waits(`!document.getElementById("confirm").open`)
	p.agree(`[aria-label="Demote second:4000"]`, "Of 2 voters, 2 must then live")
	p.waits(`document.getElementById("done").textContent.startsWith("SetVoter is done.")`)
	p.waits(`document.querySelector('[aria-label="Promote second:4000"]')`)
	p.agree(`[aria-label="Promote second:4000"]`, "Make second:4000 a voter?")
	p.waits(`document.querySelector('[aria-label="Make leader second:4000"]')`)
	p.agree(`[aria-label="Make leader second:4000"]`, "Hand leadership over to second:4000?")
	p.waits(`document.getElementById("done").textContent.startsWith("TransferLeader is done.")`)
	require.Eventually(t, func() bool { return second.Status().Leads() }, patience, time.Millisecond)
	p.waits(`document.getElementById("role").textContent === "Follower"`)
	p.agree(`[aria-label="Remove third:4000"]`, "Remove third:4000 from the cluster?")
	p.waits(`document.getElementById("done").textContent.startsWith("RemoveServer is done.")`)
	p.waits(`document.querySelectorAll("#members tr").length === 2`)
	p.picture("manage-telephone", 360, 800, true)
}

func testPageManagesNothingUnasked(t *testing.T, browser context.Context) {
	p := openPage(t, browser, site(t, lone(t, raftpico.Limits{}), web.Options{}).URL)
	p.waits(`document.querySelectorAll("#members tr").length === 1`)
	require.Zero(t, js[int](p, `document.querySelectorAll("#members button").length`))
	require.False(t, js[bool](p, `[...document.querySelectorAll(".manage")].some(e => !e.hidden)`))
}

func testPageShowsServersWithoutOne(t *testing.T, browser context.Context) {
	s, err := raftpico.Start(newEcho(), raftpico.Options{Addr: "127.0.0.1:0", InMemory: true})
	require.NoError(t, err)
	defer s.Close()
	p := openPage(t, browser, site(t, s, web.Options{}).URL)
	require.Equal(t, "belongs to no cluster", p.content("role"))
	require.False(t, js[bool](p, `document.getElementById("none").hidden`))
	require.True(t, js[bool](p, `document.getElementById("table").hidden`))

	c := memnet.Start(t, 3, newEcho)
	removed := c.Servers[1]
	if removed == c.Leader() {
		removed = c.Servers[2]
	}
	_, err = c.Leader().RemoveServer(t.Context(), removed.Addr())
	require.NoError(t, err)
	p = openPage(t, browser, site(t, removed, web.Options{}).URL)
	p.waits(`document.getElementById("role").textContent === "was removed from its cluster"`)
}

// Names and answers are shown as they are, however long, and run nothing.
func testPageRunsNothingOfWhatItShows(t *testing.T, browser context.Context) {
	var net memnet.Network
	host := strings.Repeat("a-very-long-name.", 12) + "example.com:4000"
	l, err := net.Listen(host)
	require.NoError(t, err)
	s, err := raftpico.Start(newEcho(), raftpico.Options{Addr: host, InMemory: true, Listener: l, Dial: net.Dialer(host)})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	h := httptest.NewServer(web.Handler(s, web.Options{Manage: true, Page: func(string) string { return "javascript:document.title='run'" }}))
	defer h.Close()
	p := openPage(t, browser, h.URL)
	p.waits(`document.querySelectorAll("#members tr").length === 1`)
	require.Zero(t, js[int](p, `document.querySelectorAll("#members a").length`), "only http and https are links")
	p.do(chromedp.SetValue(chromedp.CSS("#method"), "Apply: Query"))
	p.writes("params", fmt.Sprintf(`{"kind":"Query","input":%q}`, "<img src=x onerror=\"document.title='run'\"></pre><script>document.title='run'</script>"))
	p.press("#send")
	p.waits(`document.getElementById("answer").textContent.includes("onerror")`)
	p.picture("long", 360, 800, false)
	require.Contains(t, js[string](p, `document.title`), " – raftpico")
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("addr").value = "<script>document.title='run'<\/script>:1"`))
	p.agree("#add button", "<script>")
	p.waits(`document.getElementById("done").textContent.startsWith("AddServer: Server unreachable")`)
	require.Contains(t, js[string](p, `document.title`), " – raftpico")
}
