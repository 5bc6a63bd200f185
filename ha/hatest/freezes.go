package hatest

import (
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// Freezes is the profile of processes that stop for a while, or for good, at the worst moments: agents between a decision and the deed, guards,
// whole machines; of postmasters that die and leave backends that go on answering, of checkpoints that take long when the guard's time has
// come, and of promotions that are obeyed long after they were asked for.
//
// What no software on the machine can close is left out: the agent and its guard gone or frozen at once over a server that lives. A guard that
// was killed or frozen under a server that may write is replaced within a tenth of a second, or the server is stopped; until then its
// agent is spared.
const Freezes Profile = "freezes"

// freezeFault lets one such thing happen, or one of the ordinary faults.
func (w *World) freezeFault(n *node) time.Duration {
	n = w.leaderOr(n)
	n.touched = w.eng.now
	next := w.bounded(500*time.Millisecond, 20*time.Second)
	switch w.rng.IntN(16) {
	case 0, 1:
		w.pause(n, w.frozenFor())
	case 2:
		w.freezeHost(n, w.frozenFor())
	case 3:
		if n.fenced() {
			n.killGuard()
		}
	case 4:
		if n.fenced() {
			n.freezeGuard(w.frozenFor())
		}
	case 5, 6:
		w.freezeTogether(n)
	case 7:
		n.checkpoint = w.bounded(time.Second, 30*time.Second)
		w.logf("%s checkpoints take %s", n.name, n.checkpoint)
		w.eng.after(w.bounded(10*time.Second, 60*time.Second), func() { n.checkpoint = 0 })
		w.cutStore(n, w.bounded(10*time.Second, 50*time.Second))
	case 8, 9:
		w.logf("%s postmaster killed", n.name)
		n.server.crash()
	case 10:
		n.latePromote = w.bounded(time.Second, 60*time.Second)
		w.eng.after(w.bounded(20*time.Second, 60*time.Second), func() { n.latePromote = 0 })
		w.request(n)
	case 11:
		if !n.spared() {
			n.killAgent()
			w.restartAgent(n, w.bounded(time.Millisecond, 3*time.Second))
		}
		return w.bounded(time.Millisecond, 10*time.Second)
	case 12:
		w.timesFault()
	default:
		w.fault(n)
	}
	return next
}

// timesFault is an operator who changes the ttl when nothing else may go wrong: the store opens no new session, or the leader's agent dies
// before its key was moved to one, and its successor, too.
func (w *World) timesFault() {
	l := w.writableNode()
	switch w.rng.IntN(3) {
	case 0:
		w.changeTimes()
		w.storeSays(&w.readOnly, "refuses every write", w.bounded(5*time.Second, 40*time.Second))
	case 1:
		w.setTTL(60)
	case 2:
		w.setTTL(5)
		if l != nil {
			w.eng.after(w.bounded(0, 300*time.Millisecond), func() { w.killTwice(l) })
		}
	}
}

// killTwice kills an agent, and the next one when it has taken the leader key over.
func (w *World) killTwice(n *node) {
	if n.spared() || n.agent == nil {
		return
	}
	n.touched = w.eng.now
	n.killAgent()
	w.restartAgent(n, w.bounded(time.Millisecond, 2*time.Second))
	n.hitArming = true
	w.eng.after(5*time.Second, func() { n.hitArming = false })
}

// frozenFor is how long something is frozen: for a moment, or past the end of every authority and fifteen seconds more.
func (w *World) frozenFor() time.Duration {
	if w.rng.IntN(3) == 0 {
		return w.bounded(50*time.Millisecond, 3*time.Second)
	}
	return w.bounded(time.Second, 50*time.Second)
}

// fenced says whether the agent lives, and its own guard guards its server: that may be taken from it.
func (n *node) fenced() bool {
	if n.agent == nil || n.frozen || n.weak || n.w.eng.now.Before(n.pausedUntil) {
		return false
	}
	g := n.agent.fence.guard
	return g != nil && !g.dead && !g.frozen() && g.armed && g.lives()
}

// spared says whether the agent is spared: without it, nobody would watch the server.
func (n *node) spared() bool {
	if n.weak && n.server.pid == 0 && !n.server.orphans {
		n.weak = false
	}
	return n.weak || n.deceived()
}

// deceived says whether the node's server may go on writing under a session that the store has ended early: an agent that dies or freezes
// before it has noticed, or before the server is down, is a numbered assumption (A1).
func (n *node) deceived() bool {
	if a := n.agent; n.ended != "" && (a == nil || a.machine.View().Session.ID != n.ended && (!n.server.writable() || a.machine.View().Lease.State == ha.LeaseHeld)) {
		n.ended = ""
	}
	return n.ended != ""
}

// freezeHost stops everything on a host for a while; its clocks go on. The guard's first instruction comes before the server's first answer:
// that it may not is a numbered assumption, which only a hardware watchdog closes (safety section 6).
func (w *World) freezeHost(n *node, d time.Duration) {
	if n.frozen || n.spared() {
		return
	}
	w.logf("%s host frozen for %s", n.name, d)
	n.frozen = true
	if n.agent != nil {
		n.pausedUntil = w.eng.now.Add(d)
	}
	w.eng.after(d, n.thaw)
}

// thaw lets a frozen host go on.
func (n *node) thaw() {
	if !n.frozen {
		return
	}
	w := n.w
	w.logf("%s host goes on", n.name)
	n.frozen, n.touched = false, w.eng.now
	n.pausedUntil = w.eng.now
	for _, g := range n.guards {
		g.thaw()
	}
	for _, f := range n.thawed {
		w.eng.after(w.bounded(0, time.Millisecond), f)
	}
	n.thawed = nil
	if a := n.agent; a != nil {
		w.eng.after(0, func() { a.deliver(ha.Tick{}) })
	}
}

// freezeTogether stops the guard, then the agent in the moment in which it has told the guard of a renewal, and lets both go on when the time
// that the guard knew before has come. Its channel holds the later one.
func (w *World) freezeTogether(n *node) {
	if !n.fenced() {
		return
	}
	a, g := n.agent, n.agent.fence.guard
	due := g.order.Fast
	w.logf("%s guard frozen, and the agent when it renews", n.name)
	g.until, n.weak = due.Add(w.bounded(time.Millisecond, 50*time.Millisecond)), true
	w.eng.at(g.until, g.thaw)
	a.afterArm = func() { // the message is in the channel
		if a.alive() && w.eng.now.Before(g.until) && a.fence.guard == g && g.order.Fast.Equal(due) {
			w.logf("%s agent frozen: the guard was told, and has not heard it", n.name)
			n.pausedUntil = g.until.Add(w.bounded(time.Millisecond, 20*time.Millisecond))
			a.at(n.pausedUntil, func() { n.touched = w.eng.now; a.deliver(ha.Tick{}) })
		}
	}
}

// sharpFault hits an agent between a decision and the deed, or right after.
func (w *World) sharpFault(a *agent, r ha.Request) {
	n := a.n
	if _, arming := r.Action.(ha.ArmFence); arming && n.hitArming && a.machine.View().TookOver && !n.spared() && w.faulty {
		n.hitArming, n.touched = false, w.eng.now
		n.killAgent()
		w.restartAgent(n, w.bounded(5*time.Second, 60*time.Second))
		return
	}
	if w.opts.Profile != Freezes || !w.faulty || n.spared() || w.eng.now.Before(n.pausedUntil) || !sharp(r.Action) || w.rng.IntN(12) != 0 {
		return
	}
	n.touched = w.eng.now
	w.logf("%s is hit at: %s", n.name, r.Action.Name())
	hit := func(f func()) {
		d := w.bounded(0, 30*time.Millisecond)
		if w.rng.IntN(2) == 0 {
			f()
			return
		}
		w.eng.after(d, func() {
			if a.alive() && !n.spared() {
				f()
			}
		})
	}
	switch w.rng.IntN(5) {
	case 0, 1:
		back := w.bounded(time.Millisecond, 60*time.Second)
		hit(func() { n.killAgent(); w.restartAgent(n, back) })
	case 2, 3:
		d := w.frozenFor()
		hit(func() { w.pause(n, d) })
	case 4:
		d := w.frozenFor()
		hit(func() { w.freezeHost(n, d) })
	}
}

// sharp says whether an action is one of the moments in which an agent must be able to die or freeze.
func sharp(a ha.Action) bool {
	switch a := a.(type) {
	case ha.AcquireKey, ha.ArmFence, ha.ReleaseKey, ha.DisarmFence:
		return true
	case ha.RunTask:
		return a.Task.Kind == postgres.TaskPromote || a.Task.Kind == postgres.TaskStart || a.Task.Kind == postgres.TaskStop ||
			a.Task.Kind == postgres.TaskClone || a.Task.Kind == postgres.TaskRewind
	}
	return false
}

// GuardMutant is a defect of the model of the guard.
type GuardMutant string

// Defects of guards.
const (
	BlindGuard GuardMutant = "blind"    // it does not read its channel before it fires
	NoSweep    GuardMutant = "no sweep" // nobody ends what a dead postmaster has left
)

// now is the agent's clock.
func (a *agent) now() time.Time { return a.n.w.eng.now.Add(a.skew()) }

func (a *agent) skew() time.Duration {
	if f := a.n.w.opts.Mutant.Clock; f != nil {
		return f(a.n.w.eng.now.Sub(epoch))
	}
	return 0
}

// machineTime is a time of the agent's clock in the world's.
func (a *agent) machineTime(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(-a.skew())
}

// inMachineTime is an order with times of the world.
func (a *agent) inMachineTime(o ha.FenceOrder) ha.FenceOrder {
	o.Fast, o.Quit, o.Kill, o.At = a.machineTime(o.Fast), a.machineTime(o.Quit), a.machineTime(o.Kill), a.machineTime(o.At)
	return o
}
