package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// sample is a member list: 1 and 2 vote, 3 is to, 4 learns for good, 5 is about to lose its vote.
func sample() (s *system, voters []uint64) {
	s = newSystem(DefaultTimeouts)
	s.Members = map[uint64]Member{1: {Addr: "a:1", Instance: "ia"}, 2: {Addr: "b:1", Instance: "ib"}, 3: {Addr: "c:1", Instance: "ic"},
		4: {Addr: "d:1", Instance: "id", Nonvoter: true}, 5: {Addr: "e:1", Instance: "ie", Nonvoter: true, Demotion: DemotionAsked}}
	return s, []uint64{1, 2, 5}
}

// TestSetVoter tells for each kind of member what SetVoter does.
func TestSetVoter(t *testing.T) {
	for _, c := range []struct {
		addr  string
		voter bool
		err   *jsonrpc.Error
		want  Member // but for address and instance
	}{
		{"a:1", true, nil, Member{}},
		{"a:1", false, nil, Member{Nonvoter: true, Demotion: DemotionAsked}},
		{"c:1", true, nil, Member{}},
		{"c:1", false, nil, Member{Nonvoter: true, Demotion: DemotionAsked}}, // the step that makes it a voter may be under way
		{"d:1", true, nil, Member{}},
		{"d:1", false, nil, Member{Nonvoter: true}},
		{"e:1", true, ErrBusy, Member{Nonvoter: true, Demotion: DemotionAsked}},
		{"e:1", false, nil, Member{Nonvoter: true, Demotion: DemotionAsked}},
		{"f:1", true, ErrNotMember, Member{}},
		{"f:1", false, ErrNotMember, Member{}},
	} {
		s, voters := sample()
		err := s.setVoter(&wire.SetVoter{Addr: c.addr, Voter: c.voter}, voters)
		if c.err == nil {
			require.Nil(t, err, "%+v", c)
		} else {
			require.ErrorIs(t, err, c.err, "%+v", c)
		}
		got := s.Members[s.find(c.addr)]
		got.Addr, got.Instance = "", ""
		require.Equal(t, c.want, got, "%+v", c)
		again, err2 := decodeSystem(s.encode())
		require.NoError(t, err2)
		require.Equal(t, s.Members, again.Members, "a snapshot keeps it")
	}
}

// Whatever is asked for in whatever order, a voter is left that is to stay one.
func TestAVoterAlwaysStays(t *testing.T) {
	s, voters := sample()
	require.Nil(t, s.setVoter(&wire.SetVoter{Addr: "a:1"}, voters))
	require.Equal(t, ErrLastServer, s.setVoter(&wire.SetVoter{Addr: "b:1"}, voters), "the one that is to vote does not yet")
	require.Equal(t, ErrLastServer, s.remove(&wire.RemoveServer{Addr: "b:1"}, voters))
	require.Nil(t, s.remove(&wire.RemoveServer{Addr: "a:1"}, voters))
	require.Equal(t, ErrLastServer, s.remove(&wire.RemoveServer{Addr: "b:1"}, voters))
	require.Nil(t, s.setVoter(&wire.SetVoter{Addr: "b:1"}, []uint64{2, 3}), "now it does")
}

// A leader that has found a member dead means that one, wherever it is, and not another at its address.
func TestDeadMemberIsNamedByItsID(t *testing.T) {
	for _, c := range []struct {
		remove wire.RemoveServer
		err    *jsonrpc.Error
		gone   uint64
		dead   uint64
	}{
		{wire.RemoveServer{Addr: "b:1"}, nil, 2, 0},
		{wire.RemoveServer{Addr: "b:1", ID: 2}, nil, 2, 1},
		{wire.RemoveServer{Addr: "a:1", ID: 2}, nil, 2, 1}, // it has moved meanwhile
		{wire.RemoveServer{Addr: "b:1", ID: 9}, ErrNotMember, 0, 0},
		{wire.RemoveServer{Addr: "z:1", ID: 9}, ErrNotMember, 0, 0},
	} {
		s, voters := sample()
		voters = append(voters, 3, 6)
		s.Members[6] = Member{Addr: "g:1", Instance: "ig"}
		require.Equal(t, c.err, s.remove(&c.remove, voters), "%+v", c)
		if c.gone == 0 {
			require.Len(t, s.Members, 6)
		} else {
			require.NotContains(t, s.Members, c.gone, "%+v", c)
			require.Contains(t, s.Leaving, c.gone, "%+v", c)
		}
		require.Equal(t, c.dead, s.RemovedDead, "%+v", c)
	}
}

// Whatever a leader believed when it found a voter dead: three that are to stay voters are left when it is removed, or it stays.
func TestOfVotersThatAreNotDeadThreeStay(t *testing.T) {
	dead := func(id uint64) *wire.RemoveServer { return &wire.RemoveServer{Addr: "x:1", ID: id} }
	sample := func() *system {
		s := newSystem(DefaultTimeouts)
		for id := uint64(1); id <= 5; id++ {
			s.Members[id] = Member{Addr: string(rune('a'+id)) + ":1", Instance: string(rune('a' + id)), Nonvoter: id == 5}
		}
		return s
	}
	s := sample()
	require.Nil(t, s.remove(dead(4), []uint64{1, 2, 3, 4}))
	require.Equal(t, ErrLastServer, s.remove(dead(3), []uint64{1, 2, 3}))
	require.Nil(t, s.remove(dead(5), []uint64{1, 2, 3}), "it learns")
	require.Nil(t, s.remove(&wire.RemoveServer{Addr: s.Members[3].Addr}, []uint64{1, 2, 3}), "an operator may")
	require.EqualValues(t, 2, s.RemovedDead)

	s = sample()
	require.Equal(t, ErrLastServer, s.remove(dead(3), []uint64{1, 2, 3}), "it was a learner, and votes by now; the fourth does not")
	require.Nil(t, s.setVoter(&wire.SetVoter{Addr: s.Members[4].Addr}, []uint64{1, 2, 3, 4}))
	require.Equal(t, ErrLastServer, s.remove(dead(3), []uint64{1, 2, 3, 4}), "the fourth is to learn")
	require.Contains(t, s.Members, uint64(3))
	require.Zero(t, s.RemovedDead)
}

// TestSteps tells what the two steps of a demotion do to the list.
func TestStepsOfADemotion(t *testing.T) {
	s, _ := sample()
	require.Zero(t, s.unproven())
	s.learns(5, true)
	require.Equal(t, DemotionTaken, s.Members[5].Demotion)
	require.EqualValues(t, 5, s.unproven())
	require.True(t, s.needed(5))
	s.learns(5, false)
	require.Zero(t, s.unproven())
	require.False(t, s.needed(5))
	require.Equal(t, Member{Addr: "e:1", Instance: "ie", Nonvoter: true}, s.Members[5])
	s.learns(3, false) // a server that has just been added
	require.Equal(t, Member{Addr: "c:1", Instance: "ic"}, s.Members[3])
}

func TestListWithAnUnknownDemotionIsRefused(t *testing.T) {
	_, err := decodeSystem([]byte(`{"min_election_timeout_ms":300,"max_election_timeout_ms":2000,"members":{"1":{"addr":"a:1","instance":"i","demotion":"maybe"}}}`))
	require.ErrorContains(t, err, "bad demotion")
}
