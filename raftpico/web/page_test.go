package web_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/internal/browser"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
	"github.com/raftpico/go/raftpico/web"
)

// openPage opens the console at base.
func openPage(t *testing.T, chromium context.Context, base string) *browser.Tab {
	t.Helper()
	return browser.Page(t, chromium, base, `document.getElementById("node").textContent`)
}

// writes puts text into a field in the place of what is there.
func writes(p *browser.Tab, id, text string) {
	p.T.Helper()
	p.Do(chromedp.SetValue(chromedp.CSS("#"+id), text))
}

// TestPage drives the console in a browser.
func TestPage(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds; runs without -short")
	}
	t.Parallel()
	chromium := browser.Open(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"ShowsTheCluster":          testPageShowsTheCluster,
		"SendsRequests":            testPageSendsRequests,
		"ManagesTheCluster":        testPageManagesTheCluster,
		"ManagesNothingUnasked":    testPageManagesNothingUnasked,
		"ShowsServersWithoutOne":   testPageShowsServersWithoutOne,
		"RunsNothingOfWhatItShows": testPageRunsNothingOfWhatItShows,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each has a tab, and waits most of the time
			test(t, chromium)
		})
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

func testPageShowsTheCluster(t *testing.T, chromium context.Context) {
	servers := startStill(t, 9)
	s, dead := servers[0], servers[8]
	h := site(t, s, web.Options{Page: func(addr string) string { return "http://" + addr + "/raftpico/" }})
	load(t, s)
	p := openPage(t, chromium, h.URL)
	p.Waits(`document.querySelectorAll("#members tr").length === 9`)
	p.Waits(`document.getElementById("role").textContent === "Leader"`)
	p.Waits(`[...document.querySelectorAll("#figures dd")][0].textContent !== "none"`)
	require.Equal(t, s.Addr(), browser.JS[string](p, `[...document.querySelectorAll("#figures dd")][0].textContent`))
	require.Equal(t, 8, browser.JS[int](p, `document.querySelectorAll("#members a").length`), "the pages of the others")
	require.Equal(t, 8, browser.JS[int](p, `document.querySelectorAll("#picture .link").length`))
	require.Equal(t, 9, browser.JS[int](p, `document.querySelectorAll("#picture circle").length`))
	require.True(t, browser.JS[bool](p, apart))
	require.NoError(t, dead.Close())
	p.Waits(`document.querySelectorAll("#picture .link.down").length === 1`)
	p.Waits(`[...document.querySelectorAll("#events li")].some(e => e.textContent.includes("the link to ` + dead.Addr() + ` is down"))`)
	p.Waits(`document.querySelectorAll(".chart polyline").length >= 6`)
	p.Waits(`!document.querySelector(".chart li").textContent.startsWith("commands 0/s")`)
	require.NoError(t, s.Configure(t.Context(), raftpico.Configuration{LeaseReads: true}))
	p.Waits(`[...document.querySelectorAll("#figures div")].some(e => e.textContent === "Leaseson, held here")`)
	p.Picture("desktop", 1280, 900, false)
	require.Greater(t, browser.JS[int](p, `document.querySelector("#picture").clientWidth`), 1000)
	p.Picture("dark", 1280, 900, true)
	p.Picture("telephone", 360, 800, false)
	p.Waits(`document.querySelector("#picture").viewBox.baseVal.width < 360`)
	require.True(t, browser.JS[bool](p, `document.querySelector("#picture path").classList.contains("down")`), "a link that is down hides none that is up")
	p.Picture("telephone-dark", 360, 800, true)
	require.NoError(t, s.Close())
	p.Waits(`document.getElementById("role").textContent === "has ended"`)
	h.Close()
	p.Waits(`!document.getElementById("away").hidden`)
	require.Equal(t, "away", p.Content("role"))
}

// startStill starts servers that are a cluster. The first one leads, and stays the leader, however busy the machine.
func startStill(t *testing.T, n int) (servers []*raftpico.Server) {
	t.Helper()
	var net memnet.Network
	for i := range n {
		addr := fmt.Sprintf("server-%d:4000", i+1)
		l, err := net.Listen(addr)
		require.NoError(t, err)
		s, err := raftpico.Start(newEcho(), raftpico.Options{Addr: addr, InMemory: true, Listener: l, Dial: net.Dialer(addr)})
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() })
		servers = append(servers, s)
	}
	_, err := servers[0].CreateCluster(t.Context(), raftpico.Timeouts{Min: 3 * time.Second, Max: 6 * time.Second})
	require.NoError(t, err)
	for _, s := range servers[1:] {
		_, err := servers[0].AddServer(t.Context(), s.Addr())
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		voters := 0
		for _, m := range servers[0].Status().Members {
			if m.Role == "Voter" {
				voters++
			}
		}
		return voters == n
	}, patience, 10*time.Millisecond)
	return servers
}

func testPageSendsRequests(t *testing.T, chromium context.Context) {
	s := lone(t, raftpico.Limits{})
	p := openPage(t, chromium, site(t, s, web.Options{}).URL)
	p.Waits(`document.getElementById("method").options.length > 0`)
	require.NotContains(t, browser.JS[string](p, `[...document.getElementById("method").options].map(o => o.textContent).join()`), "TakeSnapshot")
	p.Do(chromedp.SetValue(chromedp.CSS("#method"), "Apply: Command"), chromedp.Evaluate[chromedp.Void](`document.getElementById("method").dispatchEvent(new Event("change"))`))
	require.Contains(t, browser.JS[string](p, `document.getElementById("params").value`), `"Command"`)
	writes(p, "params", "{\"kind\": \"Command\",\n \"input\": {\"a\": \"<b>\"}}")
	p.Press("#send")
	p.Waits(`!document.getElementById("answer").hidden`)
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":{"a":"<b>"}}`, p.Content("answer"))
	require.Contains(t, p.Content("took"), "Answered after")
	writes(p, "params", `{"kind": "Comm`)
	p.Press("#send")
	p.Waits(`document.getElementById("took").textContent.startsWith("An error")`)
	require.Contains(t, p.Content("answer"), "-32700")
	p.Picture("request", 1280, 900, false)
}

// agree presses a button and answers its question with yes.
func agree(p *browser.Tab, selector, question string) {
	p.T.Helper()
	p.Press(selector)
	p.Waits(`document.getElementById("confirm").open`)
	require.Contains(p.T, p.Content("question"), question)
	require.Equal(p.T, "Leave it as it is", browser.JS[string](p, `document.activeElement.textContent`), "a careless Enter changes nothing")
	p.Press("#yes")
	p.Waits(`!document.getElementById("confirm").open`)
}

// apart is whether no member of the picture lies on another one.
const apart = `(() => {
	const at = [...document.querySelectorAll("#picture circle")].map(c => [c.cx.baseVal.value, c.cy.baseVal.value]);
	return at.every((a, i) => at.every((b, k) => i === k || Math.hypot(a[0] - b[0], a[1] - b[1]) > 40));
})()`

func testPageManagesTheCluster(t *testing.T, chromium context.Context) {
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
	p := openPage(t, chromium, site(t, first, web.Options{Manage: true}).URL)
	require.Equal(t, "belongs to no cluster", p.Content("role"))
	p.Picture("no-cluster", 1280, 900, false)
	agree(p, "#create", "first member of a new cluster")
	p.Waits(`document.getElementById("done").textContent.startsWith("CreateCluster is done.")`)
	p.Waits(`document.getElementById("role").textContent === "Leader"`)
	for i, addr := range []string{"second:4000", "third:4000"} {
		writes(p, "addr", addr)
		agree(p, "#add button", "Add the server at "+addr)
		p.Waits(`document.getElementById("done").textContent.startsWith("AddServer is done.")`)
		p.Waits(fmt.Sprintf(`document.querySelectorAll("#picture circle").length === %d`, i+2))
		require.True(t, browser.JS[bool](p, apart), "a cluster of %d", i+2)
	}
	p.Waits(`[...document.querySelectorAll("#members tr")].filter(r => r.textContent.includes("Voter")).length === 2`)
	writes(p, "addr", "nobody:4000")
	agree(p, "#add button", "nobody:4000")
	p.Waits(`document.getElementById("done").textContent.startsWith("AddServer: Server unreachable")`)
	agree(p, "#snapshot", "Take a snapshot now?")
	p.Waits(`document.getElementById("done").textContent.startsWith("TakeSnapshot is done.")`)

	p.Picture("manage", 1280, 900, false)
	p.Press(`[aria-label="Demote second:4000"]`)
	p.Waits(`document.getElementById("confirm").open`)
	p.Picture("question", 1280, 900, false)
	p.Do(chromedp.KeyEvent(kb.Enter))
	p.Waits(`!document.getElementById("confirm").open`)
	agree(p, `[aria-label="Demote second:4000"]`, "Of 2 voters, 2 must then live")
	p.Waits(`document.getElementById("done").textContent.startsWith("SetVoter is done.")`)
	p.Waits(`document.querySelector('[aria-label="Promote second:4000"]')`)
	agree(p, `[aria-label="Promote second:4000"]`, "Make second:4000 a voter?")
	p.Waits(`document.querySelector('[aria-label="Make leader second:4000"]')`)
	agree(p, `[aria-label="Make leader second:4000"]`, "Hand leadership over to second:4000?")
	p.Waits(`document.getElementById("done").textContent.startsWith("TransferLeader is done.")`)
	require.Eventually(t, func() bool { return second.Status().Leads() }, patience, time.Millisecond)
	p.Waits(`document.getElementById("role").textContent === "Follower"`)
	agree(p, `[aria-label="Remove third:4000"]`, "Remove third:4000 from the cluster?")
	p.Waits(`document.getElementById("done").textContent.startsWith("RemoveServer is done.")`)
	p.Waits(`document.querySelectorAll("#members tr").length === 2`)
	p.Picture("manage-telephone", 360, 800, true)
}

func testPageManagesNothingUnasked(t *testing.T, chromium context.Context) {
	p := openPage(t, chromium, site(t, lone(t, raftpico.Limits{}), web.Options{}).URL)
	p.Waits(`document.querySelectorAll("#members tr").length === 1`)
	require.Zero(t, browser.JS[int](p, `document.querySelectorAll("#members button").length`))
	require.False(t, browser.JS[bool](p, `[...document.querySelectorAll(".manage")].some(e => !e.hidden)`))
}

func testPageShowsServersWithoutOne(t *testing.T, chromium context.Context) {
	s, err := raftpico.Start(newEcho(), raftpico.Options{Addr: "127.0.0.1:0", InMemory: true})
	require.NoError(t, err)
	defer s.Close()
	p := openPage(t, chromium, site(t, s, web.Options{}).URL)
	require.Equal(t, "belongs to no cluster", p.Content("role"))
	require.False(t, browser.JS[bool](p, `document.getElementById("none").hidden`))
	require.True(t, browser.JS[bool](p, `document.getElementById("table").hidden`))

	c := memnet.Start(t, 3, newEcho)
	removed := c.Servers[1]
	if removed == c.Leader() {
		removed = c.Servers[2]
	}
	_, err = c.Leader().RemoveServer(t.Context(), removed.Addr())
	require.NoError(t, err)
	p = openPage(t, chromium, site(t, removed, web.Options{}).URL)
	p.Waits(`document.getElementById("role").textContent === "was removed from its cluster"`)
}

// Names and answers are shown as they are, however long, and run nothing.
func testPageRunsNothingOfWhatItShows(t *testing.T, chromium context.Context) {
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
	p := openPage(t, chromium, h.URL)
	p.Waits(`document.querySelectorAll("#members tr").length === 1`)
	require.Zero(t, browser.JS[int](p, `document.querySelectorAll("#members a").length`), "only http and https are links")
	p.Do(chromedp.SetValue(chromedp.CSS("#method"), "Apply: Query"))
	writes(p, "params", fmt.Sprintf(`{"kind":"Query","input":%q}`, "<img src=x onerror=\"document.title='run'\"></pre><script>document.title='run'</script>"))
	p.Press("#send")
	p.Waits(`document.getElementById("answer").textContent.includes("onerror")`)
	p.Picture("long", 360, 800, false)
	require.Contains(t, browser.JS[string](p, `document.title`), " – raftpico")
	p.Do(chromedp.Evaluate[chromedp.Void](`document.getElementById("addr").value = "<script>document.title='run'<\/script>:1"`))
	agree(p, "#add button", "<script>")
	p.Waits(`document.getElementById("done").textContent.startsWith("AddServer: Server unreachable")`)
	require.Contains(t, browser.JS[string](p, `document.title`), " – raftpico")
	require.Equal(t, "blocked", browser.JS[string](p, `(() => { const s = document.createElement("script"); s.textContent = "window.hacked = 1"; document.head.append(s); return "hacked" in window ? "ran" : "blocked" })()`),
		"a script that is not the page's own")
	require.Eventually(t, func() bool { return len(p.Noted()) > 0 }, patience, 10*time.Millisecond, "the browser says nothing of it")
}
