package jsonrpc

import (
	"bytes"
	"fmt"
)

// foreign is the error of a connection that begins with something else than JSON. It is answered in kind and closed,
// and nothing of it is carried out: any web page may have a browser send text to a port of its user's machine, and a
// request could stand in that text, behind lines that are none.
//
// What the first line is decides, not each line: a browser always sends a header first. So a client whose first line
// was JSON may still send a bad one and go on.
type foreign struct {
	name   string
	answer []byte
}

func (f *foreign) Error() string { return "jsonrpc: " + f.name + " instead of JSON" }

// port is what a port says of itself to those who speak something else on it.
type port struct {
	plain  bool     // a first record of TLS is TLS
	deaf   bool     // nothing is carried out, also no JSON
	http   *foreign // the answers
	other  *foreign
	broken *foreign
}

const notice = "This port speaks JSON-RPC 2.0, one JSON value a line, over "

func newPort(over, lacks string) *port {
	page := notice + over + ", not HTTP.\n"
	return &port{
		http: &foreign{"HTTP", fmt.Appendf(nil, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"+
			"Content-Length: %d\r\nConnection: close\r\n\r\n%s", len(page), page)},
		other:  &foreign{"something", unparsed("no " + lacks + ". " + notice + over)},
		broken: &foreign{"a part of a value, or more than one value,", unparsed("not one whole JSON value in this line. " + notice + over)},
	}
}

// The ports: one without a Security; one with it, within it; and the same one as who does not speak it sees it.
var (
	plainPort  = newPort("plain TCP", "JSON")
	securePort = newPort("TLS", "JSON")
	unsecured  = newPort("TLS", "TLS")
)

func init() { plainPort.plain, unsecured.deaf = true, true }

// A fatal alert, handshake_failure (RFC 8446 §6; the version is that of a first record, §5.1).
var errTLS = &foreign{"TLS", []byte{21, 3, 1, 0, 2, 2, 40}}

func unparsed(reason string) []byte {
	return append(AppendError(nil, nil, ErrParse.Because(reason)), '\n')
}

// begins looks at what has come first of all. Text is judged by its whole line, but what is binary may never have one.
func (c *Conn) begins(some []byte) (known bool, err error) {
	some = some[skipSpace(some, 0):]
	switch {
	case len(some) == 0:
		return false, nil
	case c.port.plain && some[0] == tlsHandshake:
		return true, errTLS
	case some[0] < ' ' || some[0] >= 0x7f || c.port.deaf && (some[0]|0x20 < 'a' || some[0]|0x20 > 'z'):
		return true, c.port.other
	}
	return true, nil
}

// firstLine tells whether a connection's first line is JSON, on a port that takes it.
func (p *port) firstLine(line []byte) error {
	switch {
	case !p.deaf && Valid(line, anyDepth) == nil:
		return nil
	case isHTTP(line):
		return p.http
	}
	if i := skipSpace(line, 0); !p.deaf && i < len(line) && (line[i] == '{' || line[i] == '[') {
		return p.broken
	}
	return p.other
}

// report logs that a client and this port do not agree on a Security: somebody has set one of them up otherwise than was meant.
func (c *Conn) report(err error) {
	switch {
	case err == error(errTLS):
		c.srv.tell("jsonrpc: a client speaks TLS, and this server does not", "remote", c.remote)
	case c.port.deaf && (err == error(c.port.http) || err == error(c.port.other)):
		c.srv.tell("jsonrpc: a client does not speak TLS, and this server does", "remote", c.remote)
	}
}

// isHTTP tells whether a line that is no JSON looks as the first one of an HTTP request (RFC 9112 §3), of any method
// and version, also HTTP/2's preface.
func isHTTP(line []byte) bool {
	method, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok || len(method) == 0 {
		return false
	}
	for _, c := range method {
		if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) < 0 {
			return false
		}
	}
	rest = rest[:min(len(rest), 64<<10)]
	return bytes.HasPrefix(rest, []byte{'/'}) || bytes.Contains(bytes.ToUpper(rest), []byte("HTTP/"))
}
