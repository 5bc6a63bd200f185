package ha_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/hatest"
	"github.com/tanist-ha/tanist/postgres"
)

// The ttl was made shorter, and the agent died before the leader key was moved: its guard may let the server live for as long as the old
// session. The next run takes the key over with a session that is no shorter, and moves it when that guard's time has passed.
func TestTakeOverWithTheLongerSession(t *testing.T) {
	const text = `
me a started -1s
local primary
adopted
lease none
leader a session s0
member a primary running session s0 ttl 60
peer a silent`
	s := situation(t, text+"\nsession none", nil)
	d := ha.Decide(s.Now, &s.View)
	k, ok := d.Do[0].(ha.KeepSession)
	if !ok || k.Request.TTL != time.Minute || k.Request.Member.TanistTTL != 60 {
		t.Fatalf("the session of 60 s is followed by %s", d.Do[0].Name())
	}
	s = situation(t, text, func(_ time.Time, v *ha.View) { v.AskedTTL, v.Store.Member.TanistTTL = time.Minute, 60 })
	d = ha.Decide(s.Now, &s.View)
	a, ok := d.Do[0].(ha.AcquireKey)
	if !ok {
		t.Fatalf("the key is not taken over: %s", d.Reason.Text)
	}
	s.View = ha.Fold(s.Now, s.View, ha.Begun{ID: 5, Sent: s.Now, Action: a})
	if until := s.View.Fence.Until.Sub(s.Now); until < 59*time.Second {
		t.Errorf("the guard of the earlier run may let the server live for 59.3 s, not %s", until)
	}
}

// What a guard has acknowledged that was lost in the same moment guards nothing.
func TestAcknowledgementOfALostGuard(t *testing.T) {
	s := situation(t, "me a\nlocal primary\nlease held", nil)
	pm := *s.View.Local.Obs.Postmaster
	order := ha.FenceOrder{Postmaster: &pm, At: s.Now, Fast: s.Now.Add(20 * time.Second), Kill: s.Now.Add(29 * time.Second)}
	s.View = ha.Fold(s.Now, s.View, ha.Begun{ID: 5, Sent: s.Now, Action: ha.ArmFence{Order: order}})
	s.View = ha.Fold(s.Now, s.View, ha.FenceLost{Loss: ha.FenceLoss{Cause: "killed"}})
	s.View = ha.Fold(s.Now, s.View, ha.FenceArmed{ID: 5, Order: order})
	if s.View.Fence.Armed {
		t.Error("the server counts as guarded")
	}
	if d := ha.Decide(s.Now, &s.View); d.Reason.Rule != "pulse.observe" && d.Reason.Rule != "pulse.fence" {
		t.Errorf("another guard is not armed at once: %s", d.Reason.Text)
	}
}

// An order that is not acknowledged counts as the guard's death: the server is unguarded from then on, and stopped 100 ms later.
func TestOrderWithoutAcknowledgement(t *testing.T) {
	s := situation(t, "me a\nlocal primary\nlease held\nfence armed kill +20s", nil)
	order := s.View.Fence.Order
	order.Kill = s.Now.Add(29 * time.Second)
	s.View = ha.Fold(s.Now, s.View, ha.Begun{ID: 5, Sent: s.Now, Action: ha.ArmFence{Order: order}})
	s.View = ha.Fold(s.Now, s.View, ha.FenceArmed{ID: 5, Order: order, Fault: &ha.Fault{Kind: ha.FaultUnknown, Text: "no answer"}})
	if s.View.Fence.Armed || s.View.Fence.Unguarded != s.Now {
		t.Errorf("the fence is %+v", s.View.Fence)
	}
	s.View.Lanes[ha.LaneFence] = ha.Flight{ID: 6, Since: s.Now, Name: "arm fence"}
	s.View.Local.Sent, s.View.Local.Stale = s.Now, false
	decides(t, &hatest.Situation{Now: s.Now.Add(90 * time.Millisecond), View: s.View}, "leader.idle")
	decides(t, &hatest.Situation{Now: s.Now.Add(100 * time.Millisecond), View: s.View}, "authority.unguarded: demoting self because nobody guards my server")
}

// A guard that has fired is counted, and so is a demotion.
func TestFencesAndDemotionsAreCounted(t *testing.T) {
	s := situation(t, "me a\nlocal primary\nlease held\nfence armed", nil)
	s.View = ha.Fold(s.Now, s.View, ha.FenceLost{Loss: ha.FenceLoss{Cause: "it has fired", Fired: true}})
	s.View = ha.Fold(s.Now, s.View, ha.FenceArmed{Order: ha.FenceOrder{At: s.Now}})
	if s.View.Fence.Fired != 1 {
		t.Errorf("the fence has fired %d times", s.View.Fence.Fired)
	}
	stop := ha.RunTask{Task: postgres.Task{Kind: postgres.TaskStop}, Why: ha.WhyDemote}
	s.View = ha.Fold(s.Now, s.View, ha.Begun{ID: 5, Sent: s.Now, Action: stop})
	if s.View.Demotions != 1 {
		t.Errorf("%d demotions", s.View.Demotions)
	}
}

// Nothing is decided by the wall clock; but a machine that was frozen asks the store at once whether it still leads, and says so.
func TestClockJump(t *testing.T) {
	s := situation(t, "me a\nlocal primary\nlease held\nfence armed", nil)
	s.View = ha.Fold(s.Now, s.View, ha.ClockJumped{By: time.Hour})
	if text := s.View.ClockJump.String(); !strings.Contains(text, "jumped ahead by 1h0m0s") {
		t.Error(text)
	}
	s.View = ha.Fold(s.Now, s.View, ha.Begun{ID: 5, Sent: s.Now, Action: ha.Observe{}})
	decides(t, s, "pulse.renew: the leader key is to be renewed")
	back := situation(t, "me a\nlocal primary\nlease held\nfence armed\nbusy observe", nil)
	back.View = ha.Fold(back.Now, back.View, ha.ClockJumped{By: -time.Hour})
	decides(t, back, "pulse.load: the store has changed")
}
