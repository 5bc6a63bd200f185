package resttest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/tanist-ha/tanist/dcs"
)

// Store holds one cluster in memory, with the conditions that a real store checks.
type Store struct {
	mu      sync.Mutex
	cluster dcs.Cluster
	// Fail, if it returns an error for "load", "config" or "failover", is what that request ends with.
	Fail func(request string) error
	// Written is called after each write, outside of locks, with what the store then holds.
	Written func(dcs.Cluster)
}

// NewStore returns a store that holds c.
func NewStore(c dcs.Cluster) *Store {
	c.Version = max(c.Version, 1)
	return &Store{cluster: c}
}

// Change edits what the store holds, as another client would, and returns it.
func (s *Store) Change(edit func(c *dcs.Cluster)) dcs.Cluster {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cluster.Version++
	edit(&s.cluster)
	return s.cluster
}

// Load reads it.
func (s *Store) Load(context.Context) (dcs.Cluster, error) {
	if err := s.fail("load"); err != nil {
		return dcs.Cluster{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cluster, nil
}

// PutConfig replaces the dynamic configuration if it still has version prev.
func (s *Store) PutConfig(_ context.Context, prev dcs.Version, raw []byte) error {
	return s.write("config", func(c *dcs.Cluster) error {
		var have dcs.Version
		if c.Config != nil {
			have = c.Config.Version
		}
		if have != prev {
			return fmt.Errorf("put config: %w", dcs.ErrConflict)
		}
		c.Config = &dcs.Config{Version: c.Version + 1, Raw: json.RawMessage(raw)}
		return nil
	})
}

// PutFailover replaces the request if it still has version prev.
func (s *Store) PutFailover(_ context.Context, prev dcs.Version, f dcs.Failover) error {
	return s.write("failover", func(c *dcs.Cluster) error {
		var have dcs.Version
		if c.Failover != nil {
			have = c.Failover.Version
		}
		if have != prev {
			return fmt.Errorf("put failover: %w", dcs.ErrConflict)
		}
		f.Version = c.Version + 1
		c.Failover = &f
		return nil
	})
}

// ClearFailover withdraws the request if it still has version prev.
func (s *Store) ClearFailover(_ context.Context, prev dcs.Version) error {
	return s.write("failover", func(c *dcs.Cluster) error {
		if c.Failover == nil || c.Failover.Version != prev {
			return fmt.Errorf("clear failover: %w", dcs.ErrConflict)
		}
		c.Failover = nil
		return nil
	})
}

func (s *Store) write(request string, edit func(c *dcs.Cluster) error) error {
	if err := s.fail(request); err != nil {
		return err
	}
	s.mu.Lock()
	err := edit(&s.cluster)
	if err == nil {
		s.cluster.Version++
	}
	c := s.cluster
	s.mu.Unlock()
	if err == nil && s.Written != nil {
		s.Written(c)
	}
	return err
}

func (s *Store) fail(request string) error {
	if s.Fail == nil {
		return nil
	}
	return s.Fail(request)
}
