package hatest

import (
	"context"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
)

// nextFault lets one thing go wrong, and asks for the next.
func (w *World) nextFault() {
	if !w.faulty {
		return
	}
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	switch w.opts.Profile {
	case Planned:
		w.plannedFault(n)
		w.eng.after(w.bounded(5*time.Second, 60*time.Second), w.nextFault)
		return
	case Late:
		w.lateFault(n)
	case Watched:
		w.watchdogFault(n)
	case Odd:
		w.oddFault(n)
	case Founding:
		w.eng.after(w.foundingFault(n), w.nextFault)
		return
	case Freezes:
		w.eng.after(w.freezeFault(n), w.nextFault)
		return
	case Stuck:
		w.stuckFault(n)
	case Failsafe:
		w.eng.after(w.failsafeFault(n), w.nextFault)
		return
	case Stale:
		w.eng.after(w.staleFault(), w.nextFault)
		return
	case Cached:
		w.eng.after(w.cachedFault(n), w.nextFault)
		return
	case Elections:
		w.eng.after(w.electionFault(), w.nextFault)
		return
	case Terms:
		w.eng.after(w.termsFault(n), w.nextFault)
		return
	case Namesakes:
		w.eng.after(w.namesakeFault(n), w.nextFault)
		return
	case Touches:
		w.lateFault(n)
	case Wiped:
		w.wipedFault(n)
	case Branches:
		w.eng.after(w.branchFault(), w.nextFault)
		return
	default:
		w.fault(n)
	}
	w.eng.after(w.bounded(500*time.Millisecond, 25*time.Second), w.nextFault)
}

// leaderOr is the node that leads, half of the time.
func (w *World) leaderOr(n *node) *node {
	if w.rng.IntN(2) == 0 {
		for _, x := range w.nodes {
			if x.server.writable() {
				return x
			}
		}
	}
	return n
}

func (w *World) fault(n *node) {
	n = w.leaderOr(n)
	n.touched = w.eng.now
	switch w.rng.IntN(14) {
	case 0:
		back := w.bounded(100*time.Millisecond, 50*time.Second)
		if !n.spared() {
			n.killAgent()
			w.restartAgent(n, back)
		}
	case 1:
		w.pause(n, w.bounded(time.Second, 60*time.Second))
	case 2:
		w.logf("%s postmaster killed", n.name)
		n.server.crash()
	case 3:
		n.killHost()
		w.restartAgent(n, w.bounded(time.Second, 60*time.Second))
	case 4:
		w.cutStore(n, w.bounded(time.Second, 50*time.Second))
	case 5:
		w.cutPeers(n, w.bounded(time.Second, 50*time.Second))
	case 6:
		w.isolate(n, w.bounded(time.Second, 60*time.Second))
	case 7:
		w.outage(w.bounded(time.Second, 45*time.Second))
	case 8:
		w.loss(w.bounded(time.Second, 40*time.Second))
	case 9:
		n.badStarts = w.rng.IntN(3)
		n.badStops = w.rng.IntN(3)
		n.badPromotes = w.rng.IntN(3)
		n.badRewinds = w.rng.IntN(3)
	case 10:
		n.slow = w.bounded(0, 3*time.Second)
		w.eng.after(w.bounded(time.Second, 60*time.Second), func() { n.slow = 0 })
	case 11:
		w.request(n)
	case 12:
		w.stopAgent(n)
	case 13:
		w.endSession()
	}
}

func (w *World) plannedFault(n *node) {
	n.touched = w.eng.now
	switch w.rng.IntN(3) {
	case 0:
		w.stopAgent(w.leaderOr(n))
	default:
		w.request(n)
	}
}

// restartAgent starts the agent of n again in a while.
func (w *World) restartAgent(n *node, d time.Duration) {
	w.eng.after(d, func() {
		if n.agent == nil && !n.gone {
			n.touched = w.eng.now
			n.startAgent()
		}
	})
}

func (w *World) pause(n *node, d time.Duration) {
	if n.agent == nil || n.frozen || n.spared() {
		return
	}
	w.logf("%s agent paused for %s", n.name, d)
	n.pausedUntil = w.eng.now.Add(d)
	a := n.agent
	w.eng.after(d, func() { n.touched = w.eng.now; a.deliver(ha.Tick{}) })
}

func (w *World) cutStore(n *node, d time.Duration) {
	w.logf("%s cut off from the store for %s", n.name, d)
	n.storeCut = true
	w.eng.after(d, func() { n.storeCut, n.touched, n.reachedStore = false, w.eng.now, w.eng.now })
}

// cutPeers cuts links of n to some other nodes, perhaps in one direction only.
func (w *World) cutPeers(n *node, d time.Duration) {
	for _, o := range w.nodes {
		if o == n || w.rng.IntN(3) == 0 {
			continue
		}
		one, other := w.rng.IntN(2) == 0, w.rng.IntN(2) == 0
		w.logf("%s to %s cut %v, back %v, for %s", n.name, o.name, one, other, d)
		o.touched = w.eng.now
		n.cut[o.name], o.cut[n.name] = one, other
		w.eng.after(d, func() {
			n.cut[o.name], o.cut[n.name] = false, false
			n.touched, o.touched = w.eng.now, w.eng.now
		})
	}
}

func (w *World) isolate(n *node, d time.Duration) {
	w.cutStore(n, d)
	for _, o := range w.nodes {
		if o != n {
			n.cut[o.name], o.cut[n.name] = true, true
			w.eng.after(d, func() { n.cut[o.name], o.cut[n.name] = false, false; n.touched = w.eng.now })
		}
	}
}

func (w *World) outage(d time.Duration) {
	w.logf("the store is away for %s", d)
	w.storeDown = true
	w.eng.after(d, func() { w.storeDown = false; w.touchAll() })
}

func (w *World) loss(d time.Duration) {
	w.logf("messages are lost and late for %s", d)
	w.lossy = true
	w.eng.after(d, func() { w.lossy = false; w.touchAll() })
}

func (w *World) touchAll() {
	for _, n := range w.nodes {
		n.touched = w.eng.now
	}
}

// request is an operator who asks for a switchover or failover.
func (w *World) request(n *node) {
	c, err := w.cluster()
	if err != nil || c.Leader == nil {
		return
	}
	f := dcs.Failover{Leader: c.Leader.Name}
	if w.rng.IntN(2) == 0 {
		f.Candidate = n.name
	}
	if w.opts.Profile != Planned && w.rng.IntN(3) == 0 {
		f = dcs.Failover{Candidate: n.name}
		w.operatorUntil = w.eng.now.Add(time.Minute)
	}
	if f.Candidate == c.Leader.Name {
		return
	}
	prev := dcs.Version(0)
	if c.Failover != nil {
		prev = c.Failover.Version
	}
	w.logf("operator: leader %q candidate %q", f.Leader, f.Candidate)
	_ = w.admin.PutFailover(context.Background(), prev, f)
}

// stopAgent ends an agent in order; it is started again later.
func (w *World) stopAgent(n *node) {
	if n.agent == nil {
		return
	}
	w.logf("%s agent asked to end", n.name)
	n.agent.deliver(ha.ShutdownAsked{})
}

// endSession ends some session early, as a deposed leader of the store or an operator may do.
func (w *World) endSession() {
	if ids := w.store.Sessions(); len(ids) > 0 {
		id := ids[w.rng.IntN(len(ids))]
		if c, err := w.cluster(); err == nil && c.Leader != nil && c.Leader.Meta.Session == id {
			// An early end together with an agent that cannot notice is a numbered assumption (safety 1.7).
			if l := w.node(c.Leader.Name); l.agent == nil || l.storeCut || w.lossy || w.storeDown || w.refuses || w.eng.now.Before(l.pausedUntil) {
				return
			}
		}
		for _, n := range w.nodes {
			if a := n.agent; a != nil && a.machine.View().Session.ID == id {
				n.ended = id
			}
		}
		w.logf("the store ends session %s early", id)
		w.touchAll()
		w.store.EndSession(id)
	}
}

// heal ends all faults.
func (w *World) heal() {
	w.logf("faults end")
	w.healed = w.eng.now
	w.storeDown, w.lossy = false, false
	w.removeNamesake()
	w.settle()
	w.touchAll()
	for _, n := range w.nodes {
		n.storeCut, n.slow, n.checkpoint, n.latePromote = false, 0, 0, 0
		for _, g := range n.guards {
			g.until = w.eng.now
			g.thaw()
		}
		n.thaw()
		n.badStarts, n.badStops, n.badPromotes, n.badRewinds = 0, 0, 0, 0
		for _, o := range w.nodes {
			n.cut[o.name] = false
		}
		if n.pausedUntil.After(w.eng.now) {
			n.pausedUntil = w.eng.now
			n.agent.deliver(ha.Tick{})
		}
		if n.agent == nil && !n.gone {
			n.startAgent()
		}
	}
}
