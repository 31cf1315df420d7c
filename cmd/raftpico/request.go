package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-json"
)

// request is one JSON-RPC request line. The strings share the line's memory and hold raw JSON; an absent member is
// empty.
type request struct {
	line               string // without white space around it
	id, method, params string
}

// parseRequest checks everything that a server would refuse, so that each request gets an answer of its own.
func parseRequest(line string) (request, error) {
	r := request{line: strings.TrimSpace(line)}
	if !json.Valid([]byte(line)) || !utf8.ValidString(line) {
		return r, fmt.Errorf("not JSON: %.64q", line)
	}
	var version string
	err := members(r.line, func(name, value string) error {
		var member *string
		switch name {
		case "jsonrpc":
			member = &version
		case "id":
			member = &r.id
		case "method":
			member = &r.method
		case "params":
			member = &r.params
		default:
			return nil
		}
		if *member != "" {
			return fmt.Errorf("two members %q", name)
		}
		*member = value
		return nil
	})
	switch {
	case err != nil:
	case version != `"2.0"`:
		err = errors.New(`"jsonrpc" is not "2.0"`)
	case r.method == "" || r.method[0] != '"':
		err = errors.New(`"method" is not a string`)
	case r.params != "" && r.params[0] != '{' && r.params[0] != '[':
		err = errors.New(`"params" is neither an object nor an array`)
	case r.id != "" && strings.IndexByte("{[tf", r.id[0]) >= 0:
		err = errors.New(`"id" is no number, string or null`)
	}
	if err != nil {
		return r, fmt.Errorf("not a request: %w: %.64q", err, line)
	}
	return r, nil
}
