package instance

import (
	"fmt"
	"os"
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

// TestPromotionBeforeItsTimeline promotes a standby that has fetched the history of a leader whose log it never got: it is refused until a
// restart, by which the server goes for what it has.
func TestPromotionBeforeItsTimeline(t *testing.T) {
	a := founded(t, testConfig(t, needServer(t), "a"))
	b := standbyOf(t, a, "b")
	b.awaitStreaming()
	if err := a.Kill("the host is lost"); err != nil {
		t.Fatal(err)
	}
	end := b.look().SQL.Position().LSN
	b.must(postgres.Task{Kind: postgres.TaskStop})
	far := fmt.Sprintf("1\t%s\tno recovery target specified\n", end+1000)
	if err := os.WriteFile(b.historyPath(2), []byte(far), 0o600); err != nil {
		t.Fatal(err)
	}
	b.must(postgres.Task{Kind: postgres.TaskStart})
	for range 2 {
		_, err := b.try(postgres.Task{Kind: postgres.TaskPromote, Timeline: 3, End: end})
		wantError(t, err, "has to be restarted first")
	}
	b.must(postgres.Task{Kind: postgres.TaskStop})
	b.must(postgres.Task{Kind: postgres.TaskStart})
	b.must(postgres.Task{Kind: postgres.TaskPromote, Timeline: 3, End: end})
	if l := b.look(); l.SQL == nil || l.SQL.InRecovery || len(l.History) > 1 {
		t.Errorf("after the promotion: %+v, history %v", l.SQL, l.History)
	}
}
