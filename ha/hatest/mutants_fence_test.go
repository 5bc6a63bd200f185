package hatest

import (
	"testing"
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// fenceMutants break the fence, and what is known of time.
var fenceMutants = []mutant{
	{"guard armed after promote", func(t *testing.T) Options { // safety 3.5
		return Options{Profile: Freezes, Rules: replaced(t, map[ha.RuleID]check{"leader.arm": passing, "pulse.fence": armedAfterPromote})}
	}},
	{"T grown on an unconfirmed renewal", func(t *testing.T) Options { // 5.2
		return Options{Profile: Freezes, Rules: replaced(t, map[ha.RuleID]check{"pulse.fence": grownUnconfirmed})}
	}},
	{"takeover with a new T", func(t *testing.T) Options { // 5.6
		return Options{Profile: Freezes, Rules: replaced(t, map[ha.RuleID]check{"pulse.fence": takenOverAnew})}
	}},
	{"disarm before the stop is proven", func(t *testing.T) Options { // 5.5
		return Options{Profile: Freezes, Rules: replaced(t, map[ha.RuleID]check{"pulse.fence": disarmedAtStop})}
	}},
	{"disarmed with a promotion pending", func(t *testing.T) Options { // 5.5
		return Options{Profile: Freezes, Rules: replaced(t, map[ha.RuleID]check{"pulse.fence": disarmedPending})}
	}},
	{"channel not read before firing", func(*testing.T) Options { // 5.2
		return Options{Profile: Freezes, Mutant: Mutant{Guard: BlindGuard}}
	}},
	{"sweep skipped", func(*testing.T) Options { // 5.4
		return Options{Profile: Freezes, Mutant: Mutant{Guard: NoSweep}}
	}},
	{"clock steps back", func(*testing.T) Options { // 6
		return Options{Mutant: Mutant{Clock: stepsBack}}
	}},
	{"stale task event believed", func(*testing.T) Options {
		return Options{Profile: Freezes, Mutant: Mutant{Believe: staleTask}}
	}},
	{"half-cloned directory started", func(*testing.T) Options { // 13
		return Options{Profile: Freezes, Mutant: Mutant{Believe: halfIsWhole}}
	}},
	{"session TTL taken from today's setting", func(*testing.T) Options { // 1.3
		return Options{Profile: Freezes, Mutant: Mutant{View: todaysTTL}}
	}},
	{"released before status", func(t *testing.T) Options { // 7.4
		return Options{Profile: Planned, Rules: replaced(t, map[ha.RuleID]check{
			"handover.release": withoutStatus("handover.release"), "handover.release-short": withoutStatus("handover.release-short")})}
	}},
}

// standard asks the rule that a mutant stands for.
func standard(id ha.RuleID, now time.Time, v *ha.View) ha.Verdict { return rule(id).Check(now, v) }

// promoting says whether a promotion was asked of the server and has not happened, as far as known.
func promoting(v *ha.View) bool {
	s := v.Local.Obs.SQL
	asked := v.Local.Obs.Postmaster != nil && *v.Local.Obs.Postmaster == v.Local.PromotionAsked
	return asked && (s == nil || s.InRecovery)
}

func armedAfterPromote(now time.Time, v *ha.View) ha.Verdict {
	if promoting(v) {
		return ha.Pass("mutant: later")
	}
	return standard("pulse.fence", now, v)
}

func grownUnconfirmed(now time.Time, v *ha.View) ha.Verdict {
	f, store := &v.Fence, v.Lanes[ha.LaneStore]
	if !f.Armed || v.Lanes[ha.LaneFence].ID != 0 || v.Lease.State != ha.LeaseHeld || store.Name != (ha.RenewKey{}).Name() {
		return standard("pulse.fence", now, v)
	}
	o := ha.NewBudget(ha.Authority{Sent: store.Since, TTL: v.Lease.Auth.TTL}, v.Settings.LoopWait).Order()
	if o.Postmaster, o.At = v.Local.Obs.Postmaster, now; o.Postmaster == nil || !o.Kill.After(f.Order.Kill) {
		return standard("pulse.fence", now, v)
	}
	return ha.Act("mutant: a renewal is under way", ha.ArmFence{Order: o})
}

func takenOverAnew(now time.Time, v *ha.View) ha.Verdict {
	if s := v.Local.Obs.SQL; !v.Adopted || v.Fence.Armed || v.Lanes[ha.LaneFence].ID != 0 || s == nil || s.InRecovery {
		return standard("pulse.fence", now, v)
	}
	o := ha.NewBudget(ha.Authority{Sent: now, TTL: v.Settings.TTL}, v.Settings.LoopWait).Order()
	o.Postmaster, o.At = v.Local.Obs.Postmaster, now
	return ha.Act("mutant: it was found running", ha.ArmFence{Order: o})
}

func disarmedAtStop(now time.Time, v *ha.View) ha.Verdict {
	if t := v.Task; t != nil && t.Task.Kind == postgres.TaskStop {
		if !v.Fence.Armed || v.Lanes[ha.LaneFence].ID != 0 {
			return ha.Pass("mutant: dismissed")
		}
		return ha.Act("mutant: it is being stopped", ha.DisarmFence{Running: v.Local.Obs.Postmaster})
	}
	return standard("pulse.fence", now, v)
}

func disarmedPending(now time.Time, v *ha.View) ha.Verdict {
	if !promoting(v) || v.Task != nil && v.Task.Phase == "" {
		return standard("pulse.fence", now, v)
	}
	if !v.Fence.Armed || v.Lanes[ha.LaneFence].ID != 0 {
		return ha.Pass("mutant: dismissed")
	}
	return ha.Act("mutant: it is in recovery", ha.DisarmFence{Running: v.Local.Obs.Postmaster})
}

// stepsBack is a wall clock that somebody sets back by 20 s every minute.
func stepsBack(elapsed time.Duration) time.Duration {
	return -20 * time.Second * (elapsed / time.Minute)
}

// staleTask takes the end of an earlier task for that of the present one.
func staleTask(v *ha.View, e ha.Event) ha.Event {
	if x, ok := e.(ha.TaskDone); ok && v.Lanes[ha.LanePostgres].ID != 0 {
		x.ID = v.Lanes[ha.LanePostgres].ID
		return x
	}
	return e
}

// halfIsWhole starts what a clone or a rewind has left half done.
func halfIsWhole(_ *ha.View, e ha.Event) ha.Event {
	if x, ok := e.(ha.Observed); ok && x.Observation.DataDir == postgres.DataDirUnfinished {
		x.Observation.DataDir, x.Observation.Unfinished = postgres.DataDirReady, ""
		return x
	}
	return e
}

func todaysTTL(v *ha.View) {
	if v.Lease.State == ha.LeaseHeld {
		v.Lease.Auth.TTL = v.Settings.TTL
	}
}

// withoutStatus leaves out what the leader says last.
func withoutStatus(id ha.RuleID) check {
	return func(now time.Time, v *ha.View) ha.Verdict {
		d := standard(id, now, v)
		for i, a := range d.Do {
			if r, ok := a.(ha.ReleaseKey); ok {
				r.Request.Status = nil
				d.Do[i] = r
			}
		}
		return d
	}
}
