package hatest

import (
	"fmt"
	"time"

	"github.com/tanist-ha/tanist/ha"
)

// readWatchdog: MODE [margin D] [checked TIME] [armed TIME] [renewal TIME] [counts D] [told D] [endless] [stop-failed TIME] [lacks TEXT | failed TIME TEXT].
// MODE is off, automatic or required. Armed: it was armed, or kept alive, at that time, on the present renewal unless renewal says otherwise, and
// counts what it was told: the ttl less the margin.
func readWatchdog(s *situation, w *words) {
	set, d := &s.v.Settings.Watchdog, &s.v.Watchdog
	set.Mode, set.SafetyMargin = ha.WatchdogMode(w.next()), 5*time.Second
	if set.Mode == "off" {
		set.Mode = ha.WatchdogOff
	}
	s.v.Self.Watchdog, d.Checked = "watchdog", s.now.Add(-100*time.Millisecond)
	for w.more() {
		switch x := w.next(); x {
		case "margin":
			set.SafetyMargin = w.duration()
		case "none":
			s.v.Self.Watchdog = ""
		case "checked":
			d.Checked = w.time()
		case "armed":
			d.State = ha.WatchdogState{Running: true, Timeout: s.v.Settings.TTL - set.SafetyMargin}
			d.Order = ha.WatchdogOrder{Timeout: d.State.Timeout, Least: s.v.Settings.LoopWait, Most: s.v.Settings.TTL, At: w.time(), Renewal: s.v.Lease.Auth.Sent}
			d.Used, d.Tried = d.Order.Renewal, d.Order.Timeout
		case "renewal":
			d.Order.Renewal = w.time()
			d.Used, d.Tried = d.Order.Renewal, d.Order.Timeout
		case "counts":
			d.State.Timeout = w.duration()
		case "told":
			d.Order.Timeout = w.duration()
			d.Tried = d.Order.Timeout
		case "endless":
			d.State.Endless = true
		case "stop-failed":
			d.StopFailed = w.time()
		case "lacks":
			d.Lacks = w.text()
		case "failed":
			d.Failed, d.Problem = w.time(), w.text()
		default:
			w.unknown(x)
		}
	}
	if d.State.Running {
		d.End = d.Order.At.Add(d.State.Timeout)
	}
}

// formatWatchdog writes an order to the watchdog with what matters of it.
func formatWatchdog(now time.Time, o ha.WatchdogOrder) string {
	if o.Most == 0 {
		return fmt.Sprintf("arm watchdog: %s, or whatever it counts", o.Timeout)
	}
	return fmt.Sprintf("arm watchdog: %s, or between %s and %s, before %s", o.Timeout, o.Least, o.Most, relative(now, o.Before))
}
