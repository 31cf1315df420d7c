package front

import (
	"errors"
	"fmt"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/addr"
	"github.com/raftpico/go/raftpico/internal/node"
)

// method is a method of the API: its name on the wire, its params in their order, and what they make of a request.
type method struct {
	op     node.Op
	params []string
	set    func(r *node.Request, param string, value json.RawMessage) error
	check  func(r *node.Request) error
}

var methods = map[string]*method{
	"CreateCluster": {node.CreateCluster, []string{"min_election_timeout_ms", "max_election_timeout_ms"}, setTimeout, checkTimeouts},
	"AddServer":     {node.AddServer, []string{"addr"}, setAddr, needAddr},
	"RemoveServer":  {node.RemoveServer, []string{"addr"}, setAddr, needAddr},
	"Apply":         {node.Apply, []string{"kind", "input"}, setApply, needInput},
	"TakeSnapshot":  {op: node.TakeSnapshot},
	"CheckState":    {op: node.CheckState},
	"GetServerState": {node.GetServerState, []string{"machines"}, func(r *node.Request, _ string, v json.RawMessage) error {
		return decode(v, &r.Machines)
	}, nil},
}

// decodeRequest turns a client's request into one of the core. It runs on the connection's reader, away from the loop.
func decodeRequest(r *jsonrpc.Request, into *node.Request) *jsonrpc.Error {
	m, ok := methods[r.Method]
	if !ok {
		return jsonrpc.ErrMethodNotFound
	}
	*into = node.Request{Op: m.op, Timeouts: node.DefaultTimeouts, Machines: true}
	if err := m.decode(into, r.Params); err != nil {
		return jsonrpc.ErrInvalidParams.Because(cut(err))
	}
	return nil
}

// decode takes params by name, where unknown ones are ignored, or by position.
func (m *method) decode(r *node.Request, params json.RawMessage) error {
	var err error
	switch {
	case len(params) == 0:
	case params[0] == '[':
		i := 0
		err = jsonrpc.Elements(params, func(value []byte) error {
			if i++; i > len(m.params) {
				return fmt.Errorf("there are more than %d params", len(m.params))
			}
			return m.set(r, m.params[i-1], value)
		})
	default:
		err = jsonrpc.Members(params, func(name, value []byte) error {
			for _, p := range m.params {
				if p == string(name) {
					return m.set(r, p, value)
				}
			}
			return nil
		})
	}
	if err == nil && m.check != nil {
		err = m.check(r)
	}
	return err
}

func decode(value json.RawMessage, into any) error {
	if string(value) == "null" {
		return errors.New("a param is null")
	}
	return json.Unmarshal(value, into)
}

func setTimeout(r *node.Request, param string, value json.RawMessage) error {
	if param == "min_election_timeout_ms" {
		return decode(value, &r.Timeouts.Min)
	}
	return decode(value, &r.Timeouts.Max)
}

func checkTimeouts(r *node.Request) error { return r.Timeouts.Check() }

func setAddr(r *node.Request, _ string, value json.RawMessage) error { return decode(value, &r.Addr) }

func needAddr(r *node.Request) error {
	if r.Addr == "" {
		return errors.New("addr is missing")
	}
	return addr.Check(r.Addr)
}

func setApply(r *node.Request, param string, value json.RawMessage) error {
	if param == "input" {
		r.Input = jsonrpc.Compact(value) // a newline inside would split a line of the log
		return nil
	}
	switch string(value) { // spares the decoder where there are no escapes
	case `"Command"`:
		r.Kind = machine.Command
	case `"Query"`:
		r.Kind = machine.Query
	case `"LocalQuery"`:
		r.Kind = machine.LocalQuery
	default:
		return decode(value, &r.Kind)
	}
	return nil
}

func needInput(r *node.Request) error {
	if r.Kind == 0 {
		return errors.New("kind is missing: Command, Query or LocalQuery")
	}
	if r.Input == nil {
		return errors.New("input is missing")
	}
	return nil
}
