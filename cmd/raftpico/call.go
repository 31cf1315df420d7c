package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/goccy/go-json"
)

const dialTimeout = 10 * time.Second

// call sends the requests of the input one by one, each when the one before it is answered, and prints the answers.
func call(c *console, args []string) error {
	f := newFlags()
	var pretty bool
	for _, name := range []string{"pretty", "p"} {
		f.BoolVar(&pretty, name, false, "")
	}
	args, err := f.parse(args, 1, 1)
	if err != nil {
		return err
	}
	addr, err := address(args[0])
	if err != nil {
		return err
	}
	conn, err := net.DialTimeout("tcp", addr, dialTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	requests, answers := lines{r: c.in}, lines{r: conn}
	for {
		block, err := requests.next(nil)
		if err != nil {
			return ignoreEOF(err)
		}
		for line := range bytes.Lines(block) {
			if line = bytes.TrimSpace(line); len(line) == 0 {
				continue
			}
			if err := exchange(c.out, conn, &answers, line, pretty); err != nil {
				return err
			}
		}
	}
}

// exchange sends a request or a batch and prints its answer, if it gets one.
func exchange(out io.Writer, conn net.Conn, answers *lines, line []byte, pretty bool) error {
	answered, err := wantsAnswer(line)
	if err != nil {
		return err
	}
	if _, err := conn.Write(append(line, '\n')); err != nil || !answered {
		return err
	}
	answer, err := answers.next(nil)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the server closed the connection without an answer")
		}
		return err
	}
	answer = bytes.TrimSpace(answer)
	if !json.Valid(answer) {
		return fmt.Errorf("the answer is not one line of JSON: %.64q", answer)
	}
	var text bytes.Buffer
	if pretty {
		if err := json.Indent(&text, answer, "", "  "); err != nil {
			return err
		}
	} else {
		text.Write(answer)
	}
	text.WriteByte('\n')
	_, err = out.Write(text.Bytes())
	return err
}

// wantsAnswer checks a line and tells whether it holds anything but notifications.
func wantsAnswer(line []byte) (bool, error) {
	var batch []json.RawMessage
	if line[0] != '[' {
		batch = []json.RawMessage{line}
	} else if err := json.Unmarshal(line, &batch); err != nil || len(batch) == 0 {
		return false, fmt.Errorf("not a batch: %.64q", line)
	}
	answered := false
	for _, item := range batch {
		r, err := parseRequest(string(item))
		if err != nil {
			return false, err
		}
		answered = answered || r.id != ""
	}
	return answered, nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
