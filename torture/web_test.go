//go:build unix

package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// web is a client that speaks HTTP, to one server after the other. It is one goroutine's.
type web struct {
	*tally
	servers []*server
	rng     *rand.Rand
	timeout time.Duration
	client  http.Client
	server  *server
	left    int // requests until it goes to another server
}

// page is what became of a request. Status is that of the answer, if there was one.
type page struct {
	outcome   outcome
	status    int
	body      []byte
	call, ret int64
}

func (r *run) web(id int) *web {
	timeout := impatient
	if id%4 == 0 {
		timeout = patient
	}
	return &web{tally: r.tally, servers: r.servers, rng: rand.New(rand.NewPCG(r.seed, 2000+uint64(id))), timeout: timeout,
		client: http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: time.Second}).DialContext, DisableCompression: true}}}
}

func (c *web) close() { c.client.CloseIdleConnections() }

// request makes a request within ctx. Its answer may take as much longer as is told. Answers that say the server can't do it now are honest in this: the request was certainly
// not carried out, or nobody can know.
func (c *web) request(ctx context.Context, method, path, contentType string, body []byte, longer time.Duration) (is page) {
	if c.left == 0 {
		c.server, c.left = c.servers[c.rng.IntN(len(c.servers))], perConnection/depth
	}
	c.left--
	ctx, cancel := context.WithTimeout(ctx, c.timeout+longer)
	defer cancel()
	is.call = c.now()
	defer func() { is.ret = c.now() }()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+c.server.http+path, bytes.NewReader(body))
	if err != nil {
		c.fault(err)
		is.outcome = refused
		return is
	}
	request.Header.Set("Content-Type", contentType)
	answer, err := c.client.Do(request) // NB: it sends a GET again by itself when a connection breaks, and nothing else
	if err != nil {
		is.outcome = unknown
		if dial := new(net.OpError); errors.As(err, &dial) && dial.Op == "dial" {
			is.outcome = refused
			doze(ctx, 20*time.Millisecond) // not to dial without pause while all servers are down
		}
		c.left = 0
		return is
	}
	defer answer.Body.Close()
	is.status = answer.StatusCode
	if is.body, err = io.ReadAll(answer.Body); err != nil {
		is.outcome = unknown
		c.left = 0
		return is
	}
	switch {
	case is.status == http.StatusServiceUnavailable:
		if is.outcome = doubt(is.body); is.outcome == refused && method == http.MethodPost {
			c.left = 0
		}
	case is.status >= 500:
		is.outcome = unknown
		c.fault(fmt.Errorf("%v: %s %s: status %d: %.200s", c.server, method, path, is.status, is.body))
	}
	return is
}

// doubt reads what a 503 says of a request.
func doubt(body []byte) outcome {
	var says struct {
		Unknown *bool  // kvs
		Code    string // locks
	}
	if json.Unmarshal(body, &says) != nil {
		return unknown
	}
	switch says.Code {
	case "rejected", "no_leader", "busy", "not_member":
		return refused
	}
	if says.Unknown != nil && !*says.Unknown {
		return refused
	}
	return unknown
}
