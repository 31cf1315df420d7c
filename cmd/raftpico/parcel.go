package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-json"
)

// parcel is what is sent at once: a request, or a batch of them.
type parcel struct {
	answered bool // there is anything but notifications in it
	reads    bool // nothing in it changes anything, so it may be sent again
}

func parseParcel(line []byte) (parcel, error) {
	batch := []json.RawMessage{line}
	if line[0] == '[' {
		if err := json.Unmarshal(line, &batch); err != nil || len(batch) == 0 {
			return parcel{}, fmt.Errorf("not a batch: %.64q", line)
		}
	}
	p := parcel{reads: true}
	for _, item := range batch {
		r, err := parseRequest(string(item))
		if err != nil {
			return parcel{}, err
		}
		p.answered = p.answered || r.id != ""
		p.reads = p.reads && r.reads()
	}
	return p, nil
}

// reads tells whether a request is one of those of raftpico that change nothing. When in doubt it is none.
func (r *request) reads() bool {
	switch r.method {
	case `"GetServerState"`:
		return true
	case `"Apply"`:
		kind := ""
		if strings.HasPrefix(r.params, "[") {
			var params []json.RawMessage
			if json.Unmarshal([]byte(r.params), &params) == nil && len(params) > 0 {
				kind = string(params[0])
			}
		} else if members(r.params, func(name, value string) error {
			if name == "kind" {
				kind = value
			}
			return nil
		}) != nil {
			return false
		}
		return kind == `"Query"` || kind == `"LocalQuery"`
	}
	return false
}

// reply is a server's answer to a parcel.
type reply struct {
	text   []byte // one line without its end
	code   int    // of the error; 0 if it is none, or a batch's
	reason string // of it
	failed bool   // there is an error in it
}

func parseReply(line []byte) (reply, error) {
	type answer struct {
		Error *struct {
			Code    int
			Message string
		}
	}
	r := reply{text: bytes.TrimSpace(line)}
	if !json.Valid(r.text) {
		return r, fmt.Errorf("the answer is not one line of JSON: %.64q", r.text)
	}
	var batch []answer
	if json.Unmarshal(r.text, &batch) == nil {
		r.failed = slices.ContainsFunc(batch, func(a answer) bool { return a.Error != nil })
		return r, nil
	}
	var one answer
	if json.Unmarshal(r.text, &one) == nil && one.Error != nil {
		r.code, r.reason, r.failed = one.Error.Code, one.Error.Message, true
	}
	return r, nil
}

// elsewhere tells whether the request has certainly not been carried out, and another server may do it: this one is no
// member, the leader changed, none was found, or it is busy. NB: 107 is not among them, it may have been carried out.
func (r *reply) elsewhere() bool { return slices.Contains([]int{102, 106, 108, 110}, r.code) }
