package hatest

import (
	"math/rand/v2"
	"time"

	"github.com/tanist-ha/tanist/ha"
)

// Watched is the profile of agents and guards that are frozen together over a server that lives. Nothing on the machine but its watchdog ends
// that: it is done only to nodes that have one, armed, as they claim to have. Devices break, too.
const Watched Profile = "watched"

// watchdog is the device of one machine. It resets the machine, whatever runs on it, unless it is kept alive.
type watchdog struct {
	n        *node
	rng      *rand.Rand // of its own: a device changes no other chance
	settings ha.WatchdogSettings
	broken   bool          // it cannot be opened
	deaf     bool          // it does not obey: keepalives fail
	fixed    time.Duration // what it counts, whatever it is told; 0: it can be told
	endless  bool          // it cannot be stopped

	by      *agent // who has it open
	leaving *agent // who has ended by itself
	running bool
	asked   time.Duration
	counts  time.Duration
	kept    time.Time
	failed  time.Time // when it did not obey last
	run     int       // counts keepalives and stops, so that an old timer is not taken for the present one
}

// newWatchdog draws a device and a mode; in most histories of the other profiles there is none.
func newWatchdog(n *node) *watchdog {
	o := n.w.opts
	d := &watchdog{n: n, rng: rand.New(rand.NewPCG(o.Seed, 0x7265_7365_74<<8|uint64(n.name[0])))}
	switch {
	case o.Profile == scripted || o.NoFence:
		return d
	case o.SlowAnswers: // a device that counts half of the ttl leaves no time for answers that take two seconds
		return d
	case o.Profile == Elections: // it expects a leader at any moment: nobody may be kept from leading by his device, or be reset by one that cannot be stopped
		return d
	case o.Profile != Watched && o.Seed/4%3 != 1:
		return d
	}
	ttl := o.times().TTL
	d.settings = ha.WatchdogSettings{Mode: ha.WatchdogAutomatic, SafetyMargin: 5 * time.Second}
	if d.rng.IntN(3) == 0 {
		d.settings.Mode = ha.WatchdogRequired
	}
	if d.rng.IntN(2) == 0 || ttl <= 5*time.Second || o.Profile == Odd || o.Profile == Freezes {
		d.settings.SafetyMargin = -time.Second
	}
	d.broken = d.rng.IntN(5) == 0 && n.name != "a"
	d.endless = d.rng.IntN(6) == 0
	if d.settings.Mode == ha.WatchdogAutomatic && d.rng.IntN(4) == 0 {
		d.fixed = []time.Duration{ttl / 2, 2 * ttl}[d.rng.IntN(2)]
	}
	return d
}

// times are those of the first configuration.
func (o *Options) times() ha.Settings {
	s, _ := (&World{}).parse([]byte(o.Config))
	return s
}

// name is what the device is called; "": there is none.
func (d *watchdog) name() string {
	if d.settings.Mode == ha.WatchdogOff {
		return ""
	}
	return "watchdog"
}

// do is a call of the agent.
func (d *watchdog) do(a *agent, r ha.Request) {
	w := d.n.w
	act := func() {
		switch x := r.Action.(type) {
		case ha.CheckWatchdog:
			a.deliver(ha.WatchdogChecked{ID: r.ID, Fault: d.fault(d.check())})
		case ha.ArmWatchdog:
			problem := d.arm(a, x.Order)
			a.deliver(ha.WatchdogArmed{ID: r.ID, Order: x.Order, State: d.state(a), Fault: d.fault(problem)})
		case ha.DisarmWatchdog:
			problem := d.disarm()
			a.deliver(ha.WatchdogDisarmed{ID: r.ID, State: d.state(a), Fault: d.fault(problem)})
		}
	}
	w.eng.after(time.Duration(50+d.rng.IntN(500))*time.Microsecond, func() {
		switch {
		case a.alive() && w.eng.now.Before(d.n.pausedUntil):
			a.at(d.n.pausedUntil.Add(time.Microsecond), act)
		case a.alive(), d.leaving == a: // one that ends by itself waits for what it has begun
			act()
		}
	})
}

func (d *watchdog) fault(problem string) *ha.Fault {
	if problem == "" {
		return nil
	}
	return &ha.Fault{Kind: ha.FaultOther, Text: problem}
}

// state is what the agent knows of the device: nothing, if it has not opened it.
func (d *watchdog) state(a *agent) ha.WatchdogState {
	if !d.running || d.by != a {
		return ha.WatchdogState{}
	}
	return ha.WatchdogState{Running: true, Timeout: d.counts, Endless: d.endless}
}

func (d *watchdog) check() string {
	if d.broken {
		return "no such device"
	}
	return ""
}

// arm does what an order says; "" is success.
func (d *watchdog) arm(a *agent, o ha.WatchdogOrder) string {
	late := func(counts time.Duration) bool {
		return !o.Before.IsZero() && a.now().After(o.Before.Add(o.Timeout-counts))
	}
	opened := !d.running || d.by != a
	switch {
	case late(o.Timeout):
		return "too late"
	case opened && d.broken:
		return "no such device"
	case d.deaf && !opened:
		d.failed = d.n.w.eng.now
		return "input/output error"
	}
	d.by, d.running, d.counts = a, true, o.Timeout
	if d.fixed != 0 {
		d.counts = d.fixed
	}
	misfit := o.Most != 0 && (d.counts < o.Least || d.counts > o.Most)
	if opened || d.asked != o.Timeout {
		d.begin() // opening it, and setting its time, begin it anew
	}
	d.asked = o.Timeout
	switch {
	case (misfit || (opened && late(d.counts))) && !d.endless:
		d.off()
		return "it counts something else, or it is too late"
	case misfit:
		return "it counts something else"
	case late(d.counts):
		return "too late"
	}
	d.begin()
	return ""
}

// begin lets the device count from now on.
func (d *watchdog) begin() {
	w := d.n.w
	d.kept = w.eng.now
	d.run++
	run := d.run
	w.eng.after(d.counts, func() {
		if d.running && d.run == run {
			d.reset()
		}
	})
}

func (d *watchdog) disarm() string {
	switch {
	case !d.running:
		return ""
	case d.endless:
		return "it cannot be stopped"
	case d.deaf:
		d.failed = d.n.w.eng.now
		return "input/output error"
	}
	if s := d.n.server; s.writable() && d.settings.Mode == ha.WatchdogRequired { // automatic: it may count too little to be used
		d.n.w.violate("the watchdog of %s is stopped while its server takes writes", d.n.name)
	}
	d.off()
	return ""
}

func (d *watchdog) off() { d.running, d.by = false, nil; d.run++ }

// reset ends everything on the machine, which is there again some time later. Without a fault it never comes.
func (d *watchdog) reset() {
	n, w := d.n, d.n.w
	w.logf("%s watchdog resets the machine", n.name)
	w.resets++
	if !d.excused() {
		w.violate("the watchdog resets the machine of %s although nothing is wrong with it: %s", n.name, w.situation())
	}
	d.off()
	n.touched = w.eng.now
	n.killHost()
	w.restartAgent(n, w.bounded(20*time.Second, time.Minute))
}

// left is the end of an agent by its own decision: a server that is down needs no watchdog.
func (d *watchdog) left(a *agent) {
	n := d.n
	d.leaving = a
	n.w.eng.after(10*time.Millisecond, func() { // what it has begun, it waits for
		if d.running && d.by == a && n.agent != a && !d.endless && d.failed.Before(d.kept) && n.server.pid == 0 && !n.server.orphans {
			n.w.violate("the agent of %s has ended in order, and has left its watchdog to reset the machine", n.name)
		}
	})
}

// excused says whether a reset has a reason: nobody could keep the device alive, or a part of its server did not stop.
func (d *watchdog) excused() bool {
	n := d.n
	return n.agent == nil || n.agent != d.by || n.frozen || n.pausedUntil.After(d.kept) || n.server.orphans || d.failed.After(d.kept)
}

// watchdogFault lets something of this profile happen, or one of the ordinary faults.
func (w *World) watchdogFault(n *node) {
	n = w.leaderOr(n)
	n.touched = w.eng.now
	switch w.rng.IntN(12) {
	case 0, 1:
		w.freezeBoth(n)
	case 2, 3, 4: // the authority is running out already when it freezes
		w.cutStore(n, w.bounded(10*time.Second, 60*time.Second))
		w.eng.after(w.bounded(0, n.w.opts.times().TTL), func() { w.freezeBoth(n) })
	case 5:
		w.freezeHost(n, w.bounded(time.Second, 60*time.Second))
	case 6:
		n.watchdog.deaf = n.watchdog.running
		w.logf("%s watchdog deaf %v", n.name, n.watchdog.deaf)
		w.eng.after(w.bounded(time.Second, 40*time.Second), func() { n.watchdog.deaf = false })
	case 7:
		n.watchdog.broken = !n.watchdog.broken
		w.logf("%s watchdog broken %v", n.name, n.watchdog.broken)
	case 8:
		w.changeTimes()
	default:
		w.fault(n)
	}
}

// freezeBoth stops the agent and all guards of a node at once, and leaves its server running.
func (w *World) freezeBoth(n *node) {
	if !n.watched() || !w.faulty {
		return
	}
	d := w.bounded(5*time.Second, 90*time.Second)
	w.logf("%s agent and guard frozen for %s", n.name, d)
	n.touched = w.eng.now
	n.pausedUntil = w.eng.now.Add(d)
	a := n.agent
	w.eng.after(d, func() { n.touched = w.eng.now; a.deliver(ha.Tick{}) })
	for _, g := range n.guards {
		g.until = n.pausedUntil
		w.eng.at(g.until, g.thaw)
	}
}

// watched says whether a node claims that a watchdog watches it: its server was made writable by its present agent, under authority that lasts, and
// the watchdog is required, or armed.
func (n *node) watched() bool {
	a, d := n.agent, n.watchdog
	if a == nil || n.frozen || n.weak || n.w.eng.now.Before(n.pausedUntil) || !n.server.writable() || n.server.orphans || d.deaf {
		return false
	}
	v := a.machine.View()
	switch {
	case v.Lease.State != ha.LeaseHeld || !v.Lease.Auth.Holds(n.w.eng.now) || v.LastTask == nil || v.LastTask.At.Before(v.Lease.Since):
		return false // it was found writable, or may not write
	case d.settings.Mode == ha.WatchdogRequired:
		return true
	}
	return d.running && d.by == a && v.Watchdog.Order.Most != 0
}

// watchPromotion freezes some nodes in the moment in which they are promoted.
func (w *World) watchPromotion(n *node) {
	if w.opts.Profile == Watched && n.watchdog.rng.IntN(4) == 0 {
		w.eng.after(time.Duration(n.watchdog.rng.IntN(5000))*time.Microsecond, func() { w.freezeBoth(n) })
	}
}

// repair makes all devices work, and the settings leave them time with any ttl.
func (d *watchdog) repair() {
	d.broken, d.deaf = false, false
	if d.settings.Mode == ha.WatchdogRequired {
		d.settings.SafetyMargin = -time.Second
	}
}
