package main

import (
	"context"
	"reflect"
	"time"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/consul"
	"github.com/tanist-ha/tanist/ha"
)

// serviceRetry is the pause before an entry of Consul's catalog is written again that could not be.
const serviceRetry = 5 * time.Second

// catalog keeps this member's entry in Consul's catalog in step with the node's status. It follows, and nothing waits for it.
type catalog struct {
	agent  *agent
	store  *consul.Backend
	shown  *consul.Service // nil: none
	tried  bool            // something was shown or taken away in this run
	failed bool            // the last attempt did, and it was said
}

// newCatalog returns nil where no entry is asked for.
func newCatalog(a *agent) *catalog {
	store, ok := a.store.backend.(*consul.Backend)
	if !ok || !a.cfg.Consul.RegisterService {
		return nil
	}
	return &catalog{agent: a, store: store}
}

// run follows the status until ctx ends, and then takes away what has stopped.
func (c *catalog) run(ctx context.Context) {
	for {
		status, err := c.agent.node.Wait(ctx, func(s *ha.Status) bool { return c.due(s) })
		if err != nil {
			c.last(ctx)
			return
		}
		if c.follow(ctx, status) {
			continue
		}
		timer := time.NewTimer(serviceRetry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func (c *catalog) last(ctx context.Context) {
	if s := c.agent.node.Status(); s.State == dcs.StateStopped && c.due(s) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
		defer cancel()
		c.follow(ctx, s)
	}
}

// entry is what the catalog should show of the node. Otherwise than when it has stopped, it leaves what is there: a server that restarts
// fails its check, and is the same service.
func entry(cfg *config.Config, s *ha.Status) (want *consul.Service, known bool) {
	m := s.Member
	switch {
	case s.State == dcs.StateStopped:
		return nil, true
	case m.State != dcs.StateRunning, m.Role != dcs.RolePrimary && m.Role != dcs.RoleReplica && m.Role != dcs.RoleStandbyLeader:
		return nil, false
	}
	e := cfg.Consul
	return &consul.Service{
		Scope: cfg.Scope, Member: cfg.Name, Role: m.Role, ConnURL: m.ConnURL, APIURL: m.APIURL, Tags: e.ServiceTags,
		CheckInterval: e.ServiceCheckInterval, TLSServerName: e.ServiceCheckTLSServerName, TTL: s.Settings.TTL,
	}, true
}

func (c *catalog) due(s *ha.Status) bool {
	want, known := entry(c.agent.cfg, s)
	return known && (!reflect.DeepEqual(want, c.shown) || want == nil && !c.tried)
}

// follow makes the catalog show what it should.
func (c *catalog) follow(ctx context.Context, s *ha.Status) bool {
	want, known := entry(c.agent.cfg, s)
	if !known {
		return true
	}
	limited, cancel := context.WithTimeout(ctx, serviceRetry)
	defer cancel()
	var err error
	if want != nil {
		err = c.store.Register(limited, *want)
	} else {
		err = c.store.Deregister(limited, consul.Service{Scope: c.agent.cfg.Scope, Member: c.agent.cfg.Name})
	}
	if err != nil {
		if !c.failed {
			c.agent.log.Warn("Consul's catalog does not show this member as it is; trying again", "every", serviceRetry, "error", err)
		}
		c.failed = true
		return false
	}
	c.shown, c.tried, c.failed = want, true, false
	return true
}
