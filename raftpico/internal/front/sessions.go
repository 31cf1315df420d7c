package front

import (
	"errors"
	"fmt"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/node"
)

// maxNumber is the largest whole number that every JSON library reads as it is: 2⁵³-1.
const maxNumber = 1<<53 - 1

// maxMilliseconds is a day: beyond, something else is meant.
const maxMilliseconds = 24 * 60 * 60 * 1000

// tooLong is longer than any server lets a request take.
const tooLong = 2 * maxMilliseconds * time.Millisecond

// decodeNumber decodes a whole number.
func decodeNumber(param string, value json.RawMessage, least, most uint64) (n uint64, err error) {
	if n, ok := plainNumber(value); ok && least <= n && n <= most {
		return n, nil
	}
	want := fmt.Sprintf("a whole number from %d to %d", least, most)
	if err := decode(param, value, &n, want); err != nil {
		return 0, err
	}
	if n < least || n > most {
		return 0, fmt.Errorf("%s must be %s", param, want)
	}
	return n, nil
}

// plainNumber decodes a number of a few digits.
func plainNumber(value []byte) (n uint64, ok bool) {
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, 0 < len(value) && len(value) <= 18 && (len(value) == 1 || value[0] != '0')
}

func setTTL(r *node.Request, param string, value json.RawMessage) error {
	ms, err := decodeNumber(param, value, uint64(node.MinTTL.Milliseconds()), uint64(node.MaxTTL.Milliseconds()))
	r.TTL = time.Duration(ms) * time.Millisecond
	return err
}

func setSession(r *node.Request, param string, value json.RawMessage) (err error) {
	if param == "ack" {
		r.Session.Ack, err = decodeNumber(param, value, 0, maxNumber)
		return err
	}
	r.Session.ID, err = decodeNumber(param, value, 1, maxNumber)
	return err
}

func needSession(r *node.Request) error {
	if r.Session.ID == 0 {
		return errors.New("session is missing")
	}
	return nil
}

// setSessionSeq decodes the session of an Apply: {"id":12,"seq":7,"ack":5}. Nothing else may be in it: what a client
// means by it decides whether a command is carried out twice.
func setSessionSeq(r *node.Request, value json.RawMessage) error {
	if len(value) == 0 || value[0] != '{' {
		return errors.New(`session must be an object: {"id":12,"seq":7,"ack":5}`)
	}
	s := &r.Session
	err := jsonrpc.Members(value, func(name, value []byte) (err error) {
		switch string(name) {
		case "id":
			s.ID, err = decodeNumber("session.id", value, 1, maxNumber)
		case "seq":
			s.Seq, err = decodeNumber("session.seq", value, 1, maxNumber)
		case "ack":
			s.Ack, err = decodeNumber("session.ack", value, 0, maxNumber)
		default:
			err = fmt.Errorf("session has an unknown member %.32q", name)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case s.ID == 0 || s.Seq == 0:
		return errors.New("session needs an id and a seq")
	case s.Ack >= s.Seq:
		return errors.New("session.ack must be below session.seq")
	}
	return nil
}
