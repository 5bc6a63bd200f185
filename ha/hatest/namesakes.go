package hatest

import "time"

// Namesakes is the profile of two agents of one name on two hosts, each with a data directory of the cluster and an address of its own: somebody
// has copied a configuration. While one lives, the other is refused; when one dies, freezes or cannot be reached, the other starts, and finds
// a member key and perhaps a leader key of its own name, while the first one's server may still take writes (safety 1.6).
const Namesakes Profile = "namesakes"

// namesakeFault lets the agent of the one that runs go, and the other's start soon after; or an ordinary fault happen.
func (w *World) namesakeFault(n *node) time.Duration {
	one, other := w.nodes[0], w.nodes[len(w.nodes)-1]
	if other.agent != nil && (one.agent == nil || other.server.pid != 0 && w.rng.IntN(2) == 0) {
		one, other = other, one
	}
	if one.agent == nil {
		w.restartAgent(one, w.bounded(0, time.Second))
		return w.bounded(time.Second, 5*time.Second)
	}
	one.touched, other.touched = w.eng.now, w.eng.now
	soon := w.bounded(time.Millisecond, 4*time.Second)
	switch w.rng.IntN(6) {
	case 0, 1, 2:
		one.killAgent()
		w.restartAgent(one, w.bounded(20*time.Second, 100*time.Second))
		w.restartAgent(other, soon)
	case 3:
		w.pause(one, w.bounded(5*time.Second, 50*time.Second))
		w.restartAgent(other, soon)
	case 4:
		w.isolate(one, w.bounded(5*time.Second, 50*time.Second))
		w.restartAgent(other, soon)
	default:
		w.fault(n)
	}
	return w.bounded(5*time.Second, 50*time.Second)
}

// removeNamesake is the operator who finds out, and takes one of the two away for good.
func (w *World) removeNamesake() {
	if w.opts.Profile != Namesakes {
		return
	}
	second := w.nodes[len(w.nodes)-1]
	second.killHost()
	second.gone = true
}
