package ha

import (
	"fmt"
	"time"
)

// WallClock is what a [Clock] may offer beside its own time: how far the machine's wall clock is ahead of it. A node looks at it with each
// event. Nothing is decided by the wall clock; but a hypervisor that froze the machine may leave no other trace, so that a jump is told, and
// one ahead makes the node ask the store at once whether it still leads.
type WallClock interface {
	Skew() time.Duration
}

// clockJumpLimit is how far the wall clock may be moved between two events without a word: time synchronisation slews it by less.
const clockJumpLimit = time.Second

// jumped returns the jump of the wall clock since the last call, if it is worth an event.
func (n *Node) jumped() (ClockJumped, bool) {
	w, ok := n.cfg.Clock.(WallClock)
	if !ok {
		return ClockJumped{}, false
	}
	skew := w.Skew()
	by, known := skew-n.skew, n.skewed
	n.skew, n.skewed = skew, true
	return ClockJumped{By: by}, known && by.Abs() >= clockJumpLimit
}

func foldClockJumped(now time.Time, v *View, e ClockJumped) {
	v.ClockJump = ClockJump{At: now, By: e.By}
	v.Store.Stale, v.Store.Urgent, v.Local.Stale = true, true, true
}

func (j ClockJump) String() string {
	if j.At.IsZero() {
		return "the wall clock has not jumped"
	}
	way := "ahead"
	if j.By < 0 {
		way = "back"
	}
	return fmt.Sprintf("the wall clock jumped %s by %s at %s; nothing is decided by it", way, j.By.Abs().Round(time.Millisecond), j.At.Format(time.RFC3339))
}
