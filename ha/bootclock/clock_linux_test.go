package bootclock

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/ha"
)

var _ ha.Clock = (*Clock)(nil)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// safety bounds a wait that would otherwise hang the test run; it is no measure of speed.
const safety = 30 * time.Second

func newClock(t *testing.T) *Clock {
	t.Helper()
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func await(t *testing.T, fired <-chan struct{}) {
	t.Helper()
	select {
	case <-fired:
	case <-time.After(safety):
		t.Fatal("the timer did not fire")
	}
}

func TestNowFollowsTheWallClockAndNeverStepsBack(t *testing.T) {
	c := newClock(t)
	if d := time.Since(c.Now()); d < -time.Minute || d > time.Minute {
		t.Fatalf("Now differs from the wall clock by %v", d)
	}
	last := c.Now()
	for range 10000 {
		now := c.Now()
		if now.Before(last) {
			t.Fatalf("Now went from %v back to %v", last, now)
		}
		last = now
	}
}

func TestNowSurvivesJSON(t *testing.T) {
	now := newClock(t).Now()
	raw, err := json.Marshal(now)
	if err != nil {
		t.Fatal(err)
	}
	var back time.Time
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if back != now {
		t.Fatalf("%#v came back as %#v", now, back)
	}
}

func TestAtFiresNotBeforeItsTime(t *testing.T) {
	for name, at := range map[string]time.Duration{
		"long ago": -100 * 365 * 24 * time.Hour, "now": 0, "in a nanosecond": 1, "soon": 20 * time.Millisecond,
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock(t)
			due := c.Now().Add(at)
			fired, stop := c.At(due)
			defer stop()
			await(t, fired)
			if now := c.Now(); now.Before(due) {
				t.Fatalf("fired %v early", due.Sub(now))
			}
		})
	}
}

func TestStoppedTimerDoesNotFire(t *testing.T) {
	c := newClock(t)
	fired, stop := c.At(c.Now().Add(time.Hour))
	stop()
	stop()
	later, stopLater := c.At(c.Now().Add(20 * time.Millisecond))
	defer stopLater()
	await(t, later)
	select {
	case <-fired:
		t.Fatal("a stopped timer fired")
	default:
	}
}

func TestBoottimeIsTheKernelsTime(t *testing.T) {
	c := newClock(t)
	before, err := boottime()
	if err != nil {
		t.Fatal(err)
	}
	now := c.Now()
	after, err := boottime()
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Boottime(now); got < before || got > after {
		t.Errorf("Boottime(Now()) = %v, want it between %v and %v", got, before, after)
	}
	if got := c.Boottime(now.Add(time.Hour)) - c.Boottime(now); got != time.Hour {
		t.Errorf("two times an hour apart are %v apart", got)
	}
}

func TestManyTimersReleaseTheirFiles(t *testing.T) {
	c := newClock(t)
	before := openFiles(t)
	for range 2000 {
		_, stop := c.At(c.Now().Add(time.Hour))
		stop()
	}
	deadline := time.Now().Add(safety)
	for openFiles(t) > before+16 { // closing is finished by the goroutines that read
		if time.Now().After(deadline) {
			t.Fatalf("%d files are open, %d before", openFiles(t), before)
		}
	}
}

func TestFallbackWithoutTimerfd(t *testing.T) {
	c := newClock(t)
	due := c.Now().Add(20 * time.Millisecond)
	fired, stop := c.fallback(due, make(chan struct{}, 1))
	defer stop()
	await(t, fired)
	if c.Now().Before(due) {
		t.Fatal("fired early")
	}
	never, cancel := c.fallback(c.Now().Add(time.Hour), make(chan struct{}, 1))
	cancel()
	cancel()
	select {
	case <-never:
		t.Fatal("a stopped timer fired")
	default:
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
