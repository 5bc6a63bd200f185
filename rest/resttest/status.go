package resttest

import (
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// Started is a fixed moment for statuses and clocks.
func Started() time.Time { return time.Date(2026, 7, 20, 8, 15, 2, 118211000, time.UTC) }

// Cluster is a cluster of the named members in which the first leads.
func Cluster(names ...string) dcs.Cluster {
	c := dcs.Cluster{
		Version: 100, Leader: &dcs.Leader{Name: names[0]}, Initialize: &dcs.Initialize{SystemID: "7543210987654321001"},
		Config: &dcs.Config{Version: 90, Raw: []byte(`{"ttl":30}`)}, Status: dcs.Status{Optime: 0x6000000},
	}
	for i, name := range names {
		m := dcs.Member{Name: name, Data: dcs.MemberData{
			ConnURL: "postgres://127.0.0.1:5432/postgres", APIURL: "http://127.0.0.1:8008/patroni", State: dcs.StateRunning,
			Role: dcs.RoleReplica, Version: "4.1.4", Timeline: 4, XLogLocation: 0x6000000, ReplicationState: "streaming",
		}}
		if i == 0 {
			m.Data.Role, m.Data.ReplicationState = dcs.RolePrimary, ""
		}
		c.Members = append(c.Members, m)
	}
	return c
}

// Primary is the status, at now, of a node that leads cluster c: authority in force, writes accepted.
func Primary(name string, now time.Time, c dcs.Cluster) ha.Status {
	st := running(name, now, c)
	st.Role, st.Accepting = dcs.RolePrimary, true
	st.Authority = ha.Authority{Sent: now, TTL: 30 * time.Second}
	st.Observed.SQL.Flush = 0x6000000
	return st
}

// Replica is the status, at now, of a standby that streams.
func Replica(name string, now time.Time, c dcs.Cluster) ha.Status {
	st := running(name, now, c)
	st.Role = dcs.RoleReplica
	sql := st.Observed.SQL
	sql.InRecovery, sql.Received, sql.Replayed, sql.LatestEnd = true, 0x6000000, 0x6000000, 0x6000000
	sql.Receiver = &postgres.Receiver{Status: "streaming", Timeline: 4}
	return st
}

func running(name string, now time.Time, c dcs.Cluster) ha.Status {
	return ha.Status{
		Name: name, Scope: "demo", StartID: "start-of-" + name, At: now, State: dcs.StateRunning,
		Observed: postgres.Observation{
			DataDir: postgres.DataDirReady, Control: &postgres.Control{SystemID: "7543210987654321001"},
			Accepting: postgres.AcceptingYes, Postmaster: &postgres.Postmaster{PID: 1},
			SQL: &postgres.SQLFacts{Timeline: 4, ServerVersion: 170005, StartedAt: Started()},
		},
		ObservedAt: now, Cluster: c, ClusterAt: now, StoreSeen: now, NextLoop: now.Add(10 * time.Second),
		Settings: ha.Settings{
			TTL: 30 * time.Second, LoopWait: 10 * time.Second, RetryTimeout: 10 * time.Second, MaximumLagOnFailover: 1 << 20,
			Tags: ha.Tags{FailoverPriority: 1},
		},
	}
}
