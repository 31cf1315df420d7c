package join

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/api"
)

func texts(s Step) (all []string) {
	for _, n := range s.Notes {
		all = append(all, n.Text)
	}
	return all
}

// TestAddressOfItself: a name may lead to several servers, and to who asks. Then another time it leads elsewhere.
func TestAddressOfItself(t *testing.T) {
	a := NewAsker("a:1", "me", []string{"all:1"}, false, "")
	step := a.Heard(0, []Heard{{Addr: "all:1", Answer: Answer{Instance: "me"}}})
	require.Equal(t, Wait, step.Do)
	require.Contains(t, texts(step)[0], "leads to this server itself")
	step = a.Heard(0, []Heard{{Addr: "all:1", Answer: Answer{Instance: "other", Member: true}}})
	require.Equal(t, Add, step.Do)
}

// TestServerThatIsAddedAndNeverTold warns: another server was found at its address, and was added.
func TestServerThatIsAddedAndNeverTold(t *testing.T) {
	a := NewAsker("a:1", "me", []string{"b:1"}, false, "")
	step, another := a.Added("b:1", nil)
	require.False(t, another)
	require.False(t, step.Slow)
	for range untold {
		step, _ = a.Added("b:1", api.ErrServerExists)
		require.False(t, step.Slow)
		require.False(t, step.Notes[0].Warn)
	}
	step, _ = a.Added("b:1", api.ErrServerExists)
	require.True(t, step.Slow)
	require.True(t, step.Notes[0].Warn)
	require.Contains(t, texts(step)[0], "no member has told this server")

	_, another = a.Added("b:1", errors.New("no answer"))
	require.True(t, another, "another one may know more")
	step, _ = a.Added("b:1", api.ErrServerExists)
	require.False(t, step.Slow, "it counts anew")
}

// TestServerThatMovedBeforeItWasTold is told where the cluster has it.
func TestServerThatMovedBeforeItWasTold(t *testing.T) {
	a := NewAsker("a:2", "me", []string{"b:1"}, false, "")
	var step Step
	for range 3 {
		step, _ = a.Added("b:1", api.ErrServerExists.Because("it is the member a:1"))
	}
	require.True(t, step.Slow)
	require.Contains(t, texts(step)[0], "was added at another address")
	require.ErrorContains(t, step.Notes[0].Facts[3].(error), "a:1")
}

// TestRefusalsOfAPromiseAreFew: who asks every other second for five minutes is told, and logs, a few things only.
func TestRefusalsOfAPromiseAreFew(t *testing.T) {
	p := Promises{Servers: []string{"a:1", "b:1"}}
	q := Question{Servers: p.Servers, From: "a:1", Instance: "first", Cluster: "one", Promise: true}
	promised, _ := p.Ask(0, &q)
	require.True(t, promised)
	q.Instance, q.Cluster = "second", "two"
	asked, bound := map[string]bool{}, map[string]bool{}
	for now := time.Second; now < Hold; now += 2 * time.Second {
		promised, refusal := p.Ask(now, &q)
		require.False(t, promised)
		require.NotEmpty(t, refusal)
		asked[refusal], bound[p.Binds(now, "two")] = true, true
	}
	require.Len(t, asked, 5)
	require.Len(t, bound, 5)
	promised, _ = p.Ask(Hold, &q)
	require.True(t, promised)
}
