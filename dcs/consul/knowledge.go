package consul

import (
	"bytes"
	"sync"

	"github.com/tanist-ha/tanist/dcs"
)

// knowledge is what keys looked like when they were seen last. Nothing is decided by it alone: each use is an assumption that the
// transaction itself compares with the store, by the index of the key's last write.
type knowledge struct {
	mu   sync.Mutex
	keys map[string]*dcs.Entry // nil: absent
}

// keysKnown is how many keys are remembered; a cluster's node writes and compares about a dozen.
const keysKnown = 256

func newKnowledge() *knowledge { return &knowledge{keys: map[string]*dcs.Entry{}} }

func (k *knowledge) get(key string) (e *dcs.Entry, known bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, known = k.keys[key]
	return e, known
}

func (k *knowledge) set(key string, e *dcs.Entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.keys) >= keysKnown {
		clear(k.keys)
	}
	k.keys[key] = e
}

func (k *knowledge) forget(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.keys, key)
}

// holds says whether c is true of e, which is nil for an absent key.
func holds(c dcs.Cond, e *dcs.Entry) bool {
	if c.Absent || e == nil {
		return c.Absent && e == nil
	}
	return (c.Version == 0 || c.Version == e.Version) && (c.Created == 0 || c.Created == e.Created) &&
		(c.Session == "" || c.Session == e.Session) && (c.Value == nil || bytes.Equal(c.Value, e.Value))
}
