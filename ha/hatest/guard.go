package hatest

import (
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// guard is one guard process of a host: it ends its postmaster at a set time, whatever becomes of the agent that has started it. While it is
// frozen, what it is told waits in its channel.
type guard struct {
	n     *node
	id    int
	by    *agent // who talks to it; nil: that agent is dead
	dead  bool
	until time.Time // frozen until then
	inbox []func()  // its channel

	armed      bool
	target     int           // the postmaster's pid; 0: the one that is about to be started
	order      ha.FenceOrder // in the machine's own clock
	newest     time.Time     // the latest T_fast that was put into its channel
	newestKill time.Time     // its T_kill
	newestFor  int           // its postmaster
	fired      bool
	wake       time.Time // when its timer is set to; zero: it is not
}

// Times of guards.
const (
	handshake  = 200 * time.Millisecond // what an old guard is given to answer its successor
	lookPeriod = 100 * time.Millisecond // between two looks at a server that makes its last checkpoint
)

// frozen says whether the guard runs no instruction now.
func (g *guard) frozen() bool { return g.n.frozen || g.n.w.eng.now.Before(g.until) }

// send puts a message into the channel; the guard takes it at once unless it is frozen.
func (g *guard) send(message func()) {
	g.inbox = append(g.inbox, message)
	if !g.frozen() {
		g.read()
	}
}

// read takes everything from the channel.
func (g *guard) read() {
	for len(g.inbox) > 0 && !g.dead {
		m := g.inbox[0]
		g.inbox = g.inbox[1:]
		m()
	}
}

// thaw lets a guard go on that was frozen. It has a due timer and perhaps messages: it reads first.
func (g *guard) thaw() {
	if g.dead || g.frozen() {
		return
	}
	if g.n.w.opts.Mutant.Guard != BlindGuard {
		g.read()
	}
	g.look()
	g.read()
	if g.armed && g.target != 0 && !g.lives() {
		g.sweepDead()
	}
}

// lives says whether the postmaster that it guards runs.
func (g *guard) lives() bool { return g.target != 0 && g.target == g.n.server.pid }

// arm is what a guard does with an order; "" is the acknowledgement.
func (g *guard) arm(pid int, o ha.FenceOrder) (refusal string) {
	switch {
	case g.fired:
		return "the guard has fired"
	case pid == 0 && g.lives():
		return "the postmaster that it guards is alive"
	case pid != 0 && pid != g.n.server.pid:
		return "there is no such postmaster"
	}
	if g.armed && pid == g.target && !o.Kill.After(g.order.Kill) {
		return "" // its deadlines only ever grow
	}
	if pid != g.target && g.target != 0 {
		g.n.server.sweep()
		g.newest = o.Fast
	}
	g.armed, g.target, g.order = true, pid, o
	g.set(o.Fast)
	return ""
}

// disarm lets go of the server, or of what a dead one has left; false: it is called down, and lives.
func (g *guard) disarm(running *postgres.Postmaster) bool {
	s := g.n.server
	if g.lives() && (running == nil || running.PID != g.target) {
		return false
	}
	if g.lives() && s.writable() {
		g.n.w.violate("the fence of %s is dismissed while its server takes writes", g.n.name)
	}
	if g.target != 0 && !g.lives() {
		s.sweep()
	}
	g.armed, g.target, g.newest = false, 0, time.Time{}
	return true
}

// attach makes the postmaster that is being started the target; false: this guard is not armed for that, or its time has come while nothing
// was started: an agent that was frozen in between comes too late.
func (g *guard) attach(pid int) bool {
	if g == nil || !g.n.w.eng.now.Before(g.order.Fast) || g.dead || g.frozen() || !g.armed || g.fired || g.target != 0 {
		return false
	}
	g.target = pid
	return true
}

// targetDied sweeps what the postmaster has left. A guard that nobody talks to any more ends then.
func (g *guard) targetDied() {
	g.n.w.eng.after(g.n.w.bounded(100*time.Microsecond, 2*time.Millisecond), func() {
		if !g.dead && !g.frozen() { // else it looks when it goes on
			g.sweepDead()
		}
	})
}

func (g *guard) sweepDead() {
	if g.n.server.pid == 0 {
		g.n.server.sweep()
	}
	if g.by == nil || g.fired {
		g.dead = true
	}
}

// set asks for a look at t, unless one is due earlier.
func (g *guard) set(t time.Time) {
	if !g.wake.IsZero() && !g.wake.After(t) {
		return
	}
	g.wake = t
	g.n.w.eng.at(t, func() {
		if !g.dead && g.wake.Equal(t) {
			g.wake = time.Time{}
			if !g.frozen() {
				g.look()
			}
		}
	})
}

// look does what is due.
func (g *guard) look() {
	now, s := g.n.w.eng.now, g.n.server
	switch {
	case g.dead || !g.armed || !g.lives():
	case now.Before(g.order.Fast):
		g.set(g.order.Fast)
	case !g.fired:
		g.fire(now)
	case !now.Before(g.order.Kill) && s.stopping:
		g.set(now.Add(lookPeriod)) // it only makes its checkpoint
	case !now.Before(g.order.Quit) && !s.stopping:
		g.n.w.logf("%s guard kills", g.n.name)
		s.die()
	case now.Before(g.order.Quit):
		g.set(g.order.Quit)
	default:
		g.set(g.order.Kill)
	}
}

// fire begins the ladder: the clients end, unless a backend hangs. A guard that was frozen past its last step takes that one.
func (g *guard) fire(now time.Time) {
	w, s := g.n.w, g.n.server
	if now.Before(g.newest) {
		w.violate("the guard of %s fires although it was told of a later end: nobody has done anything wrong", g.n.name)
	}
	g.fired = true
	w.fenced++
	kill := !now.Before(g.order.Kill)
	w.logf("%s guard fires (kill %v)", g.n.name, kill)
	if a := g.by; a != nil {
		w.eng.after(time.Millisecond, func() { a.deliver(ha.FenceLost{Loss: ha.FenceLoss{Cause: "it has fired", Fired: true}}) })
	}
	hung := w.rng.IntN(4) == 0
	switch {
	case kill, !s.ready && !s.stopping:
		s.die()
	case hung && !s.stopping:
		g.set(g.order.Quit)
	default:
		s.shutDownFast()
		g.set(g.order.Quit)
	}
}

// shutDownFast is what a SIGINT does: the clients end, and the server ends after its checkpoint.
func (s *server) shutDownFast() {
	if s.stopping {
		return
	}
	pid := s.pid
	s.stopping = true
	s.n.later(s.w.bounded(20*time.Millisecond, 400*time.Millisecond)+s.n.slow+s.n.lateCheckpoint(), func() {
		if s.pid == pid {
			s.shutDown()
			s.die()
		}
	})
}

// sweep ends the backends that a dead postmaster has left.
func (s *server) sweep() {
	if s.w.opts.Mutant.Guard != NoSweep {
		s.orphans = false
	}
}

// crash ends the postmaster as SIGKILL does. Its backends may live on, and go on answering their clients.
func (s *server) crash() {
	orphans := s.writable() && s.w.rng.IntN(2) == 0
	s.die()
	if s.orphans = orphans; orphans {
		s.w.logf("%s backends live on", s.n.name)
	}
}

// fence is the agent's side of its guards.
type fence struct {
	a       *agent
	guard   *guard    // that was told last; nil: none
	spareAt time.Time // when an idle guard is ready to be armed
}

// arm tells a guard, a new one if the present one is gone, and answers. One that does not acknowledge within half of the time is replaced. An
// old agent's guard of the same postmaster is asked for what it knows, and dismissed once the new one has acknowledged.
func (f *fence) arm(r ha.Request, o ha.FenceOrder) {
	w := f.a.n.w
	answered := false
	answer := func(problem string) {
		if answered {
			return
		}
		answered = true
		e := ha.FenceArmed{ID: r.ID, Order: o}
		if problem != "" {
			e.Fault = &ha.Fault{Kind: ha.FaultOther, Text: problem}
		}
		f.a.deliver(e)
	}
	if w.opts.NoFence {
		w.eng.after(time.Millisecond, func() { answer("") })
		return
	}
	pid := 0
	if o.Postmaster != nil {
		pid = o.Postmaster.PID
	}
	told, delay := f.foreign(pid, f.a.inMachineTime(o))
	if f.guard == nil || f.guard.dead || f.guard.fired {
		delay += f.renew()
	}
	f.tell(f.guard, delay, pid, told, answer)
	first := f.guard
	f.a.at(w.eng.now.Add(r.Deadline.Sub(w.eng.now)/2), func() {
		if !answered && f.guard == first {
			f.tell(f.guard, f.renew(), pid, told, answer)
		}
	})
	f.a.at(r.Deadline, func() { answer("no acknowledgement") })
}

// foreign asks the guard of an earlier agent: the later end of both counts. A frozen one costs the time that it is given.
func (f *fence) foreign(pid int, o ha.FenceOrder) (told ha.FenceOrder, delay time.Duration) {
	delay = f.a.n.w.bounded(100*time.Microsecond, 2*time.Millisecond)
	for _, old := range f.a.n.guards {
		switch {
		case old.by == f.a || old.dead || !old.armed || pid == 0 || old.target != pid:
		case old.frozen():
			delay += handshake
		case old.order.Kill.After(o.Kill):
			o.Fast, o.Quit, o.Kill = old.order.Fast, old.order.Quit, old.order.Kill
		}
	}
	return o, delay
}

// renew takes another guard, and says when it is ready.
func (f *fence) renew() time.Duration {
	w := f.a.n.w
	f.guard = f.a.n.newGuard(f.a)
	ready := max(0, f.spareAt.Sub(w.eng.now))
	f.spareAt = w.eng.now.Add(ready + w.bounded(5*time.Millisecond, 60*time.Millisecond))
	return ready
}

// tell puts the order into the channel of g, after a delay.
func (f *fence) tell(g *guard, delay time.Duration, pid int, told ha.FenceOrder, answer func(problem string)) {
	w := f.a.n.w
	w.eng.after(delay, func() {
		if !f.a.alive() || g.dead {
			answer("the guard is gone")
			return
		}
		if told.Kill.After(g.newestKill) || g.newestFor != pid {
			g.newest, g.newestKill, g.newestFor = told.Fast, told.Kill, pid // a later end may have less time to stop in
		}
		if then := f.a.afterArm; then != nil && g.frozen() {
			f.a.afterArm = nil
			w.eng.after(0, then)
		}
		g.send(func() {
			problem := g.arm(pid, told)
			if problem == "" && f.guard == g {
				f.dismissOthers(g, pid)
			}
			w.eng.after(w.bounded(50*time.Microsecond, time.Millisecond), func() { answer(problem) })
		})
	})
}

// at lets f happen at t if the agent is alive then, or when it goes on if it is frozen then.
func (a *agent) at(t time.Time, f func()) {
	a.n.w.eng.at(t, func() {
		switch now := a.n.w.eng.now; {
		case !a.alive():
		case now.Before(a.n.pausedUntil) && !a.puppet:
			a.at(a.n.pausedUntil.Add(time.Microsecond), f)
		default:
			f()
		}
	})
}

// later lets f, which the server does, happen in d, or when the host goes on if it is frozen then.
func (n *node) later(d time.Duration, f func()) {
	n.w.eng.after(d, func() {
		if n.frozen {
			n.thawed = append(n.thawed, f)
			return
		}
		f()
	})
}

// dismissOthers ends the guards that g has replaced: it is armed.
func (f *fence) dismissOthers(g *guard, pid int) {
	for _, old := range f.a.n.guards {
		if old != g && !old.dead && (old.by == f.a || (old.armed && old.target == pid)) {
			old.dead = true
		}
	}
	f.a.n.weak = false
}

// disarm tells the guard to let go.
func (f *fence) disarm(r ha.Request) {
	w, g := f.a.n.w, f.guard
	answered := false
	answer := func(done bool) {
		if answered {
			return
		}
		answered = true
		e := ha.FenceDisarmed{ID: r.ID}
		if !done {
			e.Fault = &ha.Fault{Kind: ha.FaultOther, Text: "the server lives"}
		}
		f.a.deliver(e)
	}
	w.eng.after(time.Millisecond, func() {
		if g == nil || g.dead || w.opts.NoFence {
			answer(true)
			return
		}
		g.send(func() { answer(g.disarm(r.Action.(ha.DisarmFence).Running)) })
	})
	f.a.at(r.Deadline, func() {
		if !answered && g != nil {
			g.dead = true // it is killed: there is nothing to guard, and whoever touches the server next sweeps
			answer(true)
		}
	})
}

// lateCheckpoint is how much longer the shutdown checkpoint takes in the profile that is about it.
func (n *node) lateCheckpoint() time.Duration {
	if n.w.opts.Profile != Freezes {
		return 0
	}
	return n.checkpoint
}

// newGuard starts a guard process.
func (n *node) newGuard(a *agent) *guard {
	n.w.guards++
	live := n.guards[:0]
	for _, g := range n.guards {
		if !g.dead {
			live = append(live, g)
		}
	}
	g := &guard{n: n, id: n.w.guards, by: a}
	n.guards = append(live, g)
	return g
}

// orphanGuards lets the guards of an agent that has died know: an armed one stays as long as its postmaster.
func (n *node) orphanGuards(a *agent) {
	for _, g := range n.guards {
		if g.by == a {
			g.by = nil
			g.dead = g.dead || !g.armed || g.target == 0
		}
	}
}

// killGuard ends the guard of the node's agent.
func (n *node) killGuard() {
	a := n.agent
	g := a.fence.guard
	if g == nil || g.dead {
		return
	}
	n.w.logf("%s guard killed", n.name)
	g.dead, n.weak = true, true
	n.w.eng.after(n.w.bounded(200*time.Microsecond, time.Millisecond), func() {
		a.deliver(ha.FenceLost{Loss: ha.FenceLoss{Cause: "the guard was killed"}})
	})
}

// freezeGuard stops the guard of the node's agent for a while.
func (n *node) freezeGuard(d time.Duration) {
	g := n.agent.fence.guard
	if g == nil || g.dead {
		return
	}
	n.w.logf("%s guard frozen for %s", n.name, d)
	g.until, n.weak, n.agent.afterArm = n.w.eng.now.Add(d), true, nil
	n.w.eng.at(g.until, g.thaw)
}
