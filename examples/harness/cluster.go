package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/memory"
	"github.com/tanist-ha/tanist/ha"
)

// cluster is a store and the hosts around it, in a time of its own.
type cluster struct {
	store *memory.Store
	admin *dcs.Client // an operator's hand in the store
	lab   *lab
	hosts []*host

	mu      sync.Mutex // guards what follows, and the fields of hosts that say so
	changed *sync.Cond // something that settle looks at
	now     time.Time
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newCluster(names ...string) *cluster {
	c := &cluster{lab: &lab{servers: map[string]*server{}}, now: epoch}
	c.changed = sync.NewCond(&c.mu)
	c.store = memory.New(memory.Options{Now: c.time, OnChange: c.tell})
	c.admin = dcs.NewClient(c.store.Backend(), dcs.Options{Scope: "demo"})
	for i, name := range names {
		h := &host{c: c, name: name, priority: i + 1, server: &server{lab: c.lab, name: name, works: true}}
		c.lab.servers[name] = h.server
		c.hosts = append(c.hosts, h)
	}
	return c
}

func (c *cluster) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// elapsed is how long the harness has been running, by its own clock.
func (c *cluster) elapsed() time.Duration { return c.time().Sub(epoch) }

func (c *cluster) host(name string) *host {
	for _, h := range c.hosts {
		if h.name == name {
			return h
		}
	}
	return nil
}

// tell passes a change of the store on to every node. The store calls it before the request that made the change is answered, so that a
// hint is counted before its cause is over.
func (c *cluster) tell(hint dcs.Hint) {
	hint.Key = strings.TrimPrefix(hint.Key, c.admin.Prefix())
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.hosts {
		if h.alive {
			h.hintsSent++
			h.hints <- hint
		}
	}
}

// settle waits until no node has anything left to do but to wait for the clock.
func (c *cluster) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.atRest() {
		c.changed.Wait()
	}
}

// atRest says whether every node waits for a timer, has no request under way and has taken every hint. The lock is held.
func (c *cluster) atRest() bool {
	for _, h := range c.hosts {
		if h.alive && (h.timer == nil || h.hintsSent != h.hintsTaken || len(h.node.Status().Busy) > 0) {
			return false
		}
	}
	return true
}

// advance moves the clock to the next moment at which anything is due.
func (c *cluster) advance() {
	expiry, due := c.store.NextExpiry()
	c.mu.Lock()
	next := c.now.Add(time.Hour)
	if due {
		next = expiry
	}
	for _, h := range c.hosts {
		if h.alive && h.timer != nil && h.timer.at.Before(next) {
			next = h.timer.at
		}
	}
	if next.After(c.now) {
		c.now = next
	}
	for _, h := range c.hosts {
		h.fire()
	}
	c.mu.Unlock()
	c.store.Tick()
}

// patience bounds a wait, by the harness's clock.
const patience = 10 * time.Minute

// until lets time pass until a condition holds.
func (c *cluster) until(what string, holds func() bool) error {
	end := c.time().Add(patience)
	for c.settle(); !holds(); c.settle() {
		if c.time().After(end) {
			return fmt.Errorf("waited %s in vain for: %s%s", patience, what, c.situation())
		}
		c.advance()
	}
	return nil
}

// situation is what every node says of itself.
func (c *cluster) situation() string {
	var b strings.Builder
	for _, h := range c.hosts {
		if h.alive {
			r := h.node.Status().Reason
			fmt.Fprintf(&b, "\n%s: %s: %s", h.name, r.Rule, r.Text)
		}
	}
	return b.String()
}

// leads says whether the named node leads and takes writes, and all other living nodes stream from it.
func (c *cluster) leads(name string) func() bool {
	return func() bool {
		for _, h := range c.hosts {
			if !h.alive {
				continue
			}
			st := h.node.Status()
			if h.name == name && !(st.Writable(c.time()) && st.Reason.Rule == "leader.idle") {
				return false
			}
			if h.name != name && !(st.Reason.Rule == "follow.idle" && c.lab.follows(h.name, name)) {
				return false
			}
		}
		return true
	}
}

// decided finds the latest decision of a host by its rule.
func (h *host) decided(rule ha.RuleID) string {
	events := h.node.Explain().Events
	for i := len(events) - 1; i >= 0; i-- {
		if events[i].Rule == rule {
			return events[i].Sentence
		}
	}
	return "(never decided by " + string(rule) + ")"
}
