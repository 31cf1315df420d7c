package loop

import (
	"time"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// Method says what a request asks for, where requests are counted. It is the node.Op, but that each kind of Apply has its own.
type Method uint8

// The methods beyond the ops. NB: Apply itself is a Command's.
const (
	methodQuery      Method = numMethods - 2
	methodLocalQuery Method = numMethods - 1

	numMethods = 48
)

// MethodOf is that of a request.
func MethodOf(r *node.Request) Method {
	if r.Op == node.Apply {
		switch r.Kind {
		case machine.Query:
			return methodQuery
		case machine.LocalQuery:
			return methodLocalQuery
		}
	}
	return Method(r.Op)
}

func (m Method) String() string {
	switch m {
	case methodQuery:
		return machine.Query.String()
	case methodLocalQuery:
		return machine.LocalQuery.String()
	case Method(node.Apply):
		return machine.Command.String()
	}
	return node.Op(m).String()
}

// The slots of codes: a result, the errors of the API, those of JSON-RPC, the machine's own, and what is none of these.
const (
	slotAPI     = 1
	slotRPC     = slotAPI + (endOfAPI - firstOfAPI)
	slotParse   = slotRPC + (lastOfRPC - firstOfRPC + 1)
	slotMachine = slotParse + 1
	numSlots    = slotMachine + 1

	firstOfAPI, endOfAPI = 100, 132
	firstOfRPC           = -32603
	lastOfRPC            = -32600
	parseError           = -32700
	leastOfMachine       = 1000
)

func slotOf(err *jsonrpc.Error) int {
	if err == nil {
		return 0
	}
	switch code := err.Code; {
	case firstOfAPI <= code && code < endOfAPI:
		return slotAPI + code - firstOfAPI
	case firstOfRPC <= code && code <= lastOfRPC:
		return slotRPC + code - firstOfRPC
	case code == parseError:
		return slotParse
	case code >= leastOfMachine:
		return slotMachine
	}
	return slotRPC // an internal error
}

func codeOf(slot int) int {
	switch {
	case slot == 0:
		return 0
	case slot < slotRPC:
		return firstOfAPI + slot - slotAPI
	case slot < slotParse:
		return firstOfRPC + slot - slotRPC
	case slot == slotParse:
		return parseError
	}
	return leastOfMachine
}

// Tally counts requests by what they ask for and how they were answered. It locks nothing.
type Tally struct {
	counts [numMethods][numSlots]uint64
	times  [numMethods]api.Histogram
}

// Count counts an answer: a result, or err unless that is nil.
func (t *Tally) Count(m Method, err *jsonrpc.Error) { t.counts[m][slotOf(err)]++ }

func (t *Tally) took(m Method, d time.Duration) { t.times[m].Observe(d) }

// add adds what another one has counted.
func (t *Tally) add(other *Tally) {
	for m := range numMethods {
		for slot, n := range &other.counts[m] {
			t.counts[m][slot] += n
		}
		for i, n := range &other.times[m].Counts {
			t.times[m].Counts[i] += n
		}
		t.times[m].Sum += other.times[m].Sum
	}
}

// appendTo adds what was counted to the metrics.
func (t *Tally) appendTo(into *api.Metrics) {
	into.Requests, into.RequestTimes = []api.RequestCount{}, []api.RequestTime{}
	for m := range Method(numMethods) {
		for slot, n := range &t.counts[m] {
			if n > 0 {
				into.Requests = append(into.Requests, api.RequestCount{Method: m.String(), Code: codeOf(slot), Count: n})
			}
		}
		if t.times[m].Count() > 0 {
			into.RequestTimes = append(into.RequestTimes, api.RequestTime{Method: m.String(), Time: t.times[m]})
		}
	}
}
