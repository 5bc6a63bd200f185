package hatest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// ticking is a cluster whose store keeps sessions as ZooKeeper does, by default with a tick of two seconds. It has run for a minute.
func ticking(t *testing.T, ttl time.Duration) *Story {
	t.Helper()
	s := NewStory(Options{Tick: 2 * time.Second, Config: fmt.Sprintf(`{"ttl":%d,"loop_wait":10,"retry_timeout":10}`, int(ttl.Seconds()))})
	for _, line := range []string{"start a", "advance 5s", "start b", "start c", "advance 1m"} {
		told(t, s, line)
	}
	return s
}

func told(t *testing.T, s *Story, line string) string {
	t.Helper()
	out, err := s.Do(line)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestShortestSessionOfTicks: a session of five ticks, the shortest one that is granted, is renewed for as long as the store serves, although the
// proof that a renewal counts takes a tick (safety 2.4).
func TestShortestSessionOfTicks(t *testing.T) {
	t.Parallel()
	s := ticking(t, 10*time.Second)
	if out := told(t, s, "advance 10m"); strings.Contains(out, "demoting") || strings.Contains(out, "authority.") {
		t.Errorf("the primary is demoted although the store serves:\n%s", out)
	}
	if out := told(t, s, "status"); !strings.Contains(out, "a: primary, timeline 2; has authority") && !strings.Contains(out, "a: primary, timeline 1; has authority") {
		t.Errorf("the primary is not the one that it was:\n%s", out)
	}
}

// TestOutageOfTicks: the primary survives each outage that ends when there is time left for one renewal, whose proof takes a tick. Here the
// store is away from just before a renewal is due on, 10 s after the last one; the rules demote at 25.6 s.
func TestOutageOfTicks(t *testing.T) {
	t.Parallel()
	for _, away := range []time.Duration{8 * time.Second, 10 * time.Second, 11 * time.Second} {
		s := ticking(t, 30*time.Second)
		v := s.w.node("a").agent.machine.View()
		told(t, s, "advance "+v.Lease.Auth.Sent.Add(9900*time.Millisecond).Sub(s.w.eng.now).String())
		out := told(t, s, "store down") + told(t, s, "advance "+away.String()) + told(t, s, "store up") + told(t, s, "advance 1m")
		if strings.Contains(out, "demoting") {
			t.Errorf("an outage of %s:\n%s", away, out)
		}
	}
}
