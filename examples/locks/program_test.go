package main

import (
	"context"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/internal/ports"
)

// output is what a program has printed so far.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// startDemo runs the program without arguments, until stop. It returns what that says to type.
func startDemo(t *testing.T, ports []string) (curls [][]string, stop func()) {
	p := program
	p.Addrs, p.HTTPAddrs = ports[:3], ports[3:]
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	out, ended := new(output), make(chan error, 1)
	go func() { ended <- p.Run(ctx, nil, out) }()
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "Ctrl-C") }, time.Minute, 10*time.Millisecond)
	text := strings.NewReplacer("127.0.0.1:8200", ports[3], "127.0.0.1:8201", ports[4], "127.0.0.1:8202", ports[5]).Replace(out.String())
	return regexp.MustCompile(`curl -d '(.*)' ([^/]*)(/.*)`).FindAllStringSubmatch(text, -1), func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

// TestTheDemo sends what the demo says to type, and starts it again.
func TestTheDemo(t *testing.T) {
	t.Chdir(t.TempDir())
	ports := ports.Free(t, 6)
	curls, stop := startDemo(t, ports)
	var answers []string
	for _, curl := range curls {
		status, got := (&wire{t, "http://" + curl[2]}).post(curl[3], curl[1])
		require.Equal(t, 200, status, got)
		answers = append(answers, got)
	}
	stop()
	require.Equal(t, []string{`{"l":1}`, `{"atm":[{"k":"n","new":1,"f":false}]}`, `{"Key":"ABC","Value":"123","Delete":false,"Version":1}`,
		`{"kv":[{"Key":"ABC","Value":"123","Delete":false,"Version":1}]}`}, answers)

	_, stop = startDemo(t, ports)
	defer stop()
	w := &wire{t, "http://" + ports[4]}
	w.want("/db/my_env", `{"KVGet":["ABC"]}`, 200, answers[3])
	w.want("/db/my_env", `{"LockID":"ABC","LockDur":60,"UnlockID":"ABC","Unlock":1}`, 200, `{"l":1}`) // it is held yet
}
