package ha

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// w is the largest ttl in force during the last such ttl: no lease that another node was granted can outlive it (safety: W).
func (v *View) w(now time.Time) time.Duration {
	if v.LastTTL > v.Settings.TTL && now.Sub(v.TTLChanged) < v.LastTTL {
		return v.LastTTL
	}
	return v.Settings.TTL
}

// least is the smallest ttl in force during the last w: another member's promise may be counted with it.
func (v *View) least(now time.Time) time.Duration {
	if v.LeastTTL != 0 && v.LeastTTL < v.Settings.TTL && now.Sub(v.TTLChanged) < v.w(now) {
		return v.LeastTTL
	}
	return v.Settings.TTL
}

// free says whether a lane can take an action.
func (v *View) free(l Lane) bool { return v.Lanes[l].ID == 0 }

// running says whether a postmaster runs on our data directory.
func (v *View) running() bool { return v.Local.Known && v.Local.Obs.Postmaster != nil }

// mayWrite says whether the server may be acknowledging commits of ordinary clients; in doubt it says yes.
func (v *View) mayWrite() bool {
	if t := v.Task; t != nil && (t.Task.Kind == postgres.TaskPromote || t.Task.AsPrimary || t.Task.Kind == postgres.TaskOpen) {
		return true
	}
	o := &v.Local.Obs
	if !v.running() || v.closed() {
		return false
	}
	if v.promotionPending() {
		return true
	}
	if o.SQL != nil {
		return !o.SQL.InRecovery
	}
	return !o.Standby
}

// promotionPending says whether this server was told to promote: a busy startup process obeys long after the order was given up, so that
// only a stop ends it.
func (v *View) promotionPending() bool {
	p := v.Local.Obs.Postmaster
	return p != nil && (*p == v.Local.PromotionAsked || v.Local.Obs.PromotionAsked)
}

// closed says whether ordinary clients are kept out: the cluster was made, and not opened yet.
func (v *View) closed() bool { return v.Local.Closed || v.Local.Obs.Closed }

// storeRests says whether a request has just failed for want of the store: what may be asked again at once, waits for a moment.
func (v *View) storeRests(now time.Time) bool {
	return v.Store.Problem != "" && now.Before(v.Store.Refused.Add(v.sessionRetry(now)))
}

// writeRests says whether a write was refused or lost a moment ago. A store that is full, or that lets us read only, refuses each of them
// at once.
func (v *View) writeRests(now time.Time) bool {
	return !v.Store.WriteFailed.IsZero() && now.Before(v.Store.WriteFailed.Add(time.Second))
}

// taskAgain begins a task, but not at once again when it has just failed.
func (v *View) taskAgain(now time.Time, why string, do RunTask) Verdict {
	if l := v.LastTask; l != nil && l.Task.Kind == do.Task.Kind && l.Fault != nil && now.Before(l.At.Add(time.Second)) {
		return wait(l.At.Add(time.Second), "%s; that failed: %s", why, l.Fault)
	}
	return act(why, do)
}

// primary says whether the server is known to run, not in recovery.
func (v *View) primary() bool {
	return v.running() && v.Local.Obs.SQL != nil && !v.Local.Obs.SQL.InRecovery
}

// standby says whether the server is known to run in recovery.
func (v *View) standby() bool {
	return v.running() && v.Local.Obs.SQL != nil && v.Local.Obs.SQL.InRecovery
}

// accepting says whether ordinary clients are known to be able to write (safety section 12).
func (v *View) accepting() bool {
	if t := v.Task; t != nil && (t.Task.Kind == postgres.TaskPromote || (t.Task.Kind == postgres.TaskStop && (!t.Task.Checkpoint || t.Phase != ""))) {
		return false // a stop that checkpoints first serves clients until it signals
	}
	return v.primary() && !v.closed() && v.Local.Obs.Accepting == postgres.AcceptingYes
}

// holds says whether the leader key is ours as far as the store has said, whether or not that may still be believed.
func (v *View) holds() bool { return v.Lease.State == LeaseHeld }

// budget is that of our authority, within what the watchdog leaves of it, and with renewals as the store wants them.
func (v *View) budget() Budget {
	a := v.bounded()
	return NewBudget(a, v.Settings.LoopWait).paced(a, v.Session.Pace)
}

// grace ends the time in which a server that was found writable, at the start of the agent, must get authority or stop.
func (v *View) grace() time.Time {
	return NewBudget(Authority{Sent: v.Self.Started, TTL: v.Settings.TTL}, v.Settings.LoopWait).Rule
}

// other is the leader if it is somebody else's key; nil otherwise.
func (v *View) other() *dcs.Leader {
	l := v.Store.Cluster.Leader
	if l == nil || (v.Session.ID != "" && l.Meta.Session == v.Session.ID) {
		return nil
	}
	return l
}

// vacant says whether the store showed no leader key when it was last read.
func (v *View) vacant() bool { return v.Store.Known && v.Store.Cluster.Leader == nil }

// systemID is that of the cluster, "" while it is not founded. Garbage in the key is none: the leader writes over it.
func (v *View) systemID() string {
	if i := v.Store.Cluster.Initialize; i != nil && dcs.ValidSystemID(i.SystemID) {
		return i.SystemID
	}
	return ""
}

// localSystemID is that of our data directory, "" if there is none.
func (v *View) localSystemID() string {
	if c := v.Local.Obs.Control; c != nil {
		return c.SystemID
	}
	return ""
}

// hasData says whether the data directory may be started.
func (v *View) hasData() bool { return v.Local.Known && v.Local.Obs.DataDir == postgres.DataDirReady }

// noData says whether the data directory has to be filled first.
func (v *View) noData() bool {
	return v.Local.Known && (v.Local.Obs.DataDir == postgres.DataDirEmpty || v.Local.Obs.DataDir == postgres.DataDirUnfinished)
}

// writesPrimary says whether the leader's member key describes a running primary.
func runsAsPrimary(m *dcs.Member) bool {
	return m != nil && (m.Data.Role == dcs.RolePrimary || m.Data.Role == dcs.RolePromoted || m.Data.Role == "master") &&
		(m.Data.State == dcs.StateRunning || m.Data.State == dcs.StateRestarting || m.Data.State == dcs.StateStarting || m.Data.State == dcs.StateStopping)
}

// leaderMember is the member key of the leader; nil if it has none.
func (v *View) leaderMember() *dcs.Member {
	if v.Store.Cluster.Leader == nil {
		return nil
	}
	return findMember(&v.Store.Cluster, v.Store.Cluster.Leader.Name)
}

// upstream is the server that this standby shall stream from; nil: nobody is known.
func (v *View) upstream() *postgres.Upstream {
	if from := v.Settings.Tags.ReplicateFrom; from != "" && from != v.Self.Name {
		if m := findMember(&v.Store.Cluster, from); m != nil && m.Data.State == dcs.StateRunning {
			return v.upstreamOf(m)
		}
	}
	u := v.upstreamOf(v.leaderMember())
	if u != nil {
		u.Primary = true
	}
	return u
}

func (v *View) upstreamOf(m *dcs.Member) *postgres.Upstream {
	if m == nil || m.Name == v.Self.Name {
		return nil
	}
	c, err := postgres.ParseConninfo(m.Data.ConnURL)
	if err != nil || c["host"] == "" {
		return nil
	}
	port, err := strconv.Atoi(cmp.Or(c["port"], "5432"))
	if err != nil {
		return nil
	}
	u := &postgres.Upstream{Name: m.Name, Host: c["host"], Port: port}
	if v.Settings.Postgres.UseSlots {
		u.Slot = postgres.SlotName(v.Self.Name)
	}
	return u
}

// wantSlots lists the physical slots that this node has to keep for other members.
func (v *View) wantSlots() []string {
	if !v.Settings.Postgres.UseSlots {
		return nil
	}
	want := v.failsafeSlots()
	for i := range v.Store.Cluster.Members {
		m := &v.Store.Cluster.Members[i]
		from, _ := m.Data.Tags["replicatefrom"].(string)
		if from != "" && findMember(&v.Store.Cluster, from) == nil {
			from = ""
		}
		if m.Name != v.Self.Name && (from == v.Self.Name || (from == "" && v.holds())) {
			want = append(want, postgres.SlotName(m.Name))
		}
	}
	slices.Sort(want)
	return slices.Compact(want)
}

func joinNames(names []string) string { return strings.Join(names, ",") }

// noFailover says whether m may never lead.
func noFailover(m *dcs.Member) bool {
	if b, ok := m.Data.Tags["nofailover"]; ok {
		return truthy(b)
	}
	if p, ok := number(m.Data.Tags["failover_priority"]); ok {
		return p <= 0
	}
	return false
}

// truthy reads a tag as Patroni does.
func truthy(x any) bool {
	switch x := x.(type) {
	case bool:
		return x
	case string:
		s := strings.ToLower(x)
		return s == "true" || s == "on" || s == "yes" || s == "1"
	}
	n, ok := number(x)
	return ok && n != 0
}

func number(x any) (float64, bool) {
	switch x := x.(type) {
	case float64:
		return x, true
	case int:
		return float64(x), true
	case int64:
		return float64(x), true
	}
	return 0, false
}
