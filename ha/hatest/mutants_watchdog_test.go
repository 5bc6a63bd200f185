package hatest

import (
	"testing"
	"time"

	"github.com/tanist-ha/tanist/ha"
)

// watchdogMutants break the last ring (safety section 6, and 3.5).
var watchdogMutants = []mutant{
	{"watchdog activated after promotion", func(t *testing.T) Options {
		return Options{Profile: Watched, Rules: replaced(t, map[ha.RuleID]check{"leader.watchdog": refusedOnly})}
	}},
	{"watchdog kept alive without a confirmed renewal", func(t *testing.T) Options {
		return Options{Profile: Watched, Rules: replaced(t, map[ha.RuleID]check{"watchdog.keep": keptAnyway})}
	}},
	{"required watchdog ignored in the race", func(t *testing.T) Options {
		return Options{Profile: Watched, Rules: replaced(t, map[ha.RuleID]check{
			"vacant.watchdog": passing, "watchdog.refused": passing, "leader.watchdog": neverRefused})}
	}},
	{"watchdog left out of the budget", func(*testing.T) Options { // section 4
		return Options{Profile: Watched, Mutant: Mutant{View: endsNever}}
	}},
}

// refusedOnly gives the key up where a required watchdog is known to fail, and leaves the rest for later.
func refusedOnly(now time.Time, v *ha.View) ha.Verdict {
	if v.NoWatchdog(now) {
		return standard("leader.watchdog", now, v)
	}
	return ha.Pass("mutant: it is armed after the promotion")
}

// keptAnyway keeps the watchdog alive each second for as long as the key is taken for ours, renewed or not.
func keptAnyway(now time.Time, v *ha.View) ha.Verdict {
	w := &v.Watchdog
	if now.Before(w.Failed.Add(time.Second)) {
		return ha.Pass("mutant: it does not obey")
	}
	if !w.State.Running || v.Lease.State != ha.LeaseHeld || v.Lanes[ha.LaneWatchdog].ID != 0 || now.Before(w.Order.At.Add(time.Second)) {
		return standard("watchdog.keep", now, v)
	}
	o := w.Order
	o.At, o.Before, o.Renewal = now, now.Add(time.Minute), v.Lease.Auth.Sent
	return ha.Act("mutant: kept alive", ha.ArmWatchdog{Order: o})
}

// neverRefused arms the watchdog where it can, and leads where it cannot.
func neverRefused(now time.Time, v *ha.View) ha.Verdict {
	if v.NoWatchdog(now) {
		return ha.Pass("mutant: without a watchdog, then")
	}
	return standard("leader.watchdog", now, v)
}

// endsNever lets the rules believe that the watchdog leaves all of the authority.
func endsNever(v *ha.View) {
	if v.Watchdog.State.Running {
		v.Watchdog.End = v.Watchdog.Order.At.Add(time.Hour)
	}
}
