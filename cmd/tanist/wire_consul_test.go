package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/consul"
	"github.com/tanist-ha/tanist/ha"
)

// TestEntry: the catalog shows running members by their role, none that have stopped, and leaves alone what is neither.
func TestEntry(t *testing.T) {
	cfg := &config.Config{Scope: "main", Name: "a", Consul: &config.Consul{ServiceTags: []string{"x"}, ServiceCheckInterval: time.Second}}
	status := func(state dcs.State, role dcs.Role) *ha.Status {
		return &ha.Status{State: state, Settings: ha.Settings{TTL: 30 * time.Second},
			Member: dcs.MemberData{State: state, Role: role, ConnURL: "postgres://h:1/postgres", APIURL: "http://h:2/patroni"}}
	}
	shown := func(role dcs.Role) *consul.Service {
		return &consul.Service{Scope: "main", Member: "a", Role: role, ConnURL: "postgres://h:1/postgres", APIURL: "http://h:2/patroni",
			Tags: []string{"x"}, CheckInterval: time.Second, TTL: 30 * time.Second}
	}
	for name, c := range map[string]struct {
		status *ha.Status
		want   *consul.Service
		known  bool
	}{
		"primary":        {status(dcs.StateRunning, dcs.RolePrimary), shown(dcs.RolePrimary), true},
		"replica":        {status(dcs.StateRunning, dcs.RoleReplica), shown(dcs.RoleReplica), true},
		"standby leader": {status(dcs.StateRunning, dcs.RoleStandbyLeader), shown(dcs.RoleStandbyLeader), true},
		"promoted":       {status(dcs.StateRunning, dcs.RolePromoted), nil, false},
		"starting":       {status(dcs.StateStarting, dcs.RoleReplica), nil, false},
		"crashed":        {status(dcs.StateCrashed, dcs.RolePrimary), nil, false},
		"stopped":        {status(dcs.StateStopped, dcs.RoleDemoted), nil, true},
	} {
		got, known := entry(cfg, c.status)
		if diff := cmp.Diff(c.want, got); diff != "" || known != c.known {
			t.Errorf("%s: known %t, want -, got +:\n%s", name, known, diff)
		}
	}
}
