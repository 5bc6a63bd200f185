package instance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// bereft is two standbys whose primary is lost. The second has all of the log, as all says of what it shows, and the first as well, unless the
// second is to be ahead.
func bereft(t *testing.T, ahead bool) (first, second *node, all func(postgres.Observation) bool) {
	t.Helper()
	a := founded(t, testConfig(t, needServer(t), "a"))
	b := standbyOf(t, a, "b")
	c := standbyOf(t, a, "c")
	b.awaitStreaming()
	if ahead {
		b.must(postgres.Task{Kind: postgres.TaskStop})
	}
	a.sql("CREATE TABLE public.more (x int)")
	end := a.look().SQL.Flush
	all = func(o postgres.Observation) bool { return o.SQL != nil && o.SQL.Replayed >= end }
	if !ahead {
		end = a.must(postgres.Task{Kind: postgres.TaskStop}).End // an orderly stop waits until both have all
		b.eventually("all of the old timeline", all)
	}
	c.eventually("all of the old timeline", all)
	if ahead {
		if err := a.Kill("the host is lost"); err != nil {
			t.Fatal(err)
		}
		b.must(postgres.Task{Kind: postgres.TaskStart})
	}
	return b, c, all
}

// TestStartBeforeItsTimeline kills a standby that has more of the old timeline than the new leader had, and has fetched the history of the new
// one: started again it must not go on from there on the new timeline, and the comparison with the leader shows that it has diverged.
func TestStartBeforeItsTimeline(t *testing.T) {
	b, c, all := bereft(t, true)
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

// TestKilledWhilePromoted brings back a standby that was killed while it was promoted, when PostgreSQL had made the history and the first file of the
// new timeline and had not written a record there (PostgreSQL source, StartupXLOG: XLogInitNewTimeline, writeTimeLineHistory). Another member
// leads by then, on a timeline of its own number, which left the old one at the same place, or before.
func TestKilledWhilePromoted(t *testing.T) {
	for name, want := range map[string]postgres.Divergence{"as far as the other": postgres.DivergenceNone, "ahead of the other": postgres.DivergenceRewind} {
		t.Run(name, func(t *testing.T) {
			b, c, _ := bereft(t, want == postgres.DivergenceRewind)
			begun := c.look().SQL.Replayed
			if err := c.Kill("killed"); err != nil {
				t.Fatal(err)
			}
			halfPromoted(t, c, begun)

			b.must(postgres.Task{Kind: postgres.TaskPromote, Timeline: 3})
			b.sql("CREATE TABLE public.other AS SELECT g, repeat('x', 500) FROM generate_series(1, 1000) g") // far beyond the end of the old one
			b.must(postgres.Task{Kind: postgres.TaskCheckpoint})
			up := b.upstream()
			up.Primary = true
			rejoin(t, c, up, begun, want)
		})
	}
}

// halfPromoted makes of the data directory of n, a standby that was killed, one that was killed in the middle of its promotion to timeline 2 at end.
func halfPromoted(t *testing.T, n *node, end postgres.LSN) {
	t.Helper()
	c := n.look().Control
	path := func(tl postgres.Timeline) string {
		name, err := postgres.WALFileName(tl, end, c.WALSegmentSize)
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(n.cfg.DataDir, "pg_wal", name)
	}
	log, err := os.ReadFile(path(1))
	if err != nil {
		t.Fatal(err)
	}
	clear(log[int(end%postgres.LSN(c.WALSegmentSize)):])
	history := fmt.Sprintf("1\t%s\tno recovery target specified\n", end)
	if err := errors.Join(os.WriteFile(path(2), log, 0o600), os.WriteFile(n.historyPath(2), []byte(history), 0o600), os.Remove(filepath.Join(n.cfg.DataDir, "standby.signal"))); err != nil {
		t.Fatal(err)
	}
}

// rejoin takes the steps of follow.lineage, follow.rewind and follow.stuck with such a server: it is started, gets no stream, and its log is compared
// with the leader's. It is rewound if it has diverged, and else started again: by then it has the leader's history, and the one that leads nowhere is removed.
func rejoin(t *testing.T, n *node, up *postgres.Upstream, end postgres.LSN, want postgres.Divergence) {
	t.Helper()
	n.must(postgres.Task{Kind: postgres.TaskStart, Upstream: up})
	n.eventually("all of the old timeline, and no stream", func(o postgres.Observation) bool {
		text, err := os.ReadFile(n.cfg.LogFile)
		return err == nil && o.SQL != nil && o.SQL.Replayed >= end && strings.Contains(string(text), "requested timeline 2 is not in this server's history")
	})
	local, why, ok := postgres.StandingOf(n.look())
	if !ok {
		t.Fatal(why)
	}
	v := postgres.Diverged(local, *n.must(postgres.Task{Kind: postgres.TaskLineage, Upstream: up}).Lineage)
	if v.Divergence != want {
		t.Fatalf("it stands at %s: %+v", local.Position, v)
	}
	n.must(postgres.Task{Kind: postgres.TaskStop})
	if want == postgres.DivergenceRewind {
		n.must(postgres.Task{Kind: postgres.TaskRewind, Upstream: up})
	}
	n.must(postgres.Task{Kind: postgres.TaskStart, Upstream: up})
	n.eventually("streaming on timeline 3", streamsOn(3))
	if text, err := os.ReadFile(n.historyPath(2)); want == postgres.DivergenceNone && string(text) != skippedMark {
		t.Errorf("the history of timeline 2 is still its own: %s, %v", text, err)
	}
}
