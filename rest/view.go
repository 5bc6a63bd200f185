package rest

import (
	"encoding/json"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/internal/overview"
	"github.com/tanist-ha/tanist/internal/restapi"
	"github.com/tanist-ha/tanist/postgres"
)

// view is one published status with what health checks need of it, computed once: many checks see the same status.
// Nothing in it depends on the time; that is asked by the methods with now.
type view struct {
	st            *ha.Status
	body          []byte // the document of GET, without the age
	running       bool   // the server runs and answered
	standby       bool   // it is in recovery
	sync, quorum  bool   // /sync lists this member as one that has every acknowledged commit
	replication   string // "streaming", "in archive recovery", ""
	standbyLeader bool   // the cluster follows a remote primary, and this member's role is to stream from it
}

// view returns the view of the status that is published now.
func (h *Handler) view() *view {
	st := h.status()
	if v := h.last.Load(); v != nil && v.st == st {
		return v
	}
	v := newView(st)
	v.body, _ = json.Marshal(h.document(v, st.Observed)) // plain values: cannot fail
	h.last.Store(v)
	return v
}

func newView(st *ha.Status) *view {
	v := &view{st: st}
	sql := st.Observed.SQL
	v.running = st.State == dcs.StateRunning && sql != nil && !st.Observed.Closed
	v.standby = sql != nil && sql.InRecovery
	v.standbyLeader = st.Settings.StandbyCluster && st.Role == dcs.RoleStandbyLeader
	v.replication = replicationState(st, sql)
	if v.standby {
		switch syncRole(st.Cluster, st.Name) {
		case "sync_standby":
			v.sync = true
		case "quorum_standby":
			v.quorum = true
		}
	}
	return v
}

// syncRole is the role that the store's view gives to the member name, as GET /cluster shows it; "" if it is not a member.
func syncRole(c dcs.Cluster, name string) string {
	for _, m := range overview.Of("", c).Members {
		if m.Name == name {
			return m.Role
		}
	}
	return ""
}

func replicationState(st *ha.Status, sql *postgres.SQLFacts) string {
	switch {
	case sql == nil || !sql.InRecovery:
		return ""
	case sql.Receiver != nil && sql.Receiver.Status == "streaming":
		return "streaming"
	case st.Settings.Postgres.RecoveryConf["restore_command"] != "" || st.Settings.Postgres.Parameters["restore_command"] != "":
		return "in archive recovery"
	}
	return ""
}

// fresh says whether the observation still says something about the server. The node looks at least once in a heartbeat;
// one that has not looked for a ttl is stuck.
func (v *view) fresh(now time.Time) bool {
	ttl := v.st.Settings.TTL
	return ttl <= 0 || now.Sub(v.st.ObservedAt) < ttl
}

// storeKnown says whether what the store last told may still be believed.
func (v *view) storeKnown(now time.Time) bool {
	seen := v.st.StoreSeen
	if v.st.ClusterAt.After(seen) {
		seen = v.st.ClusterAt
	}
	return !v.st.ClusterAt.IsZero() && now.Sub(seen) < v.st.Settings.TTL
}

// lag is how far the server's replay (or, with written, what it received) is behind the furthest position known of the
// leader; known is false if there is no such position.
func (v *view) lag(written bool) (bytes uint64, known bool) {
	sql := v.st.Observed.SQL
	if sql == nil {
		return 0, false
	}
	leader := max(postgres.LSN(v.st.Cluster.Status.Optime), sql.LatestEnd)
	own := sql.Replayed
	if written {
		own = max(own, sql.Received)
	}
	if leader == 0 {
		return 0, false
	}
	if own >= leader {
		return 0, true
	}
	return uint64(leader - own), true
}

// document is the answer of GET /patroni that rests on obs, without its age.
func (h *Handler) document(v *view, obs postgres.Observation) restapi.Status {
	st := v.st
	doc := restapi.Status{
		State: st.State, Role: st.Role,
		Pause: st.Settings.Paused, ClusterUnlocked: !st.ClusterAt.IsZero() && st.Cluster.Leader == nil,
		Tags: st.Settings.Tags.All, SystemID: systemID(st, obs), PendingRestart: len(obs.PendingRestart) > 0,
		Patroni:        restapi.Agent{Version: h.Version, Scope: st.Scope, Name: st.Name},
		WatchdogFailed: st.NoWatchdog, FailsafeModeIsActive: st.FailsafeActive(h.Node.Now()),
		Tanist: h.Release, TanistStart: st.StartID, TanistWatchdog: st.Watchdog, TanistLeads: st.Leads(h.Node.Now()),
	}
	if !st.StoreSeen.IsZero() {
		doc.DCSLastSeen = st.StoreSeen.Unix()
	}
	for name, change := range obs.PendingRestart {
		if doc.PendingRestartReason == nil {
			doc.PendingRestartReason = map[string]dcs.PendingChange{}
		}
		doc.PendingRestartReason[name] = dcs.PendingChange{OldValue: change[0], NewValue: change[1]}
	}
	if obs.Closed {
		return doc // the cluster was never opened: nobody writes here, and there is no log to compare
	}
	if obs.SQL == nil {
		if doc.State == dcs.StateRunning {
			doc.State = "unknown" // it runs, and the query got no answer
		}
		return doc
	}
	describeServer(&doc, v, *obs.SQL)
	return doc
}

// describeServer adds what one SQL round trip told.
func describeServer(doc *restapi.Status, v *view, sql postgres.SQLFacts) {
	if !sql.StartedAt.IsZero() {
		doc.PostmasterStartTime = restapi.Timestamp(sql.StartedAt)
	}
	doc.ServerVersion = sql.ServerVersion
	doc.Timeline = uint32(sql.Timeline)
	doc.Role = dcs.RolePrimary
	if sql.InRecovery {
		doc.Role = dcs.RoleReplica
		if v.standbyLeader {
			doc.Role = dcs.RoleStandbyLeader
		}
		doc.SyncStandby, doc.QuorumStandby = v.sync, v.quorum
		doc.ReplicationState = replicationState(v.st, &sql)
	}
	doc.XLog = xlog(sql)
	for _, s := range sql.Senders {
		row := restapi.Replication{User: s.User, Application: s.Application, State: s.State, SyncState: s.SyncState, SyncPriority: s.SyncPriority}
		if s.ClientAddr != "" {
			row.ClientAddr = &s.ClientAddr
		}
		doc.Replication = append(doc.Replication, row)
	}
}

func xlog(sql postgres.SQLFacts) *restapi.XLog {
	if !sql.InRecovery {
		at := uint64(sql.Flush)
		return &restapi.XLog{Location: &at}
	}
	x := &restapi.XLog{Received: uint64(sql.Received), Replayed: uint64(sql.Replayed), Paused: sql.ReplayPaused}
	if x.Received == 0 {
		x.Received = x.Replayed // nothing was received since the start; replay is what it has
	}
	if sql.ReplayedAt != nil {
		at := restapi.Timestamp(*sql.ReplayedAt)
		x.ReplayedTimestamp = &at
	}
	return x
}

func systemID(st *ha.Status, obs postgres.Observation) string {
	if obs.Control != nil {
		return obs.Control.SystemID
	}
	if init := st.Cluster.Initialize; init != nil {
		return init.SystemID
	}
	return ""
}
