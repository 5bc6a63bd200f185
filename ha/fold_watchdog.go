package ha

import "time"

// foldWatchdogAsked notes what an order may do to the device before its answer comes: a shorter timeout may count from now on.
func foldWatchdogAsked(v *View, o WatchdogOrder) {
	w := &v.Watchdog
	if end := o.At.Add(o.Timeout); w.State.Running && end.Before(w.End) {
		w.End = end
	}
}

// foldWatchdog records what the watchdog has answered.
func foldWatchdog(now time.Time, v *View, e Event) {
	w := &v.Watchdog
	switch e := e.(type) {
	case WatchdogChecked:
		w.Checked, w.Lacks = now, ""
		if e.Fault != nil {
			w.Lacks = e.Fault.Text
		}
	case WatchdogArmed:
		w.State, w.Tried = e.State, e.Order.Timeout
		if e.Fault != nil {
			w.Failed, w.Problem = now, e.Fault.Text
			foldWatchdogLeft(w, e.Order)
			return
		}
		w.Order, w.End = e.Order, e.Order.At.Add(e.State.Timeout)
		if e.Order.Renewal.After(w.Used) {
			w.Used = e.Order.Renewal
		}
		w.Failed, w.Problem, w.Lacks, w.StopFailed = time.Time{}, "", "", time.Time{}
	case WatchdogDisarmed:
		w.State = e.State
		if e.Fault != nil {
			w.StopFailed = now
			return
		}
		w.Order, w.End, w.StopFailed = WatchdogOrder{}, time.Time{}, time.Time{}
	}
}

// foldWatchdogLeft notes how a refused order has left the device: as it was, started though it should not have been, or stopped.
func foldWatchdogLeft(w *WatchdogView, o WatchdogOrder) {
	switch {
	case !w.State.Running:
		w.Order, w.End = WatchdogOrder{}, time.Time{}
	case w.End.IsZero():
		timeout := w.State.Timeout
		if timeout == 0 {
			timeout = o.Timeout
		}
		w.End = o.At.Add(timeout)
	}
}
