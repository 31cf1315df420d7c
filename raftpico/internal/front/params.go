package front

import (
	"bytes"
	"errors"
	"fmt"
	"time"

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
	strict bool // unknown params by name are errors, and not passed over as the original does
}

var methods = map[string]*method{
	"CreateCluster":  {node.CreateCluster, []string{"min_election_timeout_ms", "max_election_timeout_ms", "lease_reads"}, setCluster, checkTimeouts, false},
	"AddServer":      {node.AddServer, []string{"addr", "voter"}, setMember, needAddr, false},
	"SetVoter":       {node.SetVoter, []string{"addr", "voter"}, setMember, needVoter, true},
	"RemoveServer":   {node.RemoveServer, []string{"addr"}, setMember, needAddr, false},
	"Configure":      {node.Configure, []string{"lease_reads"}, setCluster, needLeases, true},
	"TransferLeader": {node.TransferLeader, []string{"addr", "id"}, setMember, needTarget, true},
	"Apply":          {node.Apply, []string{"kind", "input", "timeout_ms", "session"}, setApply, checkApply, false},
	"OpenSession":    {node.OpenSession, []string{"ttl_ms"}, setTTL, nil, true},
	"KeepSession":    {node.KeepSession, []string{"session", "ack"}, setSession, needSession, true},
	"CloseSession":   {node.CloseSession, []string{"session"}, setSession, needSession, true},
	"TakeSnapshot":   {op: node.TakeSnapshot},
	"CheckState":     {op: node.CheckState},
	beginBackup:      {node.Backup, []string{"fresh", "timeout_ms"}, setBackup, nil, true},
	"GetServerState": {node.GetServerState, []string{"machines"}, func(r *node.Request, param string, v json.RawMessage) error {
		return decode(param, v, &r.Machines, "true or false")
	}, nil, false},
}

// decodeRequest turns a client's request into one of the core. It runs on the connection's reader, away from the loop.
func decodeRequest(r *jsonrpc.Request, into *node.Request, maxTimeout time.Duration) *jsonrpc.Error {
	m, ok := methods[r.Method]
	if !ok {
		return jsonrpc.ErrMethodNotFound
	}
	*into = node.Request{Op: m.op, Machines: true}
	if m.op == node.Apply && shortApply(into, r.Params) {
		return nil
	}
	if err := m.decode(into, r.Params); err != nil {
		return jsonrpc.ErrInvalidParams.Because(cut(err))
	}
	if into.Deadline > maxTimeout {
		return jsonrpc.ErrInvalidParams.Because(fmt.Sprintf("timeout_ms must be a whole number from 1 to %d", maxTimeout.Milliseconds()))
	}
	return nil
}

// decode takes params by name, where unknown ones are ignored unless it is strict, or by position.
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
			if m.strict {
				return fmt.Errorf("unknown param %.32q", name)
			}
			return nil
		})
	}
	if err == nil && m.check != nil {
		err = m.check(r)
	}
	return err
}

// decode decodes a param. What the decoder says of a wrong one speaks of Go's types.
func decode(param string, value json.RawMessage, into any, want string) error {
	if string(value) == "null" {
		return fmt.Errorf("%s is null", param)
	}
	if json.Unmarshal(value, into) != nil {
		return fmt.Errorf("%s must be %s", param, want)
	}
	return nil
}

// setCluster sets a param that tells what a cluster is to be like.
func setCluster(r *node.Request, param string, value json.RawMessage) error {
	into := &r.Timeouts.Max
	switch param {
	case "lease_reads":
		var yes bool
		err := decode(param, value, &yes, "true or false")
		r.Leases = node.Choose(yes)
		return err
	case "min_election_timeout_ms":
		into = &r.Timeouts.Min
	}
	const want = "a whole number of milliseconds, from 1 to a day"
	if err := decode(param, value, into, want); err != nil || *into > 0 {
		return err
	}
	return fmt.Errorf("%s must be %s", param, want)
}

func checkTimeouts(r *node.Request) error {
	r.Timeouts = r.Timeouts.Filled()
	return r.Timeouts.Check()
}

func needLeases(r *node.Request) error {
	if r.Leases == node.Unsaid {
		return errors.New("lease_reads is missing: true or false")
	}
	return nil
}

// setMember sets a param that names a member, or tells what it is to be.
func setMember(r *node.Request, param string, value json.RawMessage) error {
	switch param {
	case "voter":
		r.Voter = new(bool)
		return decode(param, value, r.Voter, "true or false")
	case "id":
		err := decode(param, value, &r.NodeID, "the id of a member")
		if err == nil && r.NodeID == 0 {
			err = errors.New("id must be the id of a member")
		}
		return err
	}
	return decode(param, value, &r.Addr, "a string")
}

func needAddr(r *node.Request) error {
	if r.Addr == "" {
		return errors.New("addr is missing")
	}
	var err error
	r.Addr, err = addr.Canonical(r.Addr)
	return err
}

func needVoter(r *node.Request) error {
	if err := needAddr(r); err != nil {
		return err
	}
	if r.Voter == nil {
		return errors.New("voter is missing: true or false")
	}
	return nil
}

// needTarget wants one of addr and id.
func needTarget(r *node.Request) error {
	switch {
	case r.NodeID == 0 && r.Addr == "":
		return errors.New("addr or id is missing")
	case r.NodeID == 0:
		return needAddr(r)
	case r.Addr != "":
		return errors.New("give addr or id, not both")
	}
	return nil
}

func setApply(r *node.Request, param string, value json.RawMessage) error {
	switch param {
	case "input":
		r.Input = jsonrpc.Compact(value) // a newline inside would split a line of the log
		return nil
	case "timeout_ms":
		setDeadline(r, param, value)
		return nil
	case "session":
		return setSessionSeq(r, value)
	}
	switch string(value) { // spares the decoder where there are no escapes
	case `"Command"`:
		r.Kind = machine.Command
	case `"Query"`:
		r.Kind = machine.Query
	case `"LocalQuery"`:
		r.Kind = machine.LocalQuery
	default:
		return decode(param, value, &r.Kind, "Command, Query or LocalQuery")
	}
	return nil
}

// shortApply takes the params of an Apply in the form in which most clients write them, {"kind":"Command","input":…}, in half the
// time. What does not fit goes the way of all params.
func shortApply(r *node.Request, params json.RawMessage) bool {
	rest, ok := bytes.CutPrefix(params, []byte(`{"kind":"`))
	name, _, _ := bytes.Cut(rest, []byte(`"`))
	var kind machine.Kind
	switch string(name) {
	case "Command":
		kind = machine.Command
	case "Query":
		kind = machine.Query
	case "LocalQuery":
		kind = machine.LocalQuery
	default:
		return false
	}
	input, hasInput := bytes.CutPrefix(rest[len(name):], []byte(`","input":`))
	end := jsonrpc.SkipValue(input, 0)
	if !ok || !hasInput || end < 0 || end != len(input)-1 {
		return false
	}
	r.Kind, r.Input = kind, jsonrpc.Compact(input[:end:end])
	return true
}

// setDeadline decodes a timeout_ms. NB: One that is none is too long: decodeRequest knows the server's limit, and names it.
func setDeadline(r *node.Request, param string, value json.RawMessage) {
	ms, err := decodeNumber(param, value, 1, maxMilliseconds)
	if r.Deadline = time.Duration(ms) * time.Millisecond; err != nil {
		r.Deadline = tooLong
	}
}

func setBackup(r *node.Request, param string, value json.RawMessage) error {
	if param == "timeout_ms" {
		setDeadline(r, param, value)
		return nil
	}
	fresh := false
	err := decode(param, value, &fresh, "true or false")
	r.Stale = !fresh
	return err
}

func checkApply(r *node.Request) error {
	switch {
	case r.Kind == 0:
		return errors.New("kind is missing: Command, Query or LocalQuery")
	case r.Input == nil:
		return errors.New("input is missing")
	case r.Session.ID != 0 && r.Kind != machine.Command:
		return errors.New("only a Command can be in a session")
	}
	return nil
}
