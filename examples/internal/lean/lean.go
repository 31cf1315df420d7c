// Package lean is an HTTP client for measurements, which takes little of the processor that it shares with the servers. It does
// HTTP/1.1 over one connection that is kept, and knows answers with a Content-Length only.
package lean

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
)

// Conn is a connection, with one request under way at a time.
type Conn struct {
	nc        net.Conn
	host      string
	in        *bufio.Reader
	out, body []byte
}

// Dial connects to a server.
func Dial(addr string) (*Conn, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &Conn{nc: nc, host: addr, in: bufio.NewReader(nc)}, nil
}

// Close closes the connection.
func (c *Conn) Close() error { return c.nc.Close() }

// Do sends a request, and returns the body of a 200. It is valid until the next call. Kind is the Content-Type, empty: none. After
// an error that is no status, the connection is of no more use.
func (c *Conn) Do(method, path, kind string, body []byte) ([]byte, error) {
	c.out = append(append(append(append(c.out[:0], method...), ' '), path...), " HTTP/1.1\r\nHost: "...)
	c.out = append(append(c.out, c.host...), "\r\n"...)
	if kind != "" {
		c.out = append(append(append(c.out, "Content-Type: "...), kind...), "\r\n"...)
	}
	if method == "POST" {
		c.out = append(strconv.AppendInt(append(c.out, "Content-Length: "...), int64(len(body)), 10), "\r\n"...)
	}
	c.out = append(append(c.out, "\r\n"...), body...)
	if _, err := c.nc.Write(c.out); err != nil {
		return nil, err
	}
	return c.answer()
}

func (c *Conn) answer() ([]byte, error) {
	status, length := "", -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		line = bytes.TrimSpace(line)
		switch value, is := bytes.CutPrefix(line, []byte("Content-Length: ")); {
		case status == "" && bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")):
			status = "200"
		case status == "":
			status = string(line)
		case is:
			if length, err = strconv.Atoi(string(value)); err != nil {
				return nil, err
			}
		case len(line) == 0 && length < 0:
			return nil, fmt.Errorf("%s, without a length", status)
		case len(line) == 0:
			if cap(c.body) < length {
				c.body = make([]byte, length)
			}
			c.body = c.body[:length]
			if _, err := io.ReadFull(c.in, c.body); err != nil {
				return nil, err
			}
			if status != "200" {
				return nil, fmt.Errorf("%s: %s", status, c.body)
			}
			return c.body, nil
		}
	}
}
