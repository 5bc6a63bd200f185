package dcstest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/dcstest"
	"github.com/tanist-ha/tanist/dcs/memory"
)

// ExampleRun shows the whole of a backend's conformance test.
func ExampleRun() {
	test := func(t *testing.T) {
		store := memory.New(memory.Options{})
		dcstest.Run(t, dcstest.Harness{
			New:    func(testing.TB) dcs.Backend { return store.Backend() },
			MinTTL: 200 * time.Millisecond,
		})
	}
	_ = test // func TestConformance(t *testing.T) is how it stands in a test file
}

// broken is a store with one defect. Each hook may replace what the healthy store does.
type broken struct {
	dcs.Backend
	tx      func(dcs.Txn) []dcs.Txn                              // what Apply and Confirm really do, in turn
	session func(dcs.Session) dcs.Session                        // what OpenSession really returns
	read    func(dcs.Snapshot) dcs.Snapshot                      // what Read really returns
	hints   func(context.Context, <-chan dcs.Hint) chan dcs.Hint // what Watch really sends
	errs    func(error) error                                    // how Apply really fails
	again   bool                                                 // Apply is repeated until its outcome is known
	wrote   func()                                               // called after each Apply
}

func (b *broken) Apply(ctx context.Context, tx dcs.Txn) (a dcs.Applied, err error) {
	txs := []dcs.Txn{tx}
	if b.tx != nil {
		txs = b.tx(tx)
	}
	for n, tx := range txs {
		if n > 0 {
			<-time.After(time.Millisecond) // the way to a real store
		}
		if a, err = b.Backend.Apply(ctx, unwrap(tx)); err != nil {
			break
		}
	}
	if b.wrote != nil {
		b.wrote()
	}
	if b.errs != nil {
		err = b.errs(err)
	}
	if b.again && errors.Is(err, dcs.ErrUnknown) && ctx.Err() == nil {
		<-time.After(time.Millisecond)
		return b.Apply(ctx, tx)
	}
	return a, err
}

// unwrap gives the store its own sessions.
func unwrap(tx dcs.Txn) dcs.Txn {
	tx.Do = slices.Clone(tx.Do)
	for i, w := range tx.Do {
		if d, ok := w.Session.(*defect); ok {
			tx.Do[i].Session = d.Session
		}
	}
	return tx
}

func (b *broken) OpenSession(ctx context.Context, ttl time.Duration) (dcs.Session, error) {
	x, err := b.Backend.OpenSession(ctx, ttl)
	if err == nil && b.session != nil {
		x = b.session(x)
	}
	return x, err
}

func (b *broken) Read(ctx context.Context, prefix string) (dcs.Snapshot, error) {
	s, err := b.Backend.Read(ctx, prefix)
	if err == nil && b.read != nil {
		s = b.read(s)
	}
	return s, err
}

func (b *broken) Watch(ctx context.Context, prefix string) (<-chan dcs.Hint, error) {
	in, err := b.Backend.Watch(ctx, prefix)
	if err != nil || b.hints == nil {
		return in, err
	}
	return b.hints(ctx, in), nil
}

// defect is a session that does something else.
type defect struct {
	dcs.Session
	keepAlive func() (dcs.Version, error)
	confirm   func(context.Context, dcs.Txn) (dcs.Applied, error)
	close     func() error
	ttl       time.Duration
}

func (d *defect) KeepAlive(ctx context.Context) (dcs.Version, error) {
	if d.keepAlive != nil {
		return d.keepAlive()
	}
	return d.Session.KeepAlive(ctx)
}

func (d *defect) Confirm(ctx context.Context, tx dcs.Txn) (dcs.Applied, error) {
	if d.confirm != nil {
		return d.confirm(ctx, tx)
	}
	return d.Session.Confirm(ctx, unwrap(tx))
}

func (d *defect) Close(ctx context.Context) error {
	if d.close != nil {
		return d.close()
	}
	return d.Session.Close(ctx)
}

func (d *defect) TTL() time.Duration {
	if d.ttl != 0 {
		return d.ttl
	}
	return d.Session.TTL()
}

// each changes a copy of every condition.
func each(change func(*dcs.Cond)) func(dcs.Txn) []dcs.Txn {
	return func(tx dcs.Txn) []dcs.Txn {
		conds := append([]dcs.Cond(nil), tx.If...)
		for i := range conds {
			change(&conds[i])
		}
		return []dcs.Txn{{If: conds, Do: tx.Do}}
	}
}

// mutant is a defect, and the tests that must find it.
type mutant struct {
	mutate func(b *broken, s *memory.Store)
	by     []string
}

// twins are the six that every reader of a store's documentation should fear most.
var twins = map[string]mutant{
	// Whoever asks for a renewal soon after another one gets the other one's answer, as in client libraries that bound the rate of keepalives.
	"renewal dated from the reply": {func(b *broken, _ *memory.Store) {
		b.session = func(x dcs.Session) dcs.Session {
			replied := time.Time{}
			return &defect{Session: x, keepAlive: func() (v dcs.Version, err error) {
				if time.Since(replied) > x.TTL() {
					v, err = x.KeepAlive(context.Background())
					replied = time.Now()
				}
				return v, err
			}}
		}
	}, []string{"waiting/session/lives-exactly-while-kept-alive"}},
	"conflict for unknown": {func(b *broken, _ *memory.Store) {
		b.errs = func(err error) error { return instead(err, dcs.ErrUnknown, dcs.ErrConflict) }
	}, []string{"waiting/fault/unknown-is-no-conflict", "waiting/fault/lost-replies"}},
	// Lives are told apart by what stands in them.
	"ABA": {func(b *broken, _ *memory.Store) {
		values := map[dcs.Version][]byte{}
		b.read = func(s dcs.Snapshot) dcs.Snapshot {
			for _, e := range s.Entries {
				values[e.Created], values[e.Version] = e.Value, e.Value
			}
			return s
		}
		b.tx = each(func(c *dcs.Cond) {
			if v := max(c.Created, c.Version); v != 0 {
				c.Created, c.Version, c.Value = 0, 0, values[v]
			}
		})
	}, []string{"txn/aba"}},
	"early expiry": {func(b *broken, s *memory.Store) {
		b.session = func(x dcs.Session) dcs.Session {
			end := time.AfterFunc(x.TTL()*2/3, func() { s.EndSession(x.ID()) })
			return &defect{Session: x, keepAlive: func() (dcs.Version, error) {
				end.Reset(x.TTL() * 2 / 3)
				return x.KeepAlive(context.Background())
			}}
		}
	}, []string{
		"waiting/session/lives-exactly-while-kept-alive", "waiting/fault/expiry-behind-a-cut", "waiting/race/linearizable-with-leases",
	}},
	"watch lost in silence": {func(b *broken, _ *memory.Store) {
		b.hints = func(ctx context.Context, in <-chan dcs.Hint) chan dcs.Hint {
			out := make(chan dcs.Hint, 1000)
			go func() {
				defer close(out)
				for h := range in {
					out <- h
				}
				<-ctx.Done()
			}()
			return out
		}
	}, []string{"waiting/fault/watch-is-not-lost-in-silence"}},
	// A cache that only its owner's writes renew.
	"stale read": {func(b *broken, _ *memory.Store) {
		var cache *dcs.Snapshot
		var mu sync.Mutex
		b.read = func(s dcs.Snapshot) dcs.Snapshot {
			mu.Lock()
			defer mu.Unlock()
			if cache == nil {
				cache = &s
			}
			return *cache
		}
		b.wrote = func() {
			mu.Lock()
			defer mu.Unlock()
			cache = nil
		}
	}, []string{"keys/read-sees-what-was-written", "race/linearizable"}},
}

// instead replaces one answer by another.
func instead(err, is, becomes error) error {
	if errors.Is(err, is) {
		return becomes
	}
	return err
}

// mutants are other defects that real adapters have had, or nearly had.
var mutants = map[string]mutant{
	"creation is not compared": {func(b *broken, _ *memory.Store) { b.tx = each(func(c *dcs.Cond) { c.Created = 0 }) },
		[]string{"txn/each-condition", "txn/aba"}},
	"version is not compared": {func(b *broken, _ *memory.Store) { b.tx = each(func(c *dcs.Cond) { c.Version = 0 }) },
		[]string{"txn/each-condition"}},
	"session is not compared": {func(b *broken, _ *memory.Store) { b.tx = each(func(c *dcs.Cond) { c.Session = "" }) },
		[]string{"txn/each-condition"}},
	"empty value is any value": {func(b *broken, _ *memory.Store) {
		b.tx = each(func(c *dcs.Cond) {
			if len(c.Value) == 0 {
				c.Value = nil
			}
		})
	}, []string{"txn/each-condition"}},
	"only the first condition counts": {func(b *broken, _ *memory.Store) {
		b.tx = func(tx dcs.Txn) []dcs.Txn { return []dcs.Txn{{If: tx.If[:min(1, len(tx.If))], Do: tx.Do}} }
	}, []string{"txn/all-or-nothing"}},
	"a leader's life is taken from its session": {func(b *broken, _ *memory.Store) {
		b.tx = each(func(c *dcs.Cond) {
			if c.Session != "" {
				c.Created, c.Value = 0, nil
			}
		})
	}, []string{"txn/while-the-leader-key-lives"}},
	"keys are written one by one": {func(b *broken, _ *memory.Store) {
		b.tx = func(tx dcs.Txn) []dcs.Txn {
			var all []dcs.Txn
			for _, w := range tx.Do {
				all = append(all, dcs.Txn{If: tx.If, Do: []dcs.Write{w}})
				tx.If = nil
			}
			return append(all, dcs.Txn{If: tx.If})
		}
	}, []string{"txn/several-keys-one-version"}},
	"check, then write": {func(b *broken, _ *memory.Store) {
		b.tx = func(tx dcs.Txn) []dcs.Txn { return []dcs.Txn{{If: tx.If}, {Do: tx.Do}} }
	}, []string{"race/one-winner", "race/linearizable"}},
	"a conflict is called unknown": {func(b *broken, _ *memory.Store) {
		b.errs = func(err error) error { return instead(err, dcs.ErrConflict, dcs.ErrUnknown) }
	}, []string{"txn/create-only"}},
	"a cancelled request is called a conflict": {func(b *broken, _ *memory.Store) {
		b.errs = func(err error) error { return instead(err, context.Canceled, dcs.ErrConflict) }
	}, []string{"context/cancelled"}},
	"a request is repeated, and the second answer believed": {func(b *broken, _ *memory.Store) { b.again = true },
		[]string{"waiting/fault/repeated-is-no-conflict"}},
	"a write whose answer was lost had no effect": {func(b *broken, _ *memory.Store) {
		b.errs = func(err error) error { return instead(err, dcs.ErrUnknown, dcs.ErrUnavailable) }
	}, []string{"waiting/fault/lost-replies", "waiting/fault/unknown-is-no-conflict"}},
	"a store that cannot be asked has lost the session": {func(b *broken, _ *memory.Store) {
		b.session = func(x dcs.Session) dcs.Session {
			return &defect{Session: x, keepAlive: func() (dcs.Version, error) {
				v, err := x.KeepAlive(context.Background())
				return v, instead(err, dcs.ErrUnavailable, dcs.ErrSessionLost)
			}}
		}
	}, []string{"waiting/fault/cut"}},
	"keepalive says yes to a lost session": {func(b *broken, _ *memory.Store) {
		b.session = func(x dcs.Session) dcs.Session {
			return &defect{Session: x, keepAlive: func() (dcs.Version, error) { _, _ = x.KeepAlive(context.Background()); return 0, nil }}
		}
	}, []string{"session/close-deletes", "waiting/fault/expiry-behind-a-cut"}},
	"keepalive does nothing": {func(b *broken, _ *memory.Store) {
		b.session = func(x dcs.Session) dcs.Session {
			return &defect{Session: x, keepAlive: func() (dcs.Version, error) { return 0, nil }}
		}
	}, []string{"waiting/session/lives-exactly-while-kept-alive"}},
	"a session is renewed behind its owner's back": {func(b *broken, _ *memory.Store) {
		b.session = func(x dcs.Session) dcs.Session {
			go func() {
				for range time.Tick(x.TTL() / 3) {
					_, _ = x.KeepAlive(context.Background())
				}
			}()
			return x
		}
	}, []string{"waiting/session/lives-exactly-while-kept-alive"}},
	"confirm trusts the session alone": {func(b *broken, _ *memory.Store) {
		b.session = func(x dcs.Session) dcs.Session {
			return &defect{Session: x, confirm: func(ctx context.Context, tx dcs.Txn) (dcs.Applied, error) {
				v, err := x.KeepAlive(ctx)
				return dcs.Applied{Version: v}, err
			}}
		}
	}, []string{"session/confirm-is-definite-about-a-deleted-key"}},
	"confirm does not prolong": {func(b *broken, _ *memory.Store) {
		b.session = func(x dcs.Session) dcs.Session {
			return &defect{Session: x, confirm: func(ctx context.Context, tx dcs.Txn) (dcs.Applied, error) { return b.Apply(ctx, tx) }}
		}
	}, []string{"waiting/session/confirm-prolongs"}},
	"the ttl is longer than what the store granted": {func(b *broken, _ *memory.Store) {
		b.session = func(x dcs.Session) dcs.Session { return &defect{Session: x, ttl: 2 * x.TTL()} }
	}, []string{"waiting/fault/expiry-behind-a-cut", "waiting/race/linearizable-with-leases"}},
	"close leaves the keys": {func(b *broken, _ *memory.Store) {
		b.session = func(x dcs.Session) dcs.Session { return &defect{Session: x, close: func() error { return nil }} }
	}, []string{"session/close-deletes"}},
	"reads are not sorted": {func(b *broken, _ *memory.Store) {
		b.read = func(s dcs.Snapshot) dcs.Snapshot { slices.Reverse(s.Entries); return s }
	}, []string{"keys/sorted-and-exact-prefix"}},
	"hints are lost when the reader is slow": {func(b *broken, _ *memory.Store) {
		b.hints = relay(func(out chan dcs.Hint, h dcs.Hint) {
			select {
			case out <- h:
			default:
			}
		})
	}, []string{"watch/merged-but-not-lost"}},
	"a watch outlives its context": {func(b *broken, _ *memory.Store) {
		b.hints = func(_ context.Context, in <-chan dcs.Hint) chan dcs.Hint {
			out := make(chan dcs.Hint, 1000)
			go func() {
				for h := range in {
					out <- h
				}
			}()
			return out
		}
	}, []string{"watch/closed-with-its-context"}},
	"a goroutine is forgotten": {func(b *broken, _ *memory.Store) {
		b.session = func(x dcs.Session) dcs.Session {
			go func() { select {} }()
			return x
		}
	}, []string{"session/close-deletes"}},
}

func relay(send func(chan dcs.Hint, dcs.Hint)) func(context.Context, <-chan dcs.Hint) chan dcs.Hint {
	return func(_ context.Context, in <-chan dcs.Hint) chan dcs.Hint {
		out := make(chan dcs.Hint, 4)
		go func() {
			defer close(out)
			for h := range in {
				send(out, h)
			}
		}()
		return out
	}
}

// TestTwins shows that the suite fails on each of the six, by the tests that are meant to find them.
func TestTwins(t *testing.T) { runMutants(t, twins) }

// TestMutants shows it of the others.
func TestMutants(t *testing.T) { runMutants(t, mutants) }

// runMutants runs each test that must find a defect on a store that has it. That test fails, which cannot be undone in this process: it has one of
// its own, in which nothing else runs.
func runMutants(t *testing.T, mutants map[string]mutant) {
	if name := os.Getenv("DCSTEST_MUTANT"); name != "" {
		runOn(t, 2*time.Second, mutants[name].mutate)
		return
	}
	if testing.Short() {
		t.Skip("starts a process for each defect")
	}
	for name, m := range mutants {
		for _, by := range m.by {
			t.Run(name+" by "+path.Base(by), func(t *testing.T) { t.Parallel(); mustFail(t, name, by) })
		}
	}
}

// mustFail fails unless exactly the test by fails on the mutant.
func mustFail(t *testing.T, name, by string) {
	top, _, _ := strings.Cut(t.Name(), "/")
	pattern := "^" + top + "$"
	for part := range strings.SplitSeq(by, "/") {
		pattern += "/^" + part + "$"
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run="+pattern, "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), "DCSTEST_MUTANT="+name)
	out, err := cmd.CombinedOutput()
	if ended := (*exec.ExitError)(nil); !errors.As(err, &ended) || !strings.Contains(string(out), "--- FAIL: "+top+"/"+by+" (") {
		t.Fatalf("not found by %s: %v\n%s", by, err, out)
	}
	if strings.Contains(string(out), "panic:") {
		t.Fatalf("it was no test that failed:\n%s", out)
	}
}

// TestNoMutant runs the whole suite on the same wrapping without a defect: it is the defects that are found.
func TestNoMutant(t *testing.T) { runOn(t, time.Minute, func(*broken, *memory.Store) {}) }

func runOn(t *testing.T, patience time.Duration, mutate func(*broken, *memory.Store)) {
	store := memory.New(memory.Options{})
	wrap := func(inner *memory.Backend) dcs.Backend {
		b := &broken{Backend: inner}
		mutate(b, store)
		return b
	}
	dcstest.Run(t, dcstest.Harness{
		New: func(testing.TB) dcs.Backend { return wrap(store.Backend()) },
		Linked: func(testing.TB) (dcs.Backend, dcstest.Link) {
			b := store.Backend()
			return wrap(b), link(b)
		},
		Complete: true,
		MinTTL:   300 * time.Millisecond,
		Patience: patience,
	})
}

// link makes the requests of b meet the fate that belongs to a fault.
func link(b *memory.Backend) dcstest.Link {
	return func(f dcstest.Fault) {
		fate := map[dcstest.Fault]memory.Fate{
			dcstest.Cut: memory.Refused, dcstest.LostReplies: memory.ReplyLost, dcstest.Silent: memory.RequestLost,
		}[f]
		b.Inject(func(memory.Op) memory.Fate { return fate })
		if f != dcstest.Healthy {
			b.BreakWatches()
		}
	}
}
