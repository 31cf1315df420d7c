//go:build unix

package torture

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/examples/ids/idclient"
)

// Programs that use package idclient are this test's own, started once more with this in the environment: the name of a sequence,
// or "" for ULIDs; the size of the buffer; whether they take ids by Stream or Next; the servers.
const idsProgram = "TORTURE_IDS"

// alone begins the names of sequences that one life of one program uses.
const alone = "alone"

// idsPerSecond is how many ids a program takes at most.
const idsPerSecond = 5000

// takeIDs writes ids to its output until its input ends.
func takeIDs(job string) error {
	ctx, stop := context.WithCancel(context.Background())
	go func() { // ends with the process that started this one, at the latest
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	args := strings.Split(job, ",")
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if name := args[0]; name != "" {
		c, err := idclient.New(name, size, args[3:]...)
		return pour(ctx, c, err, args[2] == "stream", func(id idclient.ID) number { return num(uint64(id)) })
	}
	c, err := idclient.NewULIDs(size, args[3:]...)
	return pour(ctx, c, err, args[2] == "stream", ulidNumber)
}

func pour[T any](ctx context.Context, c *idclient.Client[T], err error, stream bool, number func(T) number) error {
	if err != nil {
		return err
	}
	defer c.Close()
	for n := 1; ctx.Err() == nil; n++ {
		var id T
		if stream {
			select {
			case <-ctx.Done():
				return nil
			case id = <-c.Stream():
			}
		} else if id, err = c.Next(ctx); err != nil {
			return nil // the context has ended
		}
		is := number(id)
		if _, err := fmt.Println(is.high, is.low); err != nil {
			return err
		}
		if n%10 == 0 {
			time.Sleep(10 * time.Second / idsPerSecond)
		}
	}
	return nil
}

func ulidNumber(id ulid.ULID) (n number) {
	for i, b := range id {
		if i < 8 {
			n.high = n.high<<8 | uint64(b)
		} else {
			n.low = n.low<<8 | uint64(b)
		}
	}
	return n
}

// beginPrograms starts programs that take ids, again and again. Some have a name of their own, and get all ids of it. Others share one.
func (i *idsTrial) beginPrograms(loading context.Context) {
	for n, job := range []struct {
		name, by string
		size     int
	}{
		{alone + " 1", "next", 0}, {alone + " 2", "stream", 2}, {alone + " 3", "next", 1024}, {"both", "next", 1}, {"both", "stream", 100}, {"", "next", 300},
	} {
		rng := rand.New(rand.NewPCG(i.seed, 1000+uint64(n)))
		i.wg.Go(func() {
			for life := 1; loading.Err() == nil; life++ {
				name := job.name
				if strings.HasPrefix(name, alone) { // else what the one before had under way when it was killed would take an id now
					name = fmt.Sprint(name, " life ", life)
				}
				if err := i.live(loading, rng, name, job.by, job.size); err != nil {
					i.tally.fault(fmt.Errorf("a program that takes ids of %q: %w", name, err))
					return
				}
			}
		})
	}
}

// live is one life of a program. It stands still now and then, and is killed in the end.
func (i *idsTrial) live(loading context.Context, rng *rand.Rand, name, by string, size int) error {
	began := i.tally.now()
	args := append([]string{name, strconv.Itoa(size), by}, i.addrs()...)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), idsProgram+"="+strings.Join(args, ","))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe() // open as long as we live
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { // ends with the program's life
		defer close(done)
		for n := 2 + rng.IntN(4); n > 0 && loading.Err() == nil; n-- {
			doze(loading, time.Second+rand.N(2*time.Second))
			if rng.IntN(2) == 0 {
				_ = cmd.Process.Signal(syscall.SIGSTOP) // if it has ended, that shows
				doze(loading, rand.N(8*time.Second))
				_ = cmd.Process.Signal(syscall.SIGCONT)
				i.mu.Lock()
				i.pauses++
				i.mu.Unlock()
			}
		}
		_ = cmd.Process.Kill()
	}()
	err = i.read(out, name, size, began)
	<-done
	_ = cmd.Wait() // it was killed
	return err
}

func doze(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// read takes down what a program is given in its life. NB: An id lies in the program's buffer for a while; so all that is
// certain is that it was given out after the program began, and before it is read here.
func (i *idsTrial) read(out io.Reader, name string, size int, began int64) error {
	var life []given
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // the last line may be torn
		}
		var id number
		if _, err := fmt.Sscan(line, &id.high, &id.low); err != nil {
			return fmt.Errorf("it says %q: %w", line, err)
		}
		if life, err = follow(life, id, name, began, i.tally.now()); err != nil {
			return err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lives++
	if name == "" {
		i.ulids = append(i.ulids, life...)
		return nil
	}
	s := i.sequence(name)
	s.given = append(s.given, life...)
	// What was in the buffer is lost: two blocks, the one that comes, and what the stream holds. A block may be four times the size.
	s.lost = append(s.lost, lost{4*uint64(max(1, size))*3 + uint64(min(size, 1024)) + 2, began})
	return nil
}

// follow adds an id to those of a life. They must grow, and have no gap if the name is the program's own.
func follow(life []given, id number, name string, began, now int64) ([]given, error) {
	if len(life) == 0 {
		return append(life, given{id, id, began, now}), nil
	}
	last := &life[len(life)-1]
	next := last.last.high == id.high && last.last.low+1 == id.low
	switch {
	case id.compare(last.last) <= 0:
		return nil, fmt.Errorf("after %v, which came at %v, came %v, at %v", last.last, time.Duration(last.ret), id, time.Duration(now))
	case !next && strings.HasPrefix(name, alone):
		return nil, fmt.Errorf("after %v, which came at %v, came %v, at %v, and nobody else takes ids of this name", last.last, time.Duration(last.ret), id, time.Duration(now))
	case next && now-last.ret < int64(10*time.Millisecond): // as one block
		last.last, last.ret = id, now
		return life, nil
	}
	return append(life, given{id, id, began, now}), nil
}

// TestFollow holds the check of what a program is given to what it must refuse.
func TestFollow(t *testing.T) {
	for name, test := range map[string]struct {
		of    string
		ids   []number
		wrong string
	}{
		"one after the other":            {alone, []number{num(7), num(8), num(9)}, ""},
		"a gap":                          {alone, []number{num(7), num(9)}, "nobody else"},
		"a gap where others take ids":    {"both", []number{num(7), num(9)}, ""},
		"the same again":                 {"both", []number{num(7), num(7)}, "after 7"},
		"backwards":                      {"both", []number{num(7), num(6)}, "after 7"},
		"backwards in the upper half":    {"", []number{{2, 0}, {1, 9}}, "after 2:0"},
		"the upper half begins anew":     {"", []number{{1, 9}, {2, 0}}, ""},
		"a gap of the size of the upper": {alone, []number{{1, 9}, {2, 10}}, "nobody else"},
	} {
		t.Run(name, func(t *testing.T) {
			var life []given
			var err error
			for i, id := range test.ids {
				if life, err = follow(life, id, test.of, 0, int64(i)); err != nil {
					break
				}
			}
			if test.wrong == "" {
				require.NoError(t, err)
				require.Equal(t, test.ids[len(test.ids)-1], life[len(life)-1].last)
			} else {
				require.ErrorContains(t, err, test.wrong)
			}
		})
	}
}
