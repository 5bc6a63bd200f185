package memory_test

import (
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/dcstest"
	"github.com/tanist-ha/tanist/dcs/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformanceRealTime(t *testing.T) {
	store := memory.New(memory.Options{})
	dcstest.Run(t, dcstest.Harness{
		New:    func(testing.TB) dcs.Backend { return store.Backend() },
		MinTTL: 200 * time.Millisecond,
	})
}

func TestConformanceOwnClock(t *testing.T) {
	var now atomic.Int64
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	store := memory.New(memory.Options{Now: func() time.Time { return epoch.Add(time.Duration(now.Load())) }})
	dcstest.Run(t, dcstest.Harness{
		New:    func(testing.TB) dcs.Backend { return store.Backend() },
		MinTTL: 30 * time.Second,
		Advance: func(d time.Duration) {
			now.Add(int64(d))
			store.Tick()
		},
	})
}

// TestConformanceLostReplies runs the suite's fault tests: each handle loses what the switches say.
func TestConformanceLostReplies(t *testing.T) {
	store := memory.New(memory.Options{})
	var cut, drop atomic.Bool
	dcstest.Run(t, dcstest.Harness{
		New: func(testing.TB) dcs.Backend {
			b := store.Backend()
			b.Inject(func(op memory.Op) memory.Fate {
				switch {
				case cut.Load():
					return memory.RequestLost
				case op.Kind == "apply" && drop.CompareAndSwap(true, false):
					return memory.ReplyLost
				}
				return memory.Served
			})
			return b
		},
		MinTTL: 200 * time.Millisecond,
		Faults: &dcstest.Faults{
			Cut:       func(testing.TB) { cut.Store(true) },
			Restore:   func(testing.TB) { cut.Store(false) },
			DropReply: func(testing.TB) { drop.Store(true) },
		},
	})
}
