package instance

import (
	"testing"

	"github.com/tanist-ha/tanist/postgres"
)

// TestPromotionTakesReservedTimeline skips numbers, restarts a standby that was told to and was not promoted, and lets
// another standby follow over the gap.
func TestPromotionTakesReservedTimeline(t *testing.T) {
	a := founded(t, testConfig(t, needServer(t), "a"))
	b := standbyOf(t, a, "b")
	c := standbyOf(t, a, "c")
	_, err := b.try(postgres.Task{Kind: postgres.TaskPromote, Timeline: 1})
	wantError(t, err, "cannot follow timeline 1")
	if err := b.reserveTimeline(1, 5); err != nil { // as if the agent had died here
		t.Fatal(err)
	}
	b.must(postgres.Task{Kind: postgres.TaskStop})
	b.must(postgres.Task{Kind: postgres.TaskStart, Upstream: a.upstream()})
	b.awaitStreaming()

	if err := a.Kill("the host is lost"); err != nil {
		t.Fatal(err)
	}
	b.must(postgres.Task{Kind: postgres.TaskPromote, Timeline: 5})
	if o := b.look(); o.SQL == nil || o.SQL.Timeline != 5 {
		t.Fatalf("after the promotion: %+v", o.SQL)
	}
	up := b.upstream()
	up.Primary = true
	c.must(postgres.Task{Kind: postgres.TaskFollow, Upstream: up})
	c.eventually("streaming on timeline 5", streamsOn(5))
	c.must(postgres.Task{Kind: postgres.TaskStop})
	c.must(postgres.Task{Kind: postgres.TaskStart, Upstream: up})
	c.eventually("streaming on timeline 5 after a restart", streamsOn(5))

	if s := a.look().Control.State; s != postgres.ControlInProduction {
		t.Fatalf("state %s", s)
	}
	a.must(postgres.Task{Kind: postgres.TaskRecover})
	if o := a.look(); o.Control.State != postgres.ControlShutDown || o.Control.CheckpointEnd == 0 || !o.Standby {
		t.Errorf("after crash recovery: %+v", o.Control)
	}
	b.must(postgres.Task{Kind: postgres.TaskCheckpoint})
	a.must(postgres.Task{Kind: postgres.TaskRewind, Upstream: up})
	a.must(postgres.Task{Kind: postgres.TaskStart, Upstream: up})
	a.eventually("streaming on timeline 5", streamsOn(5))
}
