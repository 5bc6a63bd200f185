package ha

import (
	"cmp"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// member is our member key as it should be now.
func (v *View) member() dcs.MemberData { return v.memberAs(v.state()) }

// seconds rounds up.
func seconds(d time.Duration) uint64 { return uint64((d + time.Second - 1) / time.Second) }

// memberAs is our member key with a state that is about to be true.
func (v *View) memberAs(state dcs.State) dcs.MemberData {
	m := dcs.MemberData{
		ConnURL: v.Self.ConnURL, APIURL: v.Self.APIURL, ProxyURL: v.Self.ProxyURL,
		State: state, Role: v.role(), Version: v.Self.Version, Tanist: v.Self.Release,
		Tags: v.Settings.Tags.All, Pause: v.Settings.Paused, TanistTTL: seconds(cmp.Or(v.AskedTTL, v.Settings.TTL)),
	}
	if state == dcs.StateStopped || state == dcs.StateStopping {
		if m.Role == dcs.RolePrimary || m.Role == dcs.RolePromoted {
			m.Role = dcs.RoleDemoted
		}
	}
	m.TanistWatchdog, m.TanistUnfenced = v.watchdogWord(), !v.Self.Fenced
	v.memberPositions(&m)
	for name, change := range v.Local.Obs.PendingRestart {
		if m.PendingRestartReason == nil {
			m.PendingRestart, m.PendingRestartReason = true, map[string]dcs.PendingChange{}
		}
		m.PendingRestartReason[name] = dcs.PendingChange{OldValue: change[0], NewValue: change[1]}
	}
	return m
}

func (v *View) memberPositions(m *dcs.MemberData) {
	s := v.Local.Obs.SQL
	if s == nil {
		return
	}
	p := s.Position()
	m.XLogLocation, m.Timeline = uint64(p.LSN), uint32(p.Timeline)
	if s.InRecovery {
		m.ReceiveLSN, m.ReplayLSN = uint64(s.Received), uint64(s.Replayed)
		m.ReplicationState = "in archive recovery"
		if s.Receiver != nil && s.Receiver.Status == "streaming" {
			m.ReplicationState = "streaming"
		}
		return
	}
	if v.checkpointDue() {
		no := false
		m.CheckpointAfterPromote = &no
	}
}

// role is the role that we publish.
func (v *View) role() dcs.Role {
	switch {
	case !v.Local.Known || v.noData():
		return dcs.RoleUninitialized
	case v.Task != nil && v.Task.Task.Kind == postgres.TaskPromote:
		return dcs.RolePromoted
	case v.Task != nil && v.Task.Task.Kind == postgres.TaskStop && v.Task.Phase != "":
		if v.Local.WasPrimary {
			return dcs.RoleDemoted
		}
	case v.primary() && !v.closed():
		return dcs.RolePrimary
	case v.running() && v.Local.Obs.SQL == nil && v.mayWrite():
		return dcs.RolePrimary
	case !v.running() && v.Local.WasPrimary:
		if v.holds() && !v.Local.Crashed.IsZero() {
			return dcs.RolePrimary
		}
		return dcs.RoleDemoted
	}
	return dcs.RoleReplica
}

// state is the state of the server that we publish.
func (v *View) state() dcs.State {
	if t := v.Task; t != nil {
		switch t.Task.Kind {
		case postgres.TaskBootstrap:
			return dcs.StateInitializing
		case postgres.TaskClone, postgres.TaskRewind, postgres.TaskWipe:
			return dcs.StateCreating
		case postgres.TaskStart, postgres.TaskRecover:
			return dcs.StateStarting
		case postgres.TaskStop:
			switch t.Phase {
			case postgres.PhaseShutDown:
				return dcs.StateStopped
			case "": // it makes its checkpoint, and its clients go on writing: others have to know
			default:
				return dcs.StateStopping
			}
		}
	}
	switch {
	case v.running() && v.Local.Obs.Accepting == postgres.AcceptingStarting:
		return dcs.StateStarting
	case v.running():
		return dcs.StateRunning
	case !v.Shutdown.IsZero():
		return dcs.StateStopped
	case v.Local.StartFailures > 0:
		return dcs.StateStartFailed
	case !v.Local.Crashed.IsZero():
		return dcs.StateCrashed
	}
	return dcs.StateStopped
}

// status is what the leader says of itself with each renewal.
func (v *View) status() *dcs.Status {
	s := v.Local.Obs.SQL
	if s == nil || s.InRecovery {
		return nil
	}
	st := &dcs.Status{Optime: uint64(s.Flush), Slots: map[string]uint64{}}
	if !v.Mixed { // nobody else reads them, and each of the members is told of them once per loop
		return st
	}
	for _, slot := range s.Slots {
		if slot.Physical && slot.RestartLSN != 0 {
			st.Slots[slot.Name] = uint64(slot.RestartLSN)
		}
	}
	st.Slots[postgres.SlotName(v.Self.Name)] = uint64(s.Flush)
	return st
}

// release gives up the leader key, with the last status and a member key that says that nothing can be written here.
func (v *View) release(state dcs.State) ReleaseKey {
	r := dcs.Release{Leader: v.Lease.Leader, Member: v.memberAs(state)}
	if r.Member.Role == dcs.RolePrimary || r.Member.Role == dcs.RolePromoted {
		r.Member.Role = dcs.RoleDemoted
	}
	if h := v.Handover; h != nil && h.End != 0 {
		st := v.Store.Cluster.Status
		st.Optime = uint64(h.End)
		if c := v.Local.Obs.Control; c != nil && c.State == postgres.ControlShutDown && c.Checkpoint != 0 {
			st.Optime = uint64(c.Checkpoint)
		}
		r.Status = &st
	}
	return ReleaseKey{r}
}

// checkpointDue says whether pg_control still shows the timeline from before our promotion, which would mislead pg_rewind.
func (v *View) checkpointDue() bool {
	c, s := v.Local.Obs.Control, v.Local.Obs.SQL
	return c != nil && s != nil && !s.InRecovery && s.Timeline != 0 && c.Timeline < s.Timeline
}
