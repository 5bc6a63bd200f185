package main

import (
	"sync"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/ha"
)

// liveConfig is the local configuration as it was last read, merged on demand with the cluster's. It is safe for
// concurrent use.
type liveConfig struct {
	from config.Options

	mu   sync.Mutex
	cfg  *config.Config
	last []byte // the dynamic configuration that was merged last
}

func newLiveConfig(from config.Options, cfg *config.Config) *liveConfig {
	return &liveConfig{from: from, cfg: cfg}
}

// Parse is the node's ha.Parse.
func (l *liveConfig) Parse(raw []byte) (ha.Settings, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, err := l.cfg.Dynamic(raw)
	if err == nil {
		l.last = raw
	}
	return s, err
}

// reload reads the local configuration again and merges it with the dynamic one that is in force. What is wrong with it
// leaves everything as it was.
func (l *liveConfig) reload() (next *config.Config, s ha.Settings, restart []string, warnings []config.Warning, err error) {
	next, warnings, err = config.Load(l.from)
	if next != nil {
		more, lacks := next.Validate(config.Checks{Files: true})
		warnings, err = append(warnings, more...), joinErrors(err, lacks)
	}
	if err != nil {
		return nil, s, nil, warnings, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, err = next.Dynamic(l.last); err != nil {
		return nil, s, nil, warnings, err
	}
	restart = l.cfg.RestartNeeded(next)
	l.cfg = next
	return next, s, restart, warnings, nil
}

// usableCache is the cache of the dynamic configuration, without values that can no longer be used: those must not keep
// an agent from starting.
type usableCache struct {
	*config.Cache
	cfg *config.Config
}

// Load implements ha.Cache.
func (c usableCache) Load() []byte {
	raw := c.Cache.Load()
	if raw == nil {
		return nil
	}
	if _, err := c.cfg.Dynamic(raw); err != nil {
		return nil
	}
	return raw
}
