package main

import (
	"bufio"
	"bytes"
	"strconv"

	"github.com/goccy/go-json"
	"github.com/goccy/go-json/jsontext"
)

// req prints requests of one method.
func req(c *console, args []string) error {
	f := newFlags()
	var params string
	var count int
	var notification bool
	for _, name := range []string{"params", "p"} {
		f.StringVar(&params, name, "", "")
	}
	for _, name := range []string{"count", "c"} {
		f.IntVar(&count, name, 1, "")
	}
	for _, name := range []string{"notification", "n"} {
		f.BoolVar(&notification, name, false, "")
	}
	args, err := f.parse(args, 1, 1)
	if err != nil {
		return err
	}
	if count < 1 {
		return usageError("--count must be at least 1")
	}
	method, err := jsontext.AppendQuote(nil, args[0])
	if err != nil {
		return usageError("METHOD is not UTF-8")
	}
	line := append([]byte(`{"jsonrpc":"2.0","method":`), method...)
	if params != "" {
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(params)); err != nil || compact.Bytes()[0] != '{' && compact.Bytes()[0] != '[' {
			return usageError("--params must be a JSON array or object")
		}
		line = append(append(line, `,"params":`...), compact.Bytes()...)
	}
	out := bufio.NewWriterSize(c.out, blockSize)
	head := len(line)
	for id := range count {
		line = line[:head]
		if !notification {
			line = strconv.AppendInt(append(line, `,"id":`...), int64(id), 10)
		}
		line = append(line, "}\n"...)
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
	return out.Flush()
}
