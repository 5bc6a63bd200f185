package ha_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tanist-ha/tanist/ha"
)

// steppedClock is the bubble's time, beside a wall clock that somebody sets.
type steppedClock struct {
	bubbleClock
	skew *atomic.Int64
}

func (c steppedClock) Skew() time.Duration { return time.Duration(c.skew.Load()) }

// A wall clock that is set is told, in the log and among the notices; the node leads on. One that is slewed is not worth a word.
func TestWallClockIsSet(t *testing.T) {
	t.Run("told", in(func(t *testing.T) {
		var skew atomic.Int64
		n := begin(t, &toy{}, func(c *ha.Config) { c.Clock = steppedClock{skew: &skew} })
		n.leading()
		told := func(s *ha.Status) bool {
			return slices.ContainsFunc(s.Notices, func(x string) bool { return strings.Contains(x, "wall clock jumped") })
		}
		skew.Store(int64(300 * time.Millisecond))
		time.Sleep(20 * time.Second)
		if told(n.Status()) {
			t.Error("a clock that is slewed is told")
		}
		skew.Store(int64(time.Hour))
		s := n.until("the jump", told)
		if !s.Leads(n.Now()) || s.Demotions != 0 {
			t.Error("something was decided by the wall clock")
		}
		synctest.Wait() // the line may come a moment after the status
		n.log.mu.Lock()
		lines := strings.Join(n.log.lines, "\n")
		n.log.mu.Unlock()
		if !strings.Contains(lines, "the wall clock jumped ahead by 59m59.7s") {
			t.Errorf("the log does not tell:\n%s", lines)
		}
		n.end()
	}))
}
