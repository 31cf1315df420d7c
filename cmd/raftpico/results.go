package main

import (
	"bufio"
	"fmt"
	"strconv"

	"github.com/goccy/go-json"
	"github.com/goccy/go-json/jsontext"
)

// results prints what became of each request: a line with the request's members, then the answer's, then figures.
type results struct {
	out     *bufio.Writer
	outcome []byte // the answer's members, each after a comma; scratch, and so is line
	line    []byte
}

// parse takes an answer apart. It is printed by the next print.
func (r *results) parse(answer string) (id string, err error) {
	r.outcome = r.outcome[:0]
	err = members(answer, func(name, value string) error {
		switch name {
		case "id":
			id = value
		case "jsonrpc":
		default:
			r.outcome = append(append(append(r.outcome, `,"`...), name...), `":`...)
			r.outcome = append(r.outcome, value...)
		}
		return nil
	})
	return id, err
}

// print prints a request's line. Size is the answer's in bytes, end when it came.
func (r *results) print(s *sent, size int, end int64) error {
	out := append(append(r.line[:0], `{"jsonrpc":"2.0","id":`...), s.id...)
	out = append(append(out, `,"method":`...), s.method...)
	if s.params != "" {
		out = append(append(out, `,"params":`...), s.params...)
	}
	out = append(out, r.outcome...)
	out = append(append(append(out, `,"server":"`...), s.link.addr...), `","request_byte_size":`...)
	out = append(strconv.AppendInt(out, int64(len(s.line)), 10), `,"response_byte_size":`...)
	out = append(strconv.AppendInt(out, int64(size), 10), `,"start_unix_timestamp_micros":`...)
	out = append(strconv.AppendInt(out, s.start, 10), `,"end_unix_timestamp_micros":`...)
	r.line = append(strconv.AppendInt(out, end, 10), "}\n"...)
	_, err := r.out.Write(r.line)
	return err
}

// printUnknown prints the line of a request that was under way when its connection broke, with the error by which servers
// say the same.
func (r *results) printUnknown(s *sent, why error, end int64) error {
	reason, err := jsontext.AppendQuote(nil, "the connection broke before the answer: "+why.Error())
	if err != nil {
		return err
	}
	r.outcome = fmt.Appendf(r.outcome[:0], `,"error":{"code":107,"message":"Request result unknown","data":{"reason":%s}}`, json.RawMessage(reason))
	return r.print(s, 0, end)
}
