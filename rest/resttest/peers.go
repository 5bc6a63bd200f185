package resttest

import (
	"context"
	"errors"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// Peers answers for members by name; who is not in it does not answer.
type Peers map[string]ha.PeerAnswer

var _ ha.Peers = Peers{}

// Poll implements ha.Peers.
func (p Peers) Poll(_ context.Context, members []dcs.Member) []ha.PeerAnswer {
	out := make([]ha.PeerAnswer, 0, len(members))
	for _, m := range members {
		a, ok := p[m.Name]
		if !ok {
			a.Problem = "not scripted"
		}
		a.Name, a.Reachable = m.Name, ok
		out = append(out, a)
	}
	return out
}

// Failsafe implements ha.Peers: who answers, accepts.
func (p Peers) Failsafe(_ context.Context, members map[string]string, _ ha.FailsafeAsk) []ha.FailsafeAnswer {
	var out []ha.FailsafeAnswer
	for name := range members {
		a := ha.FailsafeAnswer{Name: name, Problem: "not scripted"}
		if _, ok := p[name]; ok {
			a.Accepted, a.Problem = true, ""
		}
		out = append(out, a)
	}
	return out
}

// Await implements ha.Peers. It does not wait.
func (p Peers) Await(ctx context.Context, m dcs.Member, lsn postgres.LSN) (ha.PeerAnswer, error) {
	a := p.Poll(ctx, []dcs.Member{m})[0]
	if a.Position.LSN < lsn {
		return a, errors.New("not scripted to get there")
	}
	return a, nil
}
