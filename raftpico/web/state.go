package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/raftpico"
)

// State is what GET /state answers: the server as it is, by what it knows itself. With ?after=N its Events are those behind number
// N. It is for the console, and may change with it.
type State struct {
	Time    time.Time         `json:"time"`
	Server  raftpico.Metrics  `json:"server"`
	Ended   bool              `json:"ended,omitempty"`
	Events  []Event           `json:"events"`
	Manage  bool              `json:"manage,omitempty"`  // Options.Manage
	Metrics bool              `json:"metrics,omitempty"` // there is a GET /metrics
	Pages   map[string]string `json:"pages,omitempty"`   // URLs of the consoles of members, by address
}

func (c *handler) state(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.ParseUint(r.FormValue("after"), 10, 64)
	if err != nil && r.FormValue("after") != "" {
		http.Error(w, "after must be a whole number", http.StatusBadRequest)
		return
	}
	s := State{Time: time.Now(), Server: c.server.Metrics(), Ended: c.server.Status().Ended, Events: c.events.after(after), Manage: c.opts.Manage,
		Metrics: c.opts.Metrics != nil, Pages: map[string]string{}}
	if c.opts.Page != nil {
		for _, m := range s.Server.Members {
			if page := c.opts.Page(m.Addr); page != "" {
				s.Pages[m.Addr] = page
			}
		}
	}
	body, err := json.Marshal(s)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // a client that has gone reads nothing
}
