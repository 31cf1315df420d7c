package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/goccy/go-json"
	"github.com/spf13/cobra"
)

// newCall sends the requests of the input one by one, each when the one before it is answered, and prints the answers.
func newCall() *cobra.Command {
	var c caller
	cmd := &cobra.Command{
		Use:   "call ADDR... [-p] [--ok] [--timeout 1m] < REQUESTS",
		Short: "send requests one by one and print the answers",
		Long: `Call sends the requests of standard input one by one and prints the answers.

With several addresses it goes on to the next one, once round for each request, when a server can't be reached, or answers
that it has certainly not carried out what another may: 102, 106, 108 and 110. A request whose result is unknown (107, or a
connection that broke) is not sent again, unless it is one that only reads.
The exit status is 1 if any answer was an error, or missing.`,
		Example:           `  raftpico req Apply -p '{"kind":"Query","input":{"Get":"foo"}}' | raftpico call :4000 :4001 :4002`,
		Args:              addresses,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, addrs []string) error {
			if c.timeout < time.Millisecond {
				return usageError("--timeout must be at least 1ms")
			}
			c.addrs, c.out = addrs, cmd.OutOrStdout()
			c.note = func(err error, next string) {
				fmt.Fprintf(cmd.ErrOrStderr(), "raftpico call: %v; asking %s\n", err, next)
			}
			defer c.hangUp()
			return c.run(input(cmd, "requests"))
		},
	}
	c.dialer = dialing(cmd)
	cmd.Flags().BoolVarP(&c.pretty, "pretty", "p", false, "print answers indented, over several lines")
	cmd.Flags().BoolVar(&c.ok, "ok", false, "exit with 0 even if answers are errors")
	cmd.Flags().DurationVar(&c.timeout, "timeout", time.Minute, "longest wait for an answer")
	return cmd
}

// caller talks to one server at a time.
type caller struct {
	*dialer
	addrs   []string
	at      int      // of the address in use
	conn    net.Conn // nil: none
	answers lines
	timeout time.Duration
	pretty  bool
	ok      bool
	failed  bool // an answer was an error
	out     io.Writer
	note    func(why error, next string)
}

func (c *caller) run(in io.Reader) error {
	requests := lines{r: in}
	if err := c.reach(); err != nil {
		return err
	}
	for {
		block, err := requests.next(nil)
		if err != nil {
			if err = ignoreEOF(err); err == nil && c.failed && !c.ok {
				err = errToldAlready
			}
			return err
		}
		for line := range bytes.Lines(block) {
			if line = bytes.TrimSpace(line); len(line) == 0 {
				continue
			}
			if err := c.call(line); err != nil {
				return err
			}
		}
	}
}

// reach connects to the first server that can be reached.
func (c *caller) reach() (err error) {
	for tried := 1; ; tried++ {
		if err = c.connect(); err == nil || tried == len(c.addrs) {
			return err
		}
		c.next(err)
	}
}

// call asks one server after the other, each once, until one answers for good. What is printed is the last answer.
func (c *caller) call(line []byte) error {
	p, err := parseParcel(line)
	if err != nil {
		return err
	}
	var last reply
	for tried := 1; ; tried++ {
		text, err := c.exchange(line, p.answered)
		if err == nil {
			if !p.answered {
				return nil
			}
			if last, err = parseReply(text); err != nil {
				return fmt.Errorf("%s: %w", c.addrs[c.at], err)
			}
			if tried == len(c.addrs) || !last.elsewhere() {
				return c.print(last)
			}
			err = fmt.Errorf("%s: %d %s", c.addrs[c.at], last.code, last.reason)
		} else if errors.Is(err, errUnknown) && !p.reads {
			return err
		} else if tried == len(c.addrs) {
			if last.text == nil {
				return err
			}
			return errors.Join(err, c.print(last))
		}
		c.next(err)
	}
}

// errUnknown is a request that may have been carried out.
var errUnknown = errors.New("the result is unknown")

// exchange sends a request or a batch to the server in use and returns the answer, if it gets one.
func (c *caller) exchange(line []byte, answered bool) ([]byte, error) {
	if err := c.connect(); err != nil {
		return nil, err
	}
	err := c.conn.SetDeadline(time.Now().Add(c.timeout))
	if err == nil {
		_, err = c.conn.Write(append(bytes.Clone(line), '\n'))
	}
	if err == nil && !answered {
		return nil, nil
	}
	var answer []byte
	if err == nil {
		answer, err = c.answers.next(nil)
	}
	switch {
	case err == nil:
		return answer, nil
	case errors.Is(err, io.EOF):
		err = errors.New("the server closed the connection without an answer")
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("no answer in %v", c.timeout)
	}
	c.hangUp() // what comes late must not be taken for the next request's answer
	return nil, fmt.Errorf("%s: %w; %w", c.addrs[c.at], err, errUnknown)
}

func (c *caller) connect() error {
	if c.conn != nil {
		return nil
	}
	conn, err := c.dial(context.Background(), c.addrs[c.at], min(dialTimeout, c.timeout))
	if err != nil {
		return fmt.Errorf("%s: %s", c.addrs[c.at], short(err))
	}
	c.conn, c.answers = conn, lines{r: conn}
	return nil
}

func (c *caller) hangUp() {
	if c.conn != nil {
		c.conn.Close()
	}
	c.conn = nil
}

// next turns to the next server.
func (c *caller) next(why error) {
	c.hangUp()
	c.at = (c.at + 1) % len(c.addrs)
	c.note(why, c.addrs[c.at])
}

func (c *caller) print(r reply) error {
	c.failed = c.failed || r.failed
	text := bytes.NewBuffer(nil)
	if c.pretty {
		if err := json.Indent(text, r.text, "", "  "); err != nil {
			return err
		}
	} else {
		text.Write(r.text)
	}
	text.WriteByte('\n')
	_, err := c.out.Write(text.Bytes())
	return err
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
