package dcstest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
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
		for i, w := range tx.Do {
			if d, ok := w.Session.(*defect); ok {
				tx.Do[i].Session = d.Session
			}
		}
		if a, err = b.Backend.Apply(ctx, tx); err != nil {
			break
		}
	}
	if b.errs != nil {
		err = b.errs(err)
	}
	return a, err
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
	return d.Session.Confirm(ctx, tx)
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

// mutants are the defects that real adapters have had, or nearly had.
var mutants = map[string]func(b *broken){
	"creation is not compared": func(b *broken) { b.tx = each(func(c *dcs.Cond) { c.Created = 0 }) },
	"version is not compared":  func(b *broken) { b.tx = each(func(c *dcs.Cond) { c.Version = 0 }) },
	"session is not compared":  func(b *broken) { b.tx = each(func(c *dcs.Cond) { c.Session = "" }) },
	"empty value is any value": func(b *broken) {
		b.tx = each(func(c *dcs.Cond) {
			if len(c.Value) == 0 {
				c.Value = nil
			}
		})
	},
	"only the first condition counts": func(b *broken) {
		b.tx = func(tx dcs.Txn) []dcs.Txn { return []dcs.Txn{{If: tx.If[:min(1, len(tx.If))], Do: tx.Do}} }
	},
	"keys are written one by one": func(b *broken) {
		b.tx = func(tx dcs.Txn) []dcs.Txn {
			var all []dcs.Txn
			for _, w := range tx.Do {
				all = append(all, dcs.Txn{If: tx.If, Do: []dcs.Write{w}})
				tx.If = nil
			}
			return append(all, dcs.Txn{If: tx.If})
		}
	},
	"check, then write": func(b *broken) {
		b.tx = func(tx dcs.Txn) []dcs.Txn { return []dcs.Txn{{If: tx.If}, {Do: tx.Do}} }
	},
	"a conflict is called unknown": func(b *broken) {
		b.errs = func(err error) error {
			if errors.Is(err, dcs.ErrConflict) {
				return dcs.ErrUnknown
			}
			return err
		}
	},
	"a cancelled request is called a conflict": func(b *broken) {
		b.errs = func(err error) error {
			if errors.Is(err, context.Canceled) {
				return dcs.ErrConflict
			}
			return err
		}
	},
	"keepalive says yes to a lost session": func(b *broken) {
		b.session = func(x dcs.Session) dcs.Session {
			return &defect{Session: x, keepAlive: func() (dcs.Version, error) { _, _ = x.KeepAlive(context.Background()); return 0, nil }}
		}
	},
	"keepalive does nothing": func(b *broken) {
		b.session = func(x dcs.Session) dcs.Session {
			return &defect{Session: x, keepAlive: func() (dcs.Version, error) { return 0, nil }}
		}
	},
	"confirm trusts the session alone": func(b *broken) {
		b.session = func(x dcs.Session) dcs.Session {
			return &defect{Session: x, confirm: func(ctx context.Context, tx dcs.Txn) (dcs.Applied, error) {
				v, err := x.KeepAlive(ctx)
				return dcs.Applied{Version: v}, err
			}}
		}
	},
	"the ttl is longer than what the store granted": func(b *broken) {
		b.session = func(x dcs.Session) dcs.Session { return &defect{Session: x, ttl: 2 * x.TTL()} }
	},
	"close leaves the keys": func(b *broken) {
		b.session = func(x dcs.Session) dcs.Session { return &defect{Session: x, close: func() error { return nil }} }
	},
	"reads are stale": func(b *broken) {
		var old dcs.Snapshot
		b.read = func(s dcs.Snapshot) dcs.Snapshot { old, s = s, old; return s }
	},
	"reads are not sorted": func(b *broken) {
		b.read = func(s dcs.Snapshot) dcs.Snapshot {
			for i, j := 0, len(s.Entries)-1; i < j; i, j = i+1, j-1 {
				s.Entries[i], s.Entries[j] = s.Entries[j], s.Entries[i]
			}
			return s
		}
	},
	"hints are lost when the reader is slow": func(b *broken) {
		b.hints = relay(func(out chan dcs.Hint, h dcs.Hint) {
			select {
			case out <- h:
			default:
			}
		})
	},
	"a watch outlives its context": func(b *broken) {
		b.hints = func(ctx context.Context, in <-chan dcs.Hint) chan dcs.Hint {
			out := make(chan dcs.Hint, 1000)
			go func() {
				for h := range in {
					out <- h
				}
			}()
			return out
		}
	},
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

// TestMutants shows that the suite can fail: each defect is found. A mutant runs in a process of its own, as a failing test
// cannot be undone in this one.
func TestMutants(t *testing.T) {
	if name := os.Getenv("DCSTEST_MUTANT"); name != "" {
		runMutant(t, mutants[name])
		return
	}
	if testing.Short() {
		t.Skip("starts a process for each defect")
	}
	for name := range mutants {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMutants$", "-test.failfast", "-test.timeout=2m")
			cmd.Env = append(os.Environ(), "DCSTEST_MUTANT="+name)
			out, err := cmd.CombinedOutput()
			var failed []string
			for line := range strings.Lines(string(out)) {
				if test, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: TestMutants/"); ok {
					failed = append(failed, strings.Fields(test)[0])
				}
			}
			if err == nil || len(failed) == 0 {
				t.Fatalf("not found by the suite: %v\n%s", err, out)
			}
			t.Logf("found by %s", strings.Join(failed, ", "))
		})
	}
}

// TestNoMutant runs the same wrapping without a defect: it is the defects that are found.
func TestNoMutant(t *testing.T) { runMutant(t, func(*broken) {}) }

func runMutant(t *testing.T, mutate func(*broken)) {
	store := memory.New(memory.Options{})
	dcstest.Run(t, dcstest.Harness{
		New: func(testing.TB) dcs.Backend {
			b := &broken{Backend: store.Backend()}
			mutate(b)
			return b
		},
		MinTTL:   200 * time.Millisecond,
		Patience: time.Second,
	})
}
