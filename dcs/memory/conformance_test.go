package memory_test

import (
	"sync"
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
		New:      func(testing.TB) dcs.Backend { return store.Backend() },
		Linked:   func(testing.TB) (dcs.Backend, dcstest.Link) { return linked(store) },
		Complete: true,
		MinTTL:   200 * time.Millisecond,
	})
}

func TestConformanceOwnClock(t *testing.T) {
	var now atomic.Int64
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	store := memory.New(memory.Options{Now: func() time.Time { return epoch.Add(time.Duration(now.Load())) }})
	dcstest.Run(t, dcstest.Harness{
		New:      func(testing.TB) dcs.Backend { return store.Backend() },
		Linked:   func(testing.TB) (dcs.Backend, dcstest.Link) { return linked(store) },
		Complete: true,
		MinTTL:   30 * time.Second,
		Advance: func(d time.Duration) {
			now.Add(int64(d))
			store.Tick()
		},
	})
}

// linked is a handle whose requests meet the fate that the link says. Who has no network has no answer that comes later: a request without one
// ends at once.
func linked(store *memory.Store) (dcs.Backend, dcstest.Link) {
	b := store.Backend()
	var mu sync.Mutex
	fault := dcstest.Healthy
	b.Inject(func(memory.Op) memory.Fate {
		mu.Lock()
		defer mu.Unlock()
		switch fault {
		case dcstest.Cut:
			return memory.Refused
		case dcstest.LostReplies:
			return memory.ReplyLost
		case dcstest.Silent:
			return memory.RequestLost
		default:
			return memory.Served
		}
	})
	return b, func(f dcstest.Fault) {
		mu.Lock()
		defer mu.Unlock()
		fault = f
		if f != dcstest.Healthy {
			b.BreakWatches()
		}
	}
}
