package hatest

import "time"

// waitSlack is how much longer than it has said a wait may last: the node has to be woken, and a look or a poll may be under way. A rule that
// decides again within that time still waits for the same thing: polls come in between.
const waitSlack = 5 * time.Second

// waiting is until when a rule waits at the latest, as it said first, and when it decided last. Times are the node's.
type waiting struct{ end, seen time.Time }

// checkWait holds a node to the end of its waits (safety 15): with the faults over, and what was under way when they ended, none lasts longer than
// it has said when it began, whatever it says meanwhile.
func (w *World) checkWait(a *agent) {
	d, now := a.machine.Decision(), a.now()
	if w.healed.IsZero() || d.Until.IsZero() {
		return
	}
	first, ok := a.waits[d.Reason.Rule]
	switch {
	case !ok || now.After(first.seen.Add(waitSlack)) || w.eng.now.Before(w.healed.Add(waitSlack)):
		first.end = d.Until
	case now.After(first.end.Add(waitSlack)):
		w.violate("%s waits longer than it has said, by %.1f s: %s: %s", a.n.name, now.Sub(first.end).Seconds(), d.Reason.Rule, d.Reason.Text)
	}
	first.seen = now
	a.waits[d.Reason.Rule] = first
}
