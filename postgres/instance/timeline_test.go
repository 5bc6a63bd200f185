package instance

import (
	"fmt"
	"os"
	"strings"
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
	b.must(postgres.Task{Kind: postgres.TaskStart})
	far := fmt.Sprintf("1\t%s\tno recovery target specified\n", end+1000)
	if err := os.WriteFile(b.historyPath(2), []byte(far), 0o600); err != nil { // as its WAL receiver fetches it
		t.Fatal(err)
	}
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

// TestStartBeforeItsTimeline kills a standby that has more of the old timeline than the new leader had, and has fetched the history of the new
// one: started again it must not go on from there on the new timeline, and the comparison with the leader shows that it has diverged.
func TestStartBeforeItsTimeline(t *testing.T) {
	a := founded(t, testConfig(t, needServer(t), "a"))
	b := standbyOf(t, a, "b")
	c := standbyOf(t, a, "c")
	b.awaitStreaming()
	b.must(postgres.Task{Kind: postgres.TaskStop})
	a.sql("CREATE TABLE public.more (x int)")
	end := a.look().SQL.Flush
	all := func(o postgres.Observation) bool { return o.SQL != nil && o.SQL.Replayed >= end }
	c.eventually("all of the old timeline", all)
	if err := a.Kill("the host is lost"); err != nil {
		t.Fatal(err)
	}
	b.must(postgres.Task{Kind: postgres.TaskStart})
	b.must(postgres.Task{Kind: postgres.TaskPromote, Timeline: 2})
	up := b.upstream()
	up.Primary = true
	c.must(postgres.Task{Kind: postgres.TaskFollow, Upstream: up})
	forked := func() int {
		text, err := os.ReadFile(c.cfg.LogFile)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), "forked off current database system timeline 1")
	}
	c.eventually("the history of the new timeline", func(postgres.Observation) bool { return exists(c.historyPath(2)) })
	if err := c.Kill("killed"); err != nil {
		t.Fatal(err)
	}
	before := forked()
	b.sql("CREATE TABLE public.other AS SELECT g, repeat('x', 500) FROM generate_series(1, 1000) g") // far beyond the end of the old one

	c.must(postgres.Task{Kind: postgres.TaskStart, Upstream: up})
	c.eventually("all that was here", all)
	c.eventually("that the timelines forked, again", func(postgres.Observation) bool { return forked() > before })
	o := c.look()
	local, why, ok := postgres.StandingOf(o)
	if !ok {
		t.Fatal(why)
	}
	lineage := c.must(postgres.Task{Kind: postgres.TaskLineage, Upstream: up}).Lineage
	if v := postgres.Diverged(local, *lineage); v.Divergence != postgres.DivergenceRewind {
		t.Fatalf("it stands at %s: %+v", local.Position, v)
	}
}
