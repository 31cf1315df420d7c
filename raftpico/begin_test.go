package raftpico_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// What one goroutine begins is carried out in its order, whoever waits first, and whether anybody does.
func TestBegunRequestsAreCarriedOutInTheirOrder(t *testing.T) {
	for _, n := range []int{1, 3} {
		for i, s := range startCluster(t, n) {
			before, err := raftpico.Query[int](t.Context(), s, 0)
			require.NoError(t, err)
			begun := make([]*raftpico.Pending, 300)
			for i := range begun {
				begun[i] = s.Begin(t.Context(), machine.Command, 1)
				s.Begin(t.Context(), machine.Command, 1) // nobody waits for it
			}
			query := s.Begin(t.Context(), machine.Query, 0)
			for i := len(begun) - 1; i >= 0; i-- {
				sum, err := begun[i].Wait()
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint(before+2*i+1), string(sum))
			}
			_, err = query.Wait()
			require.NoError(t, err)
			again, err := begun[0].Wait()
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(before+1), string(again), "whoever asks again gets his own outcome, and nobody else's")
			after, err := raftpico.Query[int](t.Context(), s, 0)
			require.NoError(t, err)
			require.Equal(t, before+2*len(begun), after, "at server %d of %d", i, n)
			local := s.Begin(t.Context(), machine.LocalQuery, 0)
			sum, err := local.Wait()
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(after), string(sum))
		}
	}
}

// What may not be asked, and what a context ends, is told by Wait.
func TestBegunRequestsEndAsApplyDoes(t *testing.T) {
	t.Parallel() // it waits for the end of a server that has lost the others
	s := startServer(t, machine.JSON(&counter{}), nil)
	for _, input := range []any{json.RawMessage(`{`), func() {}} {
		p := s.Begin(t.Context(), machine.Command, input)
		_, err := p.Wait()
		_, want := s.Apply(t.Context(), machine.Command, input)
		require.EqualError(t, err, want.Error())
	}
	p := s.Begin(t.Context(), machine.Command, 1)
	_, err := p.Wait()
	require.ErrorIs(t, err, raftpico.ErrNotMember)

	servers := startCluster(t, 3)
	require.NoError(t, servers[1].Close())
	require.NoError(t, servers[2].Close())
	ctx, cancel := context.WithCancel(t.Context())
	p = servers[0].Begin(ctx, machine.Command, 1)
	forgotten := servers[0].Begin(ctx, machine.Command, 1)
	time.AfterFunc(time.Millisecond, cancel)
	for _, p := range []*raftpico.Pending{p, forgotten} { // the second is waited for only when it is over
		_, err = p.Wait()
		require.ErrorIs(t, err, context.Canceled)
		require.True(t, errors.Is(err, raftpico.ErrUnknown) || errors.Is(err, raftpico.ErrRejected), "%v", err) // it may not have been logged yet
	}
	require.NoError(t, s.Close())
	p = s.Begin(t.Context(), machine.Command, 1)
	_, err = p.Wait()
	require.ErrorIs(t, err, raftpico.ErrRejected)
}

// A server that is at work for long holds no more than its limit of what is begun meanwhile: the rest is refused at once.
func TestBegunRequestsAreBounded(t *testing.T) {
	t.Parallel()
	m := hanging{entered: make(chan struct{}, 1), release: make(chan struct{})}
	s := startServer(t, m, func(o *raftpico.Options) { o.Limits.MaxPending = 100 })
	_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	first := s.Begin(t.Context(), machine.Command, 1)
	<-m.entered
	var begun []*raftpico.Pending
	for range 1000 {
		begun = append(begun, s.Begin(t.Context(), machine.Command, 1))
	}
	refused := make(chan error, 1)
	go func() {
		_, err := begun[999].Wait()
		refused <- err
	}()
	select {
	case err := <-refused:
		require.ErrorIs(t, err, raftpico.ErrBusy)
	case <-time.After(time.Minute):
		t.Error("it was taken in")
	}
	close(m.release)
	go func() {
		for t.Context().Err() == nil {
			select {
			case <-m.entered:
			case <-t.Context().Done():
			}
		}
	}()
	_, err = first.Wait()
	require.NoError(t, err)
	for i, p := range begun {
		if _, err := p.Wait(); i < 50 {
			require.NoError(t, err)
		} else if err != nil {
			require.ErrorIs(t, err, raftpico.ErrBusy)
		}
	}
	again := s.Begin(t.Context(), machine.Command, 1)
	_, err = again.Wait()
	require.NoError(t, err)
}

// naysayer refuses all.
type naysayer struct{ puts }

func (naysayer) Apply(*machine.Context, json.RawMessage) (any, error) {
	return nil, &machine.Error{Code: 1001, Message: "no"}
}

// A context that ends when the machine has answered takes nothing from that answer: it came in time.
func TestBegunRequestsKeepWhatTheMachineSaid(t *testing.T) {
	t.Parallel()
	s := startServer(t, naysayer{}, nil)
	_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begun := make([]*raftpico.Pending, 20)
	for i := range begun {
		begun[i] = s.Begin(ctx, machine.Command, 1)
	}
	_, err = s.Apply(t.Context(), machine.Command, 1) // so they were answered too
	require.Error(t, err)
	<-ctx.Done()
	for _, p := range begun {
		_, err := p.Wait()
		own, ok := errors.AsType[*machine.Error](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, 1001, own.Code)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
	}
}

// What is begun and what it is answered may be of any length, and belongs to the caller, also where it was small enough to be
// kept beside the Pending.
func TestBegunRequestsOfAnyLength(t *testing.T) {
	s := startServer(t, machine.JSON(&echo{}), nil)
	_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	for _, kind := range []machine.Kind{machine.Command, machine.Query, machine.LocalQuery} {
		var begun []*raftpico.Pending
		var want []string
		for n := range 200 {
			input := []byte(fmt.Sprintf(`"%0*d"`, n+1, n))
			want = append(want, string(input))
			begun = append(begun, s.Begin(t.Context(), kind, json.RawMessage(input)))
			clear(input) // it is the caller's
		}
		for i, p := range begun {
			result, err := p.Wait()
			require.NoError(t, err)
			_ = append(result, "more"...) // it is too
			again, err := p.Wait()
			require.NoError(t, err)
			require.Equal(t, want[i], string(again))
		}
	}
}
