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

func status(state dcs.State, role dcs.Role) *ha.Status {
	return &ha.Status{State: state, Named: true, Settings: ha.Settings{TTL: 30 * time.Second},
		Member: dcs.MemberData{State: state, Role: role, ConnURL: "postgres://h:1/postgres", APIURL: "http://h:2/patroni"}}
}

// TestEntry: the catalog shows running members by their role, none that have stopped, and leaves alone what is neither.
func TestEntry(t *testing.T) {
	cfg := &config.Config{Scope: "main", Name: "a"}
	on := &config.Consul{RegisterService: true, Token: "t", ServiceTags: []string{"x"}, ServiceCheckInterval: time.Second}
	as := func(role dcs.Role) shown {
		return shown{token: "t", service: &consul.Service{Scope: "main", Member: "a", Role: role, ConnURL: "postgres://h:1/postgres", APIURL: "http://h:2/patroni",
			Tags: []string{"x"}, CheckInterval: time.Second, TTL: 30 * time.Second}}
	}
	for name, c := range map[string]struct {
		status *ha.Status
		want   shown
		known  bool
	}{
		"primary":        {status(dcs.StateRunning, dcs.RolePrimary), as(dcs.RolePrimary), true},
		"replica":        {status(dcs.StateRunning, dcs.RoleReplica), as(dcs.RoleReplica), true},
		"standby leader": {status(dcs.StateRunning, dcs.RoleStandbyLeader), as(dcs.RoleStandbyLeader), true},
		"promoted":       {status(dcs.StateRunning, dcs.RolePromoted), shown{}, false},
		"starting":       {status(dcs.StateStarting, dcs.RoleReplica), shown{}, false},
		"crashed":        {status(dcs.StateCrashed, dcs.RolePrimary), shown{}, false},
		"stopped":        {status(dcs.StateStopped, dcs.RoleDemoted), shown{}, true},
	} {
		got, known := entry(cfg, on, c.status)
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(shown{})); diff != "" || known != c.known {
			t.Errorf("%s: known %t, want -, got +:\n%s", name, known, diff)
		}
	}
	if got, known := entry(cfg, &config.Consul{}, status(dcs.StateRunning, dcs.RolePrimary)); got.service != nil || !known {
		t.Errorf("not asked for: %+v, known %t", got, known)
	}
}

// TestEntryIsDue: what the catalog shows is put right when the section was changed, the token included, under which Consul keeps it.
func TestEntryIsDue(t *testing.T) {
	on := config.Consul{RegisterService: true, Token: "t"}
	c := &catalog{agent: &agent{cfg: &config.Config{Scope: "main", Name: "a"}}}
	running := status(dcs.StateRunning, dcs.RoleReplica)
	for _, step := range []struct {
		change string
		to     func(*config.Consul)
	}{
		{"shown", func(*config.Consul) {}},
		{"another token", func(e *config.Consul) { e.Token = "u" }},
		{"tags", func(e *config.Consul) { e.ServiceTags = []string{"x"} }},
		{"off", func(e *config.Consul) { e.RegisterService = false }},
	} {
		step.to(&on)
		next := on
		c.section.Store(&next)
		if !c.due(running) {
			t.Errorf("%s: nothing is due", step.change)
		}
		c.shown, _ = entry(c.agent.cfg, &next, running)
		c.tried = true
		if c.due(running) {
			t.Errorf("%s: still due", step.change)
		}
	}
	c.tried = false
	if !c.due(running) {
		t.Error("what an earlier run has left is not looked for")
	}
	unnamed := status(dcs.StateStopped, dcs.RoleReplica)
	unnamed.Named = false
	if c.due(unnamed) {
		t.Error("an agent whose name another one may have takes away that one's entry")
	}
}
