package hatest

import (
	"time"

	"github.com/tanist-ha/tanist/ha"
)

// Founding is the profile in which everything goes wrong while the cluster is being founded: founders die, freeze and lose their session
// between initdb and the first client, the store forgets who is at it, and several nodes found at once.
const Founding Profile = "founding"

// foundingTime is how long things go wrong then.
const foundingTime = 90 * time.Second

// foundingFault hits somebody while the cluster is made; founders more often than others. It says when the next comes.
func (w *World) foundingFault(n *node) time.Duration {
	for _, x := range w.nodes {
		if a := x.agent; a != nil && a.machine.View().Initialize != (ha.ClaimView{}) && w.rng.IntN(3) != 0 {
			n = x
		}
	}
	n.touched = w.eng.now
	switch w.rng.IntN(9) {
	case 0:
		n.killAgent()
		w.restartAgent(n, w.bounded(50*time.Millisecond, 40*time.Second))
	case 1:
		w.pause(n, w.bounded(time.Second, 60*time.Second))
	case 2:
		n.killHost()
		w.restartAgent(n, w.bounded(time.Second, 40*time.Second))
	case 3:
		w.cutStore(n, w.bounded(time.Second, 50*time.Second))
	case 4:
		w.outage(w.bounded(time.Second, 45*time.Second))
	case 5:
		w.loss(w.bounded(time.Second, 30*time.Second))
	case 6:
		w.endSession()
	case 7:
		w.stopAgent(n)
	case 8:
		w.logf("%s postmaster killed", n.name)
		n.server.die()
	}
	return w.bounded(20*time.Millisecond, 6*time.Second)
}
