package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// clients ask for commands and queries, an operator for changes of the cluster. A client sends a few requests at once
// to one server, waits for all answers, and thinks.
type clients struct {
	w              *world
	deadline       time.Duration // of every request
	maxUncommitted uint64
	compactAfter   uint64
	trailing       uint64
	messageSize    uint64
	pageSize       uint64
	padding        int // bytes, that some values have more
	heartbeatTicks int
	holdCommands   time.Duration
	holdNotices    time.Duration
	think          time.Duration
	period         time.Duration // not 0: between two requests of a client, on average, whatever it still waits for
	keys           int
	ids            int
	stamp          int64 // counts calls and answers: the order of the history
	stopped        bool
}

// request is one request. It is its own node.Caller.
type request struct {
	id       int
	burst    *burst // nil: of the operator, or of askAll
	server   *server
	request  node.Request
	at       time.Duration // when it reached the core
	term     uint64        // of the server then, of a TransferLeader
	called   int64         // stamp; 0: it has not reached the core
	least    uint64        // of a Query: what was applied anywhere when it was called
	returned int64         // stamp
	deadline time.Duration
	answered bool
	lost     bool // the server ended before it answered
	err      *jsonrpc.Error
	version  uint64 // in the output
	output   string

	talk      *conversation // whose it is, or nil
	number    *numbered     // of talk, an Apply
	tag       int           // of this attempt
	watch     string        // the key that it watches, or ""
	from      uint64        // the version that it knows of
	changed   uint64        // in the output of a watch
	overdue   int           // turns that it has waited on though it should not
	late      int           // turns after its deadline, or after it was to be answered
	cancelled bool          // it was to be answered at once
	stands    bool          // another caller waits in its place
	gone      bool          // its connection has ended
	missed    bool          // it was answered when that was so
	run       int           // of the server
	installs  int           // of the server when it reached the core
}

// burst are requests that a client sends to one server, at once or one after the other.
type burst struct {
	left int // not answered
}

func (r *request) String() string {
	return fmt.Sprintf("request %d to %s: op %d %s %s%s", r.id, r.server, r.request.Op, r.request.Kind, r.request.Addr, r.request.Input)
}

func (c *clients) begin(w *world) {
	*c = clients{w: w, deadline: []time.Duration{time.Second, 3 * time.Second, 10 * time.Second}[w.rng.IntN(3)],
		maxUncommitted: []uint64{300, 2000, 1 << 20}[w.rng.IntN(3)],
		compactAfter:   []uint64{500, 5000, 1 << 20}[w.rng.IntN(3)],
		trailing:       []uint64{0, 1000, 4 << 20}[w.rng.IntN(3)],
		messageSize:    []uint64{1, 600, 1 << 20}[w.rng.IntN(3)],
		pageSize:       []uint64{1, 600, 4 << 20}[w.rng.IntN(3)],
		padding:        []int{0, 0, 500}[w.rng.IntN(3)],
		heartbeatTicks: []int{1, 3}[w.rng.IntN(2)],
		holdCommands:   []time.Duration{0, time.Millisecond, 20 * time.Millisecond}[w.rng.IntN(3)],
		holdNotices:    []time.Duration{0, 2 * time.Millisecond, 50 * time.Millisecond}[w.rng.IntN(3)],
		think:          time.Duration(50+w.rng.IntN(500)) * time.Millisecond, keys: 1 + w.rng.IntN(5)}
	number := 1 + w.rng.IntN([]int{8, 8, 16}[w.rng.IntN(3)])
	if l := w.cfg.Load; l != nil {
		number, c.keys, c.deadline, c.maxUncommitted = l.Clients, 5, 3*time.Second, 1<<20
		c.compactAfter, c.heartbeatTicks, c.holdCommands, c.holdNotices = 32<<10, 3, time.Millisecond, 2*time.Millisecond
		c.trailing, c.messageSize, c.pageSize, c.padding = 4<<20, 1<<20, 4<<20, 0
		c.period = time.Duration(float64(l.Clients) / l.Operations * float64(time.Second))
		c.think = c.period
	}
	for range number {
		w.after(w.about(c.think), c.act)
	}
}

// act lets a client send its next requests, at once or one after the other.
func (c *clients) act() {
	if c.stopped {
		return
	}
	s := c.w.servers[c.w.rng.IntN(len(c.w.servers))]
	cluster := c.w.home
	if c.w.away != nil && c.w.chance(0.2) {
		cluster = c.w.away
	}
	if members := cluster.members(c.w); len(members) > 0 && c.w.chance(0.9) {
		s = members[c.w.rng.IntN(len(members))]
	}
	if s.node == nil || c.w.leases.quiet {
		pause := c.think
		if c.period > 0 {
			pause = 10 * time.Millisecond
		}
		c.w.after(c.w.about(pause), c.act)
		return
	}
	n := 1
	if c.w.chance(0.3) {
		n += c.w.rng.IntN(5)
	}
	if c.period > 0 {
		c.w.after(time.Duration(n)*c.w.about(c.period), c.act)
	}
	b := &burst{left: n}
	pause := c.w.about([]time.Duration{0, 30 * time.Millisecond, 300 * time.Millisecond}[c.w.rng.IntN(3)])
	for i := range n {
		r := &request{burst: b, server: s, request: c.draw()}
		r.id = c.ids
		c.w.after(time.Duration(i)*pause, func() { c.send(r) })
	}
}

// draw makes up a command or a query.
func (c *clients) draw() node.Request {
	c.ids++
	r := node.Request{Op: node.Apply, Kind: machine.Command}
	key := fmt.Sprintf("k%d", c.w.rng.IntN(c.keys))
	var words string
	switch p := c.w.rng.Float64(); {
	case p < 0.3:
		words = fmt.Sprintf("put %s %d", key, c.ids)
		if c.padding > 0 && c.w.chance(0.3) {
			words += strings.Repeat("x", c.padding)
		}
	case p < 0.5:
		words = fmt.Sprintf("append %s %d", key, c.ids)
	case p < 0.6:
		words = fmt.Sprintf("cas %s %d %d", key, max(1, c.ids-c.w.rng.IntN(5)), c.ids)
	case p < 0.62:
		words = "bad"
	default:
		words = "get " + key
		r.Kind = []machine.Kind{machine.Command, machine.Query, machine.Query, machine.LocalQuery}[c.w.rng.IntN(4)]
	}
	r.Near = c.ids%3 > 0
	r.Input = json.RawMessage(fmt.Sprintf(`"%d %s"`, c.ids, words))
	c.w.extras.vary(c, c.ids, &r)
	return r
}

// send brings a request on its way. If its server is down, it is lost.
func (c *clients) send(r *request) {
	s := r.server
	if r.burst != nil {
		c.w.result.Asked++
	}
	if s.node == nil {
		c.lost(r)
		return
	}
	if isWatch(r.request.Input) {
		words := strings.Split(strings.Trim(string(r.request.Input), `"`), " ")
		r.watch = words[2]
		r.from, _ = strconv.ParseUint(words[3], 10, 64)
	}
	s.pending = append(s.pending, r)
	if !s.queries(r) {
		s.post(func() { c.take(r) })
	}
}

// take brings a request to the core, in a turn of its server.
func (c *clients) take(r *request) {
	s := r.server
	if r.talk != nil && s.cluster() != r.talk.cluster { // a session's id may mean another one in another cluster
		s.pending = slices.DeleteFunc(s.pending, func(p *request) bool { return p == r })
		c.lost(r)
		return
	}
	c.call(r)
	c.w.extras.leave(r)
	c.w.tracef("%s < %s", s, r)
	switch {
	case r.request.Op == node.TransferLeader:
		r.term = s.node.State().Term
	case r.request.Op == node.Apply && r.request.Kind != machine.LocalQuery:
		s.cluster().asks(r)
	}
	s.node.Request(r, &r.request)
}

// call notes that a request has reached its server.
func (c *clients) call(r *request) {
	s := r.server
	c.stamp++
	r.called, r.at, r.run, r.installs = c.stamp, c.w.now, s.run, s.installs
	r.deadline = s.looked + s.span(c.deadline)
	if d := r.request.Deadline; d > 0 {
		r.deadline = s.looked + s.span(min(max(c.deadline, c.w.extras.maxTimeout), d))
	}
	if s.looked < c.w.now {
		r.deadline = max(r.deadline, c.w.now+1) // the core believes it to be earlier: not in this turn
	}
	if s.disk.identity.ClusterID != "" { // or else it may yet come to the other cluster
		r.least = uint64(len(s.cluster().committed))
	}
}

// asks notes a command or a query.
func (c *checks) asks(r *request) {
	c.history = append(c.history, r)
	if r.tag == 0 {
		c.abandons.asked[r.id] = r
	}
}

// operator sends a request of the operator.
func (c *clients) operator(s *server, what node.Request) {
	c.send(&request{server: s, request: what})
}

// ask sends a command or a query besides.
func (c *clients) ask(s *server, kind machine.Kind, words string) {
	c.ids++
	c.send(&request{id: c.ids, server: s, request: node.Request{Op: node.Apply, Kind: kind, Input: json.RawMessage(fmt.Sprintf(`"%d %s"`, c.ids, words))}})
}

// answer takes a server's answer.
func (c *clients) answer(s *server, r *request, result json.RawMessage, err *jsonrpc.Error) {
	w := c.w
	c.stamp++
	if r.answered || r.lost || r.server != s {
		w.fail("%s is answered again", r)
	}
	if late := w.now - max(r.deadline, s.busy); late > 30*time.Millisecond { // a tick, at most
		w.fail("%s is answered %v after its deadline", r, late)
	}
	r.answered, r.returned, r.err, r.missed = true, c.stamp, err, r.gone
	code := 0
	if err != nil {
		code = err.Code
	}
	w.result.Answers[code]++
	w.fold(result)
	w.tracef("%s answers request %d: %s%v", s, r.id, result, orNothing(err))
	s.pending = slices.DeleteFunc(s.pending, func(p *request) bool { return p == r })
	s.answers(r)
	switch op := r.request.Op; {
	case op == node.OpenSession, op == node.KeepSession, op == node.CloseSession:
		s.cluster().conversed(r, result)
	case op != node.Apply:
		s.cluster().changed(r, result)
	case isOutcome(err):
		r.read(w, result)
		s.cluster().result(r)
	default:
		s.cluster().refusal(r)
	}
	if r.talk != nil {
		r.talk.answer(r, result, err)
	}
	if op := r.request.Op; op == node.Apply && c.w.extras.rng != nil {
		clear(result) // it was given away
	}
	c.over(r)
}

// read takes what the machine has answered.
func (r *request) read(w *world, result json.RawMessage) {
	if r.err != nil {
		r.output = fmt.Sprintf("!%d", r.err.Code)
		return
	}
	var output string
	if e := json.Unmarshal(result, &output); e != nil {
		w.fail("%s: %s is no output: %v", r, result, e)
	}
	version, rest, _ := strings.Cut(output, " ")
	r.version, _ = strconv.ParseUint(version, 10, 64)
	if r.watch != "" {
		var changed string
		changed, rest, _ = strings.Cut(rest, " ")
		r.changed, _ = strconv.ParseUint(changed, 10, 64)
	}
	r.output = rest
}

func isWatch(input json.RawMessage) bool { return strings.Contains(string(input), " watch ") }

func orNothing(err *jsonrpc.Error) any {
	if err == nil {
		return ""
	}
	return err
}

// lost tells that the server has ended, so that there will be no answer.
func (c *clients) lost(r *request) {
	r.lost = true
	if r.talk != nil {
		r.talk.lost(r)
	}
	c.over(r)
}

func (c *clients) over(r *request) {
	if r.burst == nil {
		return
	}
	if r.burst.left--; r.burst.left == 0 && c.period == 0 {
		c.w.after(c.w.about(c.think), c.act)
	}
}

// askAll sends a command to every member of a cluster, one after the other. Each must be answered within a second.
func (c *clients) askAll(cluster *checks) []*request {
	var all []*request
	for _, s := range cluster.members(c.w) {
		c.ids++
		r := &request{id: c.ids, server: s, request: node.Request{Op: node.Apply, Kind: machine.Command,
			Input: json.RawMessage(fmt.Sprintf(`"%d append k0 %d"`, c.ids, c.ids))}}
		all = append(all, r)
		c.send(r)
		c.w.runUntil(c.w.now + time.Second)
	}
	return all
}
