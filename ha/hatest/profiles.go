package hatest

import (
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// Late is the profile in which the store's answers are often late, up to the deadline of their request, and the store is then away for
// longer than a ttl: what a node believes about its authority has to be right to the second.
const Late Profile = "late"

// replyDelay is how long the store's answer to a request travels.
func (w *World) replyDelay(r ha.Request) time.Duration {
	soon := w.bounded(200*time.Microsecond, 4*time.Millisecond)
	if w.opts.Profile != Late || w.rng.IntN(4) != 0 {
		return soon
	}
	return max(soon, w.bounded(0, r.Deadline.Sub(w.eng.now)-10*time.Millisecond))
}

// lateFault takes the store away, from one node or from all, or stops a node for a while.
func (w *World) lateFault(n *node) {
	n = w.leaderOr(n)
	n.touched = w.eng.now
	long := w.bounded(2*time.Second, 60*time.Second)
	switch w.rng.IntN(5) {
	case 0, 1, 2:
		w.cutStore(n, long)
	case 3:
		w.outage(long)
	case 4:
		w.pause(n, long)
	}
}

// Branches is the profile in which primaries die with rows that nobody else has, and come back when their successor has died, too: the
// longest log is then not the one that leads on (safety 3.2).
const Branches Profile = "branches"

// branchFault is one such story; it takes about two minutes. It says when the next may begin.
func (w *World) branchFault() time.Duration {
	old := w.writableNode()
	if old == nil {
		return 5 * time.Second
	}
	alone := w.bounded(5*time.Second, 25*time.Second)
	w.cutAll(old, alone)
	w.eng.after(alone, func() {
		old.touched = w.eng.now
		old.killHost()
	})
	// By then somebody else leads, and has written.
	second := alone + w.bounded(35*time.Second, 55*time.Second)
	w.eng.after(second, func() {
		next := w.writableNode()
		if !w.faulty || next == nil || next == old {
			w.restartAgent(old, 0)
			return
		}
		next.touched = w.eng.now
		next.killHost()
		w.restartAgent(old, w.bounded(0, 5*time.Second))
		w.restartAgent(next, w.bounded(30*time.Second, 60*time.Second))
	})
	return second + w.bounded(70*time.Second, 90*time.Second)
}

// writableNode is the node that takes writes now; nil: none does.
func (w *World) writableNode() *node {
	for _, n := range w.nodes {
		if n.server.writable() {
			return n
		}
	}
	return nil
}

// cutAll cuts every link of n to other nodes, but not to the store.
func (w *World) cutAll(n *node, d time.Duration) {
	w.logf("%s cut off from the other nodes for %s", n.name, d)
	for _, o := range w.nodes {
		if o != n {
			n.cut[o.name], o.cut[n.name] = true, true
			w.eng.after(d, func() { n.cut[o.name], o.cut[n.name] = false, false })
		}
	}
}

// Stuck is the profile of planned acts on servers that do not stop: their clients hang on, and go on writing, until the stop is due and
// kills them.
const Stuck Profile = "stuck"

// stuckFault is a planned act on a server whose next stops do not work.
func (w *World) stuckFault(n *node) {
	if l := w.writableNode(); l != nil {
		l.badStops = w.rng.IntN(3)
		if w.rng.IntN(3) == 0 { // nobody hears from it that it is still writable
			w.cutAll(l, w.bounded(5*time.Second, 20*time.Second))
		}
	}
	w.plannedFault(n)
}

// released cuts some nodes off from everything right after they have given the leader key up: nobody hears whether their server stopped.
func (w *World) released(n *node, e ha.Event) {
	if x, ok := e.(ha.Released); ok && x.Fault == nil && w.faulty && w.opts.Profile == Stuck && w.rng.IntN(2) == 0 {
		n.touched = w.eng.now
		w.isolate(n, w.bounded(5*time.Second, 20*time.Second))
	}
}

// stuck says whether a stop that is due at a set time changes nothing until then; it kills the server at that time.
func (j *job) stuck() bool {
	n := j.a.n
	if n.w.opts.Profile != Stuck || n.badStops == 0 || j.task.By.IsZero() || j.task.Stop == postgres.StopImmediate {
		return false
	}
	n.badStops--
	pid := n.server.pid
	j.a.at(j.a.machineTime(j.task.By), func() {
		if n.server.pid == pid {
			n.server.die()
		}
		j.done(postgres.Outcome{})
	})
	return true
}
