package memory

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// Options says how a Store lives. The zero value is a store in real time.
type Options struct {
	// Now is the clock of the store. With it the store starts no timers of its own: sessions end when a request or Tick
	// finds them overdue. Nil: the clock of the process, and a timer that ends sessions on time.
	Now func() time.Time
	// OnChange is called after each change, once per key, in the order of versions, by the goroutine that caused it and
	// without any lock: it may use the store. The key is "" when everything may have changed (Wipe). With several goroutines
	// the calls of two transactions may overlap.
	OnChange func(h dcs.Hint)
	// MinTTL is the shortest session that the store grants; shorter requests are raised to it, as real stores do. 0: any.
	MinTTL time.Duration
	// StoreID is the identity that Read reports. Default: "memory-1".
	StoreID string
	// Tick, if set, makes the store keep sessions as ZooKeeper does: a keepalive is answered by a follower, and counts only when that
	// follower has answered its leader's next ping, half a tick later. LoseTouches is a follower that froze in between.
	Tick time.Duration
	// AnyTerm is a defect on purpose: a Confirm believes a keepalive that was answered by another leader of the store than what follows it
	// (see Deposed).
	AnyTerm bool
}

// Store is the shared store. It is safe for concurrent use.
type Store struct {
	opts Options

	mu       sync.Mutex
	id       string
	wipes    int
	version  dcs.Version
	entries  []dcs.Entry // sorted by key
	sessions map[string]*lease
	opened   int       // sessions ever opened: their ids
	due      time.Time // no session ends before; zero: no session
	timer    *time.Timer
	watches  map[*watch]struct{}
	changes  []dcs.Hint // made under the lock, told after it
}

// lease is the store's side of a session.
type lease struct {
	id       string
	seq      int
	ttl      time.Duration
	deadline time.Time
	heard    time.Time   // with Tick: when the leader hears of the last keepalives; zero: it has
	proven   time.Time   // with Tick: the last keepalive of which it is certain that the leader has heard
	acked    []time.Time // with Tick: those after it, over the connection of now
	keys     []string
}

// New makes an empty store.
func New(o Options) *Store {
	if o.StoreID == "" {
		o.StoreID = "memory-1"
	}
	return &Store{
		opts: o, id: o.StoreID, version: 1,
		sessions: make(map[string]*lease), watches: make(map[*watch]struct{}),
	}
}

// Backend returns a new handle on the store.
func (s *Store) Backend() *Backend {
	return &Backend{store: s, watches: make(map[*watch]struct{})}
}

// Tick ends the sessions that are overdue at Now and returns how many they were.
func (s *Store) Tick() int {
	s.mu.Lock()
	before := len(s.sessions)
	s.expire()
	s.schedule() // a timer that was early, because of a keepalive, is set anew
	n := before - len(s.sessions)
	s.unlock()
	return n
}

// NextExpiry tells when the next session ends if nothing is kept alive; false if there is none.
func (s *Store) NextExpiry() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = s.earliest()
	s.schedule()
	return s.due, !s.due.IsZero()
}

// EndSession ends a session before its time, as a deposed leader of a store or an operator may do. It reports whether
// there was one.
func (s *Store) EndSession(id string) bool {
	s.mu.Lock()
	defer s.unlock()
	s.expire()
	l := s.sessions[id]
	if l == nil {
		return false
	}
	s.end(l)
	return true
}

// LoseTouches is a follower that froze after it had answered a keepalive of the session, and before its leader heard of it (Options.Tick).
func (s *Store) LoseTouches(id string) {
	s.mu.Lock()
	defer s.unlock()
	s.expire()
	if l := s.sessions[id]; l != nil {
		l.heard, l.acked = time.Time{}, nil
	}
}

// Proven is when the last request arrived of which it is certain that it has prolonged the session: another one was answered a tick later
// (Options.Tick). Zero: there is no such session.
func (s *Store) Proven(id string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.sessions[id]; l != nil {
		return l.proven
	}
	return time.Time{}
}

// RestartSessions gives every session its full TTL again, as a new etcd leader does.
func (s *Store) RestartSessions() {
	s.mu.Lock()
	defer s.unlock()
	s.expire()
	now := s.now()
	for _, l := range s.sessions {
		l.deadline = now.Add(l.ttl)
	}
}

// Wipe empties the store, sessions included, and gives it another identity. Versions start again, as in a new store.
func (s *Store) Wipe() {
	s.mu.Lock()
	defer s.unlock()
	s.wipes++
	s.id = fmt.Sprintf("%s-wiped-%d", s.opts.StoreID, s.wipes)
	s.entries, s.version, s.due = nil, 1, time.Time{}
	clear(s.sessions)
	s.changed(dcs.Hint{Version: s.version})
}

// Copy is a backup of a Store.
type Copy struct {
	entries []dcs.Entry
	version dcs.Version
	leases  []lease
}

// Backup copies everything that the store holds now.
func (s *Store) Backup() Copy {
	s.mu.Lock()
	defer s.unlock()
	s.expire()
	c := Copy{entries: slices.Clone(s.entries), version: s.version}
	for _, l := range s.sessions {
		k := *l
		k.keys = slices.Clone(l.keys)
		c.leases = append(c.leases, k)
	}
	return c
}

// Restore puts a backup in the place of what the store holds, as etcd does from a snapshot: versions go back, the sessions of then live
// again, for a whole TTL, with their keys, and the identity is another one, so that nobody can prolong them.
func (s *Store) Restore(c Copy) {
	s.mu.Lock()
	defer s.unlock()
	s.wipes++
	s.id = fmt.Sprintf("%s-restored-%d", s.opts.StoreID, s.wipes)
	s.entries, s.version = slices.Clone(c.entries), c.version
	clear(s.sessions)
	now := s.now()
	for _, l := range c.leases {
		l.keys, l.deadline = slices.Clone(l.keys), now.Add(l.ttl)
		s.sessions[l.id] = &l
	}
	s.due = s.earliest()
	s.schedule()
	s.changed(dcs.Hint{Version: s.version})
}

// Sessions lists the ids of the sessions that live, oldest first.
func (s *Store) Sessions() []string {
	s.mu.Lock()
	defer s.unlock()
	s.expire()
	live := make([]*lease, 0, len(s.sessions))
	for _, l := range s.sessions {
		live = append(live, l)
	}
	slices.SortFunc(live, func(a, b *lease) int { return a.seq - b.seq })
	ids := make([]string, len(live))
	for i, l := range live {
		ids[i] = l.id
	}
	return ids
}

// Put writes one key without a session, as an operator with the store's own tool would.
func (s *Store) Put(key string, value []byte) dcs.Version {
	s.mu.Lock()
	defer s.unlock()
	s.expire()
	s.version++
	s.put(dcs.Write{Key: key, Value: value}, nil)
	return s.version
}

// Delete removes one key, as an operator would. It reports whether there was one.
func (s *Store) Delete(key string) bool {
	s.mu.Lock()
	defer s.unlock()
	s.expire()
	if _, ok := s.find(key); !ok {
		return false
	}
	s.version++
	s.remove(key)
	return true
}

func (s *Store) now() time.Time {
	if s.opts.Now != nil {
		return s.opts.Now()
	}
	return time.Now()
}

// unlock releases the lock and then tells what was changed under it.
func (s *Store) unlock() {
	news := s.changes
	s.changes = nil
	s.mu.Unlock()
	for _, c := range news {
		s.opts.OnChange(c)
	}
}

// changed notes a change of key for watches and OnChange. The lock is held.
func (s *Store) changed(h dcs.Hint) {
	for w := range s.watches {
		if h.Key == "" || strings.HasPrefix(h.Key, w.prefix) && !(h.Put && w.quiet != "" && strings.HasPrefix(h.Key, w.quiet)) {
			w.send(h)
		}
	}
	if s.opts.OnChange != nil {
		s.changes = append(s.changes, h)
	}
}

// find returns where key is, or where it would be inserted.
func (s *Store) find(key string) (int, bool) {
	return slices.BinarySearchFunc(s.entries, key, func(e dcs.Entry, k string) int { return strings.Compare(e.Key, k) })
}

// put writes w at the present version, under l if it is not nil.
func (s *Store) put(w dcs.Write, l *lease) {
	e := dcs.Entry{Key: w.Key, Value: append([]byte{}, w.Value...), Version: s.version, Created: s.version}
	if l != nil {
		e.Session = l.id
	}
	i, ok := s.find(w.Key)
	if ok {
		e.Created = s.entries[i].Created
		s.unbind(s.entries[i])
		s.entries[i] = e
	} else {
		s.entries = slices.Insert(s.entries, i, e)
	}
	if l != nil {
		l.keys = append(l.keys, w.Key)
	}
	s.changed(dcs.Hint{Key: w.Key, Version: s.version, Put: true, Value: e.Value})
}

// remove deletes key, if it is there, at the present version.
func (s *Store) remove(key string) {
	i, ok := s.find(key)
	if !ok {
		return
	}
	s.unbind(s.entries[i])
	s.entries = slices.Delete(s.entries, i, i+1)
	s.changed(dcs.Hint{Key: key, Version: s.version})
}

// unbind takes e out of the list of its session.
func (s *Store) unbind(e dcs.Entry) {
	l := s.sessions[e.Session]
	if l == nil {
		return
	}
	if i := slices.Index(l.keys, e.Key); i >= 0 {
		l.keys = slices.Delete(l.keys, i, i+1)
	}
}
