package hatest

import (
	"time"

	"github.com/tanist-ha/tanist/ha"
)

// Stale is the profile in which a node freezes between its decision to lead and its request, while another leads and stops in order: the
// node thaws with a session that lives, and a decision that rests on what was (safety 3.6).
const Stale Profile = "stale"

// Elections is the profile in which leaders end in order, and the others have to agree at once who follows.
const Elections Profile = "elections"

// electionTime is how long that may take when nothing is wrong: the stop, the answers, the promotion.
const electionTime = 6 * time.Second

// staleFault kills the leader's host, holds the first request for its key back, and lets whoever leads meanwhile stop.
func (w *World) staleFault() time.Duration {
	old := w.writableNode()
	if old == nil {
		return 5 * time.Second
	}
	w.holdBack = true
	w.stopAgent(old)
	w.eng.after(w.bounded(6*time.Second, 15*time.Second), func() {
		if next := w.writableNode(); next != nil && next != old && w.faulty {
			w.stopAgent(next)
		}
	})
	return w.bounded(60*time.Second, 90*time.Second)
}

// held is how long a request is held back, with the agent that sends it.
func (w *World) held(a *agent, r ha.Request) time.Duration {
	x, ok := r.Action.(ha.AcquireKey)
	if !ok || !w.holdBack || x.Request.Takeover != nil {
		return 0
	}
	w.holdBack = false
	d := w.bounded(10*time.Second, 22*time.Second)
	w.logf("%s freezes for %s before it asks for the leader key", a.n.name, d)
	a.n.touched = w.eng.now
	a.n.pausedUntil = w.eng.now.Add(d)
	w.eng.after(d, func() { a.deliver(ha.Tick{}) })
	return d
}

// onNewGrounds lets an acquire compare with what is, instead of with what its decision rested on.
func (w *World) onNewGrounds(r ha.Request) ha.Request {
	x, ok := r.Action.(ha.AcquireKey)
	if !ok || !w.opts.Mutant.Store.AnyGrounds {
		return r
	}
	c, err := w.cluster()
	if err != nil {
		return r
	}
	e := &x.Request.Expect
	e.Sync, e.Failsafe, e.History, e.Reserved = 0, c.FailsafeVersion, c.HistoryVersion, c.Reserved.Version
	if c.Sync != nil {
		e.Sync = c.Sync.Version
	}
	r.Action = x
	return r
}

// electionFault ends the leader's agent in order, and looks whether somebody leads soon.
func (w *World) electionFault() time.Duration {
	if old := w.writableNode(); old != nil && old.agent != nil {
		w.stopAgent(old)
		w.eng.after(electionTime, func() {
			if w.faulty && w.writableNode() == nil {
				w.violate("nobody leads %s after the leader was asked to end: %s", electionTime, w.situation())
			}
		})
	}
	return w.bounded(60*time.Second, 80*time.Second)
}

// Cached is the profile in which a node has seen a vacancy, is away while another leads, and comes back to a store that was wiped meanwhile,
// and which that leader cannot reach (safety 2.2).
const Cached Profile = "cached"

// cachedFault is one such story.
func (w *World) cachedFault(n *node) time.Duration {
	old := w.writableNode()
	if old == nil || old == n || n.agent == nil {
		return 5 * time.Second
	}
	old.killHost()
	away := 0 * time.Second
	var look func()
	look = func() {
		if v := n.agent; v == nil || !w.faulty || v.machine.View().Vacancy.Since.IsZero() {
			if away += time.Millisecond; away < 40*time.Second {
				w.eng.after(time.Millisecond, look)
			}
			return
		}
		w.isolate(n, 20*time.Second)
		w.eng.after(20*time.Second+time.Millisecond, func() { // when the links of n are whole again, so that these stay cut
			if next := w.writableNode(); next != nil && w.faulty {
				w.isolate(next, w.bounded(15*time.Second, 25*time.Second))
				w.wipe()
			}
		})
	}
	w.eng.after(time.Millisecond, look)
	w.restartAgent(old, w.bounded(70*time.Second, 90*time.Second))
	return w.bounded(120*time.Second, 150*time.Second)
}
