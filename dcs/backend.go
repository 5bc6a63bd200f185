package dcs

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The outcomes that callers branch on. Everything else that a Backend returns is
// treated as "the request was not made" (for example a malformed key).
var (
	// ErrConflict: the store answered, and a condition did not hold. Nothing was written.
	ErrConflict = errors.New("condition does not hold")
	// ErrUnknown: the fate of the request is unknown; it may have happened, or may still happen.
	ErrUnknown = errors.New("outcome unknown")
	// ErrSettled is an ErrUnknown that the store has answered: it has carried the request out or never will, and does not tell which. A
	// linearizable read shows it. (etcd, for a write that its quota refuses.)
	ErrSettled = fmt.Errorf("%w, though settled", ErrUnknown)
	// ErrUnavailable: the store did not serve the request, and it certainly had no effect.
	ErrUnavailable = errors.New("store unavailable")
	// ErrSessionLost: the session has ended; this is final, open another. A store that is another one than granted the session (it was
	// wiped, restored, or stands behind the same address) knows nothing of it: where the backend can tell, Apply and Confirm say
	// ErrUnknown then, and only Session.KeepAlive says ErrSessionLost, as another session has to be opened.
	ErrSessionLost = errors.New("session lost")
)

// Version identifies one write of the store. Zero means "none".
type Version int64

// Incarnation identifies one life of a key: from its creation to its deletion. A key that was deleted
// and created again has another incarnation, even under the same name, value and session.
type Incarnation struct {
	Key     string
	Created Version
}

// Entry is a key as the store holds it.
type Entry struct {
	Key     string
	Value   []byte
	Version Version // of the last write of this key
	Created Version // of the write that created this life of the key
	Session string  // the session that the key lives with, or ""
}

// Incarnation names the life of the key that e was read from.
func (e Entry) Incarnation() Incarnation { return Incarnation{Key: e.Key, Created: e.Created} }

// Cond is one comparison of a transaction. The zero value of each field but Key means "any".
type Cond struct {
	Key     string
	Absent  bool    // the key must not exist; the fields below must be zero
	Version Version // its last write
	Created Version // its incarnation
	Session string  // the session it is bound to
	Value   []byte  // its value (nil: any)
}

// Write is one change of a transaction: a put, or a deletion of a key that may be absent.
type Write struct {
	Key     string
	Value   []byte
	Delete  bool
	Session Session // the key ends with this session; nil: it stays, unbound
}

// Txn is applied as one: every condition holds and every write happens, or nothing does.
// Without writes it is a linearizable comparison. Keys of Do are distinct.
type Txn struct {
	If []Cond
	Do []Write
	// Count is a prefix below which the keys are counted at the same moment; "": none. A QuietWatcher does that, others need not.
	Count string
}

// Applied is the store's word on a request that it carried out.
type Applied struct {
	Version Version // of this transaction's writes, as entries will show it; without writes, of the comparison
	Count   int     // how many keys there are below Txn.Count, after the writes
}

// Snapshot is the answer of a Read: one moment of the store where it can give one.
type Snapshot struct {
	Entries []Entry // sorted by key
	Version Version // everything up to here is included; 0 where the store has no such number
	StoreID string  // identity of the store, "" where it has none: another value means another store
}

// Hint says that something below the watched prefix has changed.
type Hint struct {
	Key     string  // which key; "" means: anything may have changed
	Version Version // of the change, 0 if not known
	Put     bool    // the change was a write, and not a deletion; false where the watch does not tell
	Value   []byte  // that the change left; nil where the watch does not tell
}

// Backend is the whole of what a store has to offer; package dcs builds the rest on it.
//
// Every method honours its context, is safe for concurrent use, and reports a request whose fate it does
// not know as ErrUnknown, never as ErrConflict. Errors wrap one of the Err values of this package.
type Backend interface {
	// Read returns every key below prefix, and sees all writes that finished before the call (linearizable).
	Read(ctx context.Context, prefix string) (Snapshot, error)
	// Apply carries out tx.
	Apply(ctx context.Context, tx Txn) (Applied, error)
	// OpenSession starts a session that ends by itself if it is not kept alive for TTL().
	OpenSession(ctx context.Context, ttl time.Duration) (Session, error)
	// Watch sends a hint for each change below prefix that happened after the call returned; hints may be merged
	// but not lost. The channel is closed when the watch is lost or ctx is done: read again, then watch again.
	Watch(ctx context.Context, prefix string) (<-chan Hint, error)
	// Close ends background work. Sessions that are still open are left to expire.
	Close() error
}

// Operable is what a Backend may be as well: one that knows how operators remove a key with the store's own tool.
type Operable interface {
	// DeleteCommand is a command line that deletes key, as hints show it.
	DeleteCommand(key string) string
}

// Session is a lease on keys: they are deleted with it. It ends when it was not kept alive for TTL, when it is
// closed, and, on some stores, early.
type Session interface {
	ID() string
	// TTL is what the store granted. The session does not end by itself before TTL has passed since
	// the moment before the last successful KeepAlive (or Confirm, or the opening) was called.
	TTL() time.Duration
	// KeepAlive prolongs the session once. Nothing else may prolong it behind the caller's back.
	// It returns the version that the store had reached (0 where it does not say).
	KeepAlive(ctx context.Context) (Version, error)
	// Confirm prolongs the session and then applies tx such that success proves both: that this session was
	// prolonged by the store's present leadership, and that tx's conditions held after that.
	Confirm(ctx context.Context, tx Txn) (Applied, error)
	// Close ends the session now; its keys are deleted.
	Close(ctx context.Context) error
}

// Dated is a capability of a Session, found by assertion, for stores in which the answer to one request does not prove yet that the session
// was prolonged (ZooKeeper). KeepAlive is then one request, and promises nothing by itself; Confirm keeps the whole promise, and may take longer.
type Dated interface {
	// Proven tells how long ago the newest request was sent that has certainly prolonged the session: it does not end by itself before TTL has
	// passed since then. The opening counts.
	Proven() time.Duration
}

// Paced is a capability of a Session, found by assertion, for stores that ask something of how its renewals follow each other.
type Paced interface {
	Pace() Pace
}

// Pace is what a store asks of the renewals of a session. A zero says that it does not mind.
type Pace struct {
	// Takes is how long a Confirm takes however fast the store answers (ZooKeeper: a tick). One with less time until its deadline cannot succeed.
	Takes time.Duration
	// Every is the longest time that shall pass between two renewals (Consul: a quarter of the session's TTL, as safety 2.3 says).
	Every time.Duration
}

// QuietWatcher is a Backend whose watch can be spared the noise of keys that change all the time: every member's position, sent to every
// member, would cost the store the square of their number.
//
// Who watches so may have to know of new keys all the same: it carries out Txn.Count.
type QuietWatcher interface {
	// WatchQuietly is Watch, without the puts of keys below quiet, a part of prefix. Their deletions are told.
	WatchQuietly(ctx context.Context, prefix, quiet string) (<-chan Hint, error)
}
