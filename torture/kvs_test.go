//go:build unix

package torture

import (
	"context"
	"fmt"
	"time"
)

var kvsService = service{program: "kvs", command: map[string]any{"Put": []any{"frozen", 1}}, query: "List", deadline: deadline, begin: beginKvs}

// kvsTrial is registers in the hands of clients to whom unknown outcomes stay unknown, and of programs with package client.
type kvsTrial struct {
	*run
	history  *history
	load     *load
	sure     *sure
	replayed string // what the logs held
}

func beginKvs(r *run, loading context.Context, rate int) trial {
	k := &kvsTrial{run: r, history: newHistory(2000, r.dir)}
	k.load = &load{tally: r.tally, history: k.history, servers: r.servers}
	k.load.begin(loading, rate, r.seed)
	k.sure = startSure(r, k.load, loading)
	return k
}

func (k *kvsTrial) finish() {
	k.load.wg.Wait()
	k.sure.finish()
}

func (k *kvsTrial) breakOff() {
	k.load.wg.Wait()
	k.sure.breakOff()
	for _, reg := range k.history.rest() {
		k.history.submit(reg)
	}
}

// check also goes on with each register, and has it judged.
func (k *kvsTrial) check() {
	k.t.Helper()
	k.sure.check(k.run)
	c := &client{load: k.load, id: clients, timeout: patient}
	for i, reg := range k.history.rest() {
		k.goOn(c, reg, i)
	}
}

// goOn writes to a register and reads it again, through any two servers, and has it judged.
func (k *kvsTrial) goOn(c *client, reg *register, i int) {
	k.t.Helper()
	value := k.history.anotherValue()
	for n, o := range []operation{{kind: get}, {kind: put, wrote: value}, {kind: get}} {
		k.eventually("an answer", func() (bool, error) {
			s := k.servers[(i+n)%len(k.servers)]
			conn, err := s.dial(k.ctx)
			if err != nil {
				return false, err
			}
			defer conn.Close()
			try := o
			c.do(conn, reg.key, &try)
			reg.ops = append(reg.ops, try)
			if try.kind == put { // the value is used up
				o.wrote = k.history.anotherValue()
			}
			return try.outcome == answered, fmt.Errorf("%v", try)
		})
	}
	k.history.submit(reg)
}

func (k *kvsTrial) inspect() { k.replayed = k.checkReplays() }

func (k *kvsTrial) verdict() []error { return k.history.verdict() }

func (k *kvsTrial) report() string {
	return fmt.Sprintf("\n  through package client: %s\n  %d operations judged, %v at most for a key%s", k.sure.summary(),
		k.history.judged, k.history.slow.Round(time.Millisecond), k.replayed)
}
