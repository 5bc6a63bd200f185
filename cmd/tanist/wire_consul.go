package main

import (
	"context"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/consul"
	"github.com/tanist-ha/tanist/ha"
)

// serviceRetry is the pause before an entry of Consul's catalog is written again that could not be.
const serviceRetry = 5 * time.Second

// catalog keeps this member's entry in Consul's catalog in step with the node's status and with the section consul. It follows, and nothing waits
// for it.
type catalog struct {
	agent   *agent
	store   *consul.Backend
	section atomic.Pointer[config.Consul] // as it was read last
	shown   shown
	tried   bool // something was shown or taken away in this run
	failed  bool // the last attempt did, and it was said
}

// shown is an entry, and the token under which Consul's agent keeps it in the catalog.
type shown struct {
	service *consul.Service // nil: none
	token   config.Secret
}

// newCatalog returns nil where the store is not Consul.
func newCatalog(a *agent) *catalog {
	store, ok := a.store.backend.(*consul.Backend)
	if !ok {
		return nil
	}
	c := &catalog{agent: a, store: store}
	c.section.Store(a.cfg.Consul)
	return c
}

// reload takes up the section as it was read again. The next status that the node publishes makes the catalog follow.
func (c *catalog) reload(next *config.Consul) {
	if c != nil && next != nil {
		c.section.Store(next)
	}
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
	if s := c.agent.node.Status(); s.State == dcs.StateStopped && c.ours() && c.due(s) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
		defer cancel()
		c.follow(ctx, s)
	}
}

// entry is what the catalog should show of the node. Otherwise than when it has stopped, it leaves what is there: a server that restarts
// fails its check, and is the same service.
func entry(cfg *config.Config, section *config.Consul, s *ha.Status) (want shown, known bool) {
	m := s.Member
	switch {
	case !section.RegisterService, s.State == dcs.StateStopped:
		return shown{}, true
	case m.State != dcs.StateRunning, m.Role != dcs.RolePrimary && m.Role != dcs.RoleReplica && m.Role != dcs.RoleStandbyLeader:
		return shown{}, false
	}
	return shown{token: section.Token, service: &consul.Service{
		Scope: cfg.Scope, Member: cfg.Name, Role: m.Role, ConnURL: m.ConnURL, APIURL: m.APIURL, Tags: section.ServiceTags,
		CheckInterval: section.ServiceCheckInterval, TLSServerName: section.ServiceCheckTLSServerName, TTL: s.Settings.TTL,
	}}, true
}

// due says whether the catalog is to be put right. An agent that may have another one's name leaves alone what is there: it is that one's.
func (c *catalog) due(s *ha.Status) bool {
	want, known := entry(c.agent.cfg, c.section.Load(), s)
	return known && (s.Named || c.tried) && (!reflect.DeepEqual(want, c.shown) || want.service == nil && !c.tried)
}

// follow makes the catalog show what it should.
func (c *catalog) follow(ctx context.Context, s *ha.Status) bool {
	want, known := entry(c.agent.cfg, c.section.Load(), s)
	if !known {
		return true
	}
	limited, cancel := context.WithTimeout(ctx, serviceRetry)
	defer cancel()
	ours := c.ours()
	var err error
	if want.service != nil {
		err = c.store.Register(limited, *want.service)
	} else {
		err = c.remove(limited, ours)
	}
	if err != nil {
		if ours && !c.failed {
			c.agent.log.Warn("Consul's catalog does not show this member as it is; trying again", "every", serviceRetry, "error", err)
		}
		c.failed = ours
		return false
	}
	c.shown, c.tried, c.failed = want, true, false
	return true
}

// ours says whether an entry under this member's name is one of this run, or would be.
func (c *catalog) ours() bool { return c.section.Load().RegisterService || c.shown.service != nil }

// remove takes the entry away. One that is not ours for certain is looked at first: an earlier run may have left it, or somebody else have made it.
func (c *catalog) remove(ctx context.Context, ours bool) error {
	s := consul.Service{Scope: c.agent.cfg.Scope, Member: c.agent.cfg.Name}
	if !ours {
		left, err := c.store.Registered(ctx, s)
		if err != nil || !left {
			return err
		}
		c.agent.log.Info("Consul's catalog shows this member, and register_service is off: the entry is taken away", "service", s.ID())
	}
	return c.store.Deregister(ctx, s)
}
