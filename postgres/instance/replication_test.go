package instance

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/postgres"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

// TestHandOver is a switchover by hand: clone, stream, stop under busy clients, promote, follow, rewind-free return.
func TestHandOver(t *testing.T) {
	a := founded(t, testConfig(t, needServer(t), "node-a"))
	if err := a.EnsureSlots(t.Context(), []string{"node_b", "node_c"}); err != nil {
		t.Fatal(err)
	}
	b := newNode(t, testConfig(t, a.cfg.BinDir, "node-b"))
	up := a.upstream()
	b.must(postgres.Task{Kind: postgres.TaskClone, Upstream: up})
	if b.phase(postgres.PhaseProgress) == nil {
		t.Error("the clone told no progress")
	}
	if o := b.look(); o.DataDir != postgres.DataDirReady || !o.Standby {
		t.Fatalf("after the clone: %+v", o)
	}
	_, err := b.try(postgres.Task{Kind: postgres.TaskStart, AsPrimary: true})
	wantError(t, err, "has never run")
	up.Slot = "node_b"
	b.must(postgres.Task{Kind: postgres.TaskStart, Upstream: up})
	if diff := cmp.Diff([]postgres.PhaseName{postgres.PhaseStarting, postgres.PhaseReady}, phaseNames(b.phases)); diff != "" {
		t.Error(diff)
	}
	o := b.awaitStreaming()
	if r := o.SQL.Receiver; r.Slot != "node_b" || r.Timeline != 1 || r.Port != a.cfg.Port || r.Host != "127.0.0.1" || o.SQL.Timeline != 1 {
		t.Errorf("receiver %+v, timeline %d", r, o.SQL.Timeline)
	}
	o = a.eventually("a sender", func(o postgres.Observation) bool {
		return o.SQL != nil && len(o.SQL.Senders) == 1 && o.SQL.Senders[0].State == "streaming" && o.SQL.Senders[0].Flush != 0
	})
	if s := o.SQL.Senders[0]; s.Application != "node-b" || s.User != "replicator" || s.SyncState != "async" {
		t.Errorf("sender %+v", s)
	}
	if s := o.SQL.Slots; len(s) != 2 || s[0].Name != "node_b" || !s[0].Physical || !s[0].Active || s[1].Active {
		t.Errorf("slots %+v", s)
	}
	if err := a.EnsureSlots(t.Context(), []string{"node_d"}); err != nil {
		t.Fatal(err)
	}
	if got := a.sql("SELECT slot_name FROM pg_replication_slots ORDER BY 1"); got != "node_b\nnode_d" {
		t.Errorf("slots: %s", got)
	}

	end := stopUnderLoad(t, a)
	b.eventually("the end of the log", func(o postgres.Observation) bool { return o.SQL != nil && o.SQL.Position().LSN >= end })
	if got := b.look().SQL.Position(); got != (postgres.Position{Timeline: 1, LSN: end}) {
		t.Errorf("standby at %s, the primary ended at %s", got, end)
	}

	b.must(postgres.Task{Kind: postgres.TaskPromote, Slots: []string{"node_a"}})
	if diff := cmp.Diff([]postgres.PhaseName{postgres.PhaseSignalled, postgres.PhaseReady}, phaseNames(b.phases)); diff != "" {
		t.Error(diff)
	}
	o = b.look()
	if o.SQL == nil || o.SQL.InRecovery || o.SQL.Timeline != 2 || o.Standby || len(o.SQL.Slots) != 1 {
		t.Errorf("after the promotion: %+v %+v", o, o.SQL)
	}
	b.must(postgres.Task{Kind: postgres.TaskCheckpoint})
	if o := b.look(); o.Control.Timeline != 2 || len(o.History) != 1 || o.History[0].Parent != 1 {
		t.Errorf("control %+v, history %v", o.Control, o.History)
	}
	out := a.must(postgres.Task{Kind: postgres.TaskLineage, Upstream: b.upstream()})
	if l := out.Lineage; l.Timeline != 2 || l.InRecovery || l.SystemID != a.look().Control.SystemID || len(l.History) != 1 || l.History[0].LSN != end {
		t.Errorf("lineage %+v", out.Lineage)
	}
	a.must(postgres.Task{Kind: postgres.TaskStart, Upstream: &postgres.Upstream{Name: "b", Host: "127.0.0.1", Port: b.cfg.Port, Slot: "node_a"}})
	o = a.eventually("streaming on timeline 2", streamsOn(2))
	if o.SQL.Receiver.Slot != "node_a" {
		t.Errorf("the old primary follows: %+v", o.SQL.Receiver)
	}
}

// stopUnderLoad stops a node while clients write, and returns the end of its log.
func stopUnderLoad(t *testing.T, n *node) postgres.LSN {
	t.Helper()
	n.sql("CREATE TABLE IF NOT EXISTS public.load (n int)")
	var clients sync.WaitGroup
	for range 8 {
		clients.Add(1)
		go func() {
			defer clients.Done()
			ctx, cancel := testContext()
			defer cancel()
			conn, err := n.connect(ctx, longSession)
			if err != nil {
				return
			}
			defer closeConn(conn)
			for conn.Exec(ctx, "INSERT INTO public.load VALUES (1)") == nil {
			}
		}()
	}
	n.eventually("rows", func(postgres.Observation) bool { return n.sql("SELECT count(*) > 100 FROM public.load") == "t" })
	out := n.must(postgres.Task{Kind: postgres.TaskStop, Checkpoint: true})
	clients.Wait()
	if diff := cmp.Diff([]postgres.PhaseName{postgres.PhaseSignalled, postgres.PhaseShutDown}, phaseNames(n.phases)); diff != "" {
		t.Error(diff)
	}
	p := n.phase(postgres.PhaseShutDown)
	if !out.Clean || out.End == 0 || p == nil || p.LSN != out.End {
		t.Fatalf("outcome %+v, phase %+v", out, p)
	}
	return out.End
}

func streamsOn(tl postgres.Timeline) func(postgres.Observation) bool {
	return func(o postgres.Observation) bool {
		return o.SQL != nil && o.SQL.Receiver != nil && o.SQL.Receiver.Status == "streaming" && o.SQL.Timeline == tl
	}
}

func TestFollowAnotherUpstream(t *testing.T) {
	a := founded(t, testConfig(t, needServer(t), "a"))
	b := standbyOf(t, a, "b")
	c := standbyOf(t, a, "c")
	a.must(postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopImmediate})
	b.must(postgres.Task{Kind: postgres.TaskPromote, Slots: []string{"c"}})
	up := b.upstream()
	up.Slot = "c"
	c.must(postgres.Task{Kind: postgres.TaskFollow, Upstream: up})
	o := c.eventually("streaming on timeline 2", streamsOn(2))
	if o.SQL.Receiver.Port != b.cfg.Port || o.SQL.Receiver.Slot != "c" {
		t.Errorf("receiver %+v", o.SQL.Receiver)
	}
	c.must(postgres.Task{Kind: postgres.TaskFollow})
	o = c.eventually("no receiver", func(o postgres.Observation) bool { return o.SQL != nil && o.SQL.Receiver == nil })
	if o.SQL.Timeline != 2 {
		t.Errorf("timeline without a receiver: %d, want 2", o.SQL.Timeline)
	}
	if got := c.sql("SHOW primary_conninfo"); got != "" {
		t.Errorf("primary_conninfo: %s", got)
	}
	// A restart forgets the receiver; the timeline must come from somewhere.
	c.must(postgres.Task{Kind: postgres.TaskStop})
	c.must(postgres.Task{Kind: postgres.TaskStart})
	if o := c.look(); o.SQL == nil || o.SQL.Timeline != 2 || o.SQL.Position().LSN == 0 {
		t.Errorf("after a restart without upstream: %+v", o.SQL)
	}
}

func TestRewind(t *testing.T) {
	a := founded(t, testConfig(t, needServer(t), "a"))
	b := standbyOf(t, a, "b")
	a.sql("CREATE TABLE public.kept (n int)")
	b.must(postgres.Task{Kind: postgres.TaskFollow}) // lags from here on
	b.eventually("no receiver", func(o postgres.Observation) bool { return o.SQL != nil && o.SQL.Receiver == nil })
	a.sql("CREATE TABLE public.lost (n int)")
	if err := a.Kill("the host is lost"); err != nil {
		t.Fatal(err)
	}
	a.awaitExit()
	b.must(postgres.Task{Kind: postgres.TaskPromote})
	b.must(postgres.Task{Kind: postgres.TaskCheckpoint})
	b.sql("CREATE TABLE public.newer (n int)")

	if s := a.look().Control.State; s != postgres.ControlInProduction {
		t.Fatalf("state %s", s)
	}
	_, err := a.try(postgres.Task{Kind: postgres.TaskRewind, Upstream: &postgres.Upstream{Name: "nobody", Host: "127.0.0.1", Port: 1}})
	wantError(t, err, "rewind to nobody", "onnection")
	if o := a.look(); o.DataDir != postgres.DataDirReady || o.Control.State != postgres.ControlShutDown || !o.Standby {
		t.Fatalf("after a rewind that could not begin: %+v %+v", o, o.Control)
	}
	a.must(postgres.Task{Kind: postgres.TaskRewind, Upstream: b.upstream()})
	a.must(postgres.Task{Kind: postgres.TaskStart, Upstream: b.upstream()})
	a.eventually("streaming on timeline 2", streamsOn(2))
	a.eventually("the new primary's table", func(postgres.Observation) bool {
		return a.sql("SELECT to_regclass('public.newer') IS NOT NULL") == "t"
	})
	if got := a.sql("SELECT to_regclass('public.lost'), to_regclass('public.kept')"); got != "NULL|public.kept" {
		t.Errorf("tables: %s", got)
	}
}

func TestRewindInterrupted(t *testing.T) {
	cfg := testConfig(t, needServer(t), "a")
	a := founded(t, cfg)
	a.must(postgres.Task{Kind: postgres.TaskStop})
	// A pg_rewind that dies after its first change.
	bin := t.TempDir()
	mustWrite(t, bin+"/pg_rewind", "#!/bin/sh\necho 'pg_rewind: Need to copy 12 MB'\nexit 1\n")
	a.Instance.cfg.BinNames = map[string]string{"pg_rewind": outside(bin + "/pg_rewind")}
	_, err := a.try(postgres.Task{Kind: postgres.TaskRewind, Upstream: a.upstream()})
	wantError(t, err, "made anew")
	if o := a.look(); o.DataDir != postgres.DataDirUnfinished {
		t.Fatalf("after an interrupted rewind: %+v", o)
	}
	_, err = a.try(postgres.Task{Kind: postgres.TaskStart})
	wantError(t, err, "unfinished", "rewind")

	a.detach()
	again := newNode(t, cfg)
	if o := again.look(); o.DataDir != postgres.DataDirUnfinished {
		t.Errorf("a new agent takes it for whole: %+v", o)
	}
}

func TestClone(t *testing.T) {
	a := founded(t, testConfig(t, needServer(t), "a"))
	a.sql("CREATE TABLE public.bulk AS SELECT g, repeat('x', 500) AS filler FROM generate_series(1, 20000) g")
	b := newNode(t, testConfig(t, a.cfg.BinDir, "b"))

	t.Run("source dies", func(t *testing.T) {
		s, was := b.settings, b.settings
		defer func() { b.settings = was }()
		s.BaseBackup = []string{"--max-rate=1M"}
		if err := b.Configure(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		var once sync.Once
		ctx, cancel := testContext()
		defer cancel()
		_, err := b.Run(ctx, postgres.Task{Kind: postgres.TaskClone, Upstream: a.upstream()}, func(p postgres.Phase) {
			if strings.HasPrefix(p.Text, "base backup") && exists(b.cfg.DataDir+"/base") {
				once.Do(func() { _ = a.Kill("test") })
			}
		})
		wantError(t, err, "copy from a")
		if o := b.look(); o.DataDir != postgres.DataDirEmpty {
			t.Errorf("after the source died: %+v", o)
		}
		a.must(postgres.Task{Kind: postgres.TaskStart, AsPrimary: true})
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		_, err := b.Run(ctx, postgres.Task{Kind: postgres.TaskClone, Upstream: a.upstream()}, func(p postgres.Phase) {
			if exists(b.cfg.DataDir + "/base") {
				cancel(errStopped)
			}
		})
		wantError(t, err, errStopped.Error())
		if o := b.look(); o.DataDir != postgres.DataDirEmpty {
			t.Errorf("after a cancelled clone: %+v", o)
		}
	})
	t.Run("agent dies", func(t *testing.T) {
		mustWrite(t, b.cfg.DataDir+"/PG_VERSION", itoa(b.major))
		if err := b.writeMarker(marker{Work: postgres.TaskClone}); err != nil {
			t.Fatal(err)
		}
		if o := b.look(); o.DataDir != postgres.DataDirUnfinished || o.Unfinished != postgres.TaskClone || !strings.Contains(o.Problem, "clone") {
			t.Errorf("half a clone: %+v", o)
		}
	})
	t.Run("not empty", func(t *testing.T) {
		cfg := testConfig(t, a.cfg.BinDir, "c")
		mustWrite(t, cfg.DataDir+"/holiday.jpg", "x")
		c := newNode(t, cfg)
		if o := c.look(); o.DataDir != postgres.DataDirForeign || !strings.Contains(o.Problem, "holds no PostgreSQL cluster") {
			t.Errorf("foreign directory: %+v", o)
		}
		_, err := c.try(postgres.Task{Kind: postgres.TaskClone, Upstream: a.upstream()})
		wantError(t, err, "foreign", "not overwritten")
		if !exists(cfg.DataDir + "/holiday.jpg") {
			t.Error("somebody's file was deleted")
		}
		mustWrite(t, cfg.DataDir+"/PG_VERSION", "9.6\n")
		if o := c.look(); o.DataDir != postgres.DataDirForeign || !strings.Contains(o.Problem, "PostgreSQL 9.6") {
			t.Errorf("another major: %+v", o)
		}
	})
	b.must(postgres.Task{Kind: postgres.TaskClone, Upstream: a.upstream()})
	b.must(postgres.Task{Kind: postgres.TaskStart, Upstream: a.upstream()})
	b.awaitStreaming()
	if exists(b.markerPath()) {
		t.Error("the marker is still there")
	}
}

// TestLineageMakesOurSlot: whoever promoted the upstream may have died before it made the slots of the others.
func TestLineageMakesOurSlot(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL servers")
	}
	pgtest.RunAll(t, func(t *testing.T, binDir string) {
		a := founded(t, testConfig(t, binDir, "a"))
		b := newNode(t, testConfig(t, binDir, "b"))
		up := a.upstream()
		up.Slot = "b"
		for range 2 { // the second time it is there
			b.must(postgres.Task{Kind: postgres.TaskLineage, Upstream: up})
		}
		if got := a.sql("SELECT slot_name, slot_type, restart_lsn IS NOT NULL FROM pg_replication_slots"); got != "b|physical|t" {
			t.Errorf("slots: %s", got)
		}
	})
}
