//go:build linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/internal/faultproxy"
	"github.com/tanist-ha/tanist/internal/testcluster"
	"github.com/tanist-ha/tanist/internal/testcluster/writers"
)

// ttl is quick's.
const ttl = 5 * time.Second

// fortress is a cluster with clients that tell whether it keeps its word, whose agents can be stopped at set points: each has a way of
// its own to the store, and runs scripts of ours where users have theirs.
type fortress struct {
	*cluster
	ways map[string]*faultproxy.Proxy // by node
}

// siege is one bad day of a fortress.
type siege struct {
	*fortress
	w      *writers.Workload
	leader *testcluster.Node // when it began
	other  *testcluster.Node
	// fatal is when a server was hit that never came back, by something else than the end of an authority; 0: never. What it had acknowledged
	// in its last second no standby needs to have, as replication is asynchronous.
	fatal time.Duration
}

// gate is a script that waits while its host's folder has the file hold.WHAT. A number in that file lets so many runs pass before.
const gate = `#!/bin/sh
dir=%[1]s what=%[2]s
n=$(cat "$dir/hold.$what" 2>/dev/null)
if [ "${n:-0}" -gt 0 ]; then
	echo $((n - 1)) > "$dir/hold.$what"
elif [ -e "$dir/hold.$what" ]; then
	: > "$dir/held.$what"
	while [ -e "$dir/hold.$what" ]; do sleep 0.02; done
	rm -f "$dir/held.$what"
fi
%[3]s
`

func startFortress(t *testing.T, o testcluster.Options) *fortress {
	t.Helper()
	f := &fortress{ways: map[string]*faultproxy.Proxy{}}
	o.Dynamic, o.Config = quick(), f.config
	t.Cleanup(func() {
		for _, p := range f.ways {
			_ = p.Close()
		}
	})
	f.cluster = startCluster(t, o)
	return f
}

func (f *fortress) config(c *testcluster.Cluster, n *testcluster.Node) (map[string]any, error) {
	cfg, err := testcluster.BaseConfig(c, n)
	if err != nil {
		return nil, err
	}
	way, err := faultproxy.Listen(c.StoreHosts(n)[0])
	if err != nil {
		return nil, err
	}
	f.ways[n.Name] = way
	promote, err := script(c, n, "promote", "")
	if err != nil {
		return nil, err
	}
	control, err := script(c, n, "control", "exec "+c.PGBin+`/pg_controldata "$@"`)
	if err != nil {
		return nil, err
	}
	if control, err = filepath.Rel(c.PGBin, control); err != nil {
		return nil, err
	}
	testcluster.Set(cfg, "etcd3.hosts", way.Addr())
	testcluster.Set(cfg, "etcd3.use_proxies", true) // there is no other way
	testcluster.Set(cfg, "postgresql.pre_promote", promote)
	testcluster.Set(cfg, "postgresql.bin_name", map[string]any{"pg_controldata": control})
	return cfg, nil
}

func script(c *testcluster.Cluster, n *testcluster.Node, what, then string) (path string, err error) {
	path, err = c.WriteFile(n.Name+"-"+what, fmt.Sprintf(gate, n.Dir, what, then))
	if err != nil {
		return "", err
	}
	return path, os.Chmod(path, 0o755)
}

// hold makes the node's agent wait at a point: "promote" (the fence is armed, the promotion not asked for) or "control" (in the middle of a
// start), after it has passed there a number of times. It returns how to see that it waits there, and how to let it go.
func (f *fortress) hold(n *testcluster.Node, what string, passes int) (held func(), release func()) {
	f.t.Helper()
	flag, err := n.WriteFile("hold."+what, strconv.Itoa(passes))
	f.must(err)
	release = func() { _ = os.Remove(flag) }
	f.t.Cleanup(release)
	held = func() {
		f.t.Helper()
		f.promptly(n.Name+" waits at "+what, func() bool {
			_, err := os.Stat(filepath.Join(n.Dir, "held."+what))
			return err == nil
		})
	}
	return held, release
}

// promptly is eventually for moments that do not last.
func (f *fortress) promptly(what string, ok func() bool) {
	f.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			f.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// siege begins when everything is well and clients are at work.
func (f *fortress) siege(t *testing.T) *siege {
	t.Helper()
	told := *f.cluster
	told.t = t
	s := &siege{fortress: &fortress{&told, f.ways}}
	s.leader = s.healthy()
	s.other = s.standby(s.leader)
	for _, sql := range []string{writers.DDL, "truncate bench", "checkpoint"} {
		s.query(s.leader, sql)
	}
	var err error
	s.w, err = writers.Start(context.WithoutCancel(t.Context()), s.Cluster)
	s.must(err)
	t.Cleanup(s.w.Finish)
	s.step(func(ctx context.Context) error { return s.w.Answered(ctx, &s.w.Acks, 200) })
	return s
}

// handOver asks the leader to hand over to the other node, and does not wait for the answer, which may never come.
func (s *siege) handOver() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Switchover(ctx, s.leader, s.other) // what came of it is seen by other means
	}()
	s.t.Cleanup(func() { cancel(); <-done })
}

// wait lets a part of the siege pass. Authority ends by time, so there is nothing else to wait for.
func (s *siege) wait(d time.Duration) {
	s.t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.t.Context().Done():
	}
}

// serverGone waits until no process works in the node's data directory.
func (s *siege) serverGone(n *testcluster.Node) {
	s.t.Helper()
	eventually(s.t, "the server of "+n.Name+" is gone", func() (bool, string) {
		left := n.Server()
		return len(left) == 0, fmt.Sprint("processes ", left)
	})
}

// lift starts agents that are dead, waits until all is well, and compares: no two servers may have acknowledged, and no acknowledged row
// may be lost.
func (s *siege) lift() {
	s.t.Helper()
	for _, n := range s.Nodes {
		if !n.Running() {
			s.must(n.Start())
		}
	}
	s.healthy()
	from := s.w.Since()
	eventually(s.t, "rows are acknowledged again", func() (bool, string) { return s.w.Newest() > from+200*time.Millisecond, "none are" })
	leader := s.healthy()
	s.w.Finish()
	if two := writers.TwoServers(s.w.Acks, len(s.Nodes)); two > 0 {
		s.t.Errorf("two servers acknowledged for %v", two)
	}
	ctx, cancel := s.ctx()
	defer cancel()
	present, err := writers.Present(ctx, s.Cluster, leader)
	s.must(err)
	lost := writers.Lost(s.w.Acks, present)
	for _, a := range lost {
		if s.fatal == 0 || a.Server != s.index(s.leader) || a.Got < s.fatal-time.Second || a.Sent > s.fatal+time.Second {
			s.t.Errorf("%d acknowledged rows are lost, such as %+v", len(lost), a)
			break
		}
	}
	for _, n := range s.Nodes {
		s.plain(n.Log())
	}
	s.t.Logf("%d rows acknowledged, %d lost; %s led, %s leads; longest silence %v", len(s.w.Acks), len(lost), s.leader.Name, leader.Name,
		writers.Longest(writers.Outages(s.w.Acks, 0, s.w.Since(), 0)).Round(time.Millisecond))
}

// index of a node.
func (s *siege) index(n *testcluster.Node) int { return slices.Index(s.Nodes, n) }

// undisturbed checks that nothing has happened to the leader's server since pid was its postmaster.
func (s *siege) undisturbed(pid int) {
	s.t.Helper()
	if now, ok := s.leader.Postmaster(); !ok || now != pid {
		s.t.Errorf("the postmaster was %d, and is %d (%v): a healthy server was ended", pid, now, ok)
	}
	if now, err := s.Leader(s.t.Context()); err != nil || now != s.leader {
		s.t.Errorf("%s led; now: %v, %v", s.leader.Name, now, err)
	}
}

// guardOf waits until exactly one guard guards the node's server, which is not one of others.
func (s *siege) guardOf(n *testcluster.Node, others ...int) (pid int) {
	s.t.Helper()
	eventually(s.t, n.Name+" has one guard", func() (bool, string) {
		all := n.Guards()
		if len(all) != 1 || slices.Contains(others, all[0]) {
			return false, fmt.Sprintf("guards %v, known before: %v", all, others)
		}
		pid = all[0]
		return true, ""
	})
	return pid
}

// logOf is all that the node's agents have logged.
func (s *siege) logOf(n *testcluster.Node) string {
	s.t.Helper()
	raw, err := os.ReadFile(n.LogFile)
	s.must(err)
	return string(raw)
}

// leadsInStore waits until the leader key names n.
func (s *siege) leadsInStore(n *testcluster.Node) {
	s.t.Helper()
	s.promptly("the leader key names "+n.Name, func() bool {
		kv, err := s.Store.Get(s.t.Context(), s.Key("leader"))
		return err == nil && kv != nil && kv.Value == n.Name
	})
}

// acquires says whether a request of n's agent, as bytes, is the one that asks for the leader key.
func (s *siege) acquires(request []byte) bool {
	return strings.Contains(string(request), s.Key("leader"))
}

func signalGuards(s *siege, n *testcluster.Node, sig syscall.Signal) {
	s.t.Helper()
	if sig == syscall.SIGSTOP {
		if told, err := n.FreezeGuards(); told == 0 || err != nil {
			s.t.Fatalf("freeze the guards of %s: %d are, %v", n.Name, told, err)
		}
		return
	}
	if n.SignalGuards(sig) == 0 {
		s.t.Fatalf("%s has no guard", n.Name)
	}
}

// measure tells what was lost where no promise is made.
func (s *siege) measure(what string) {
	s.t.Helper()
	leader := s.healthy()
	s.w.Finish()
	ctx, cancel := s.ctx()
	defer cancel()
	present, err := writers.Present(ctx, s.Cluster, leader)
	s.must(err)
	lost := writers.Lost(s.w.Acks, present)
	before := 0
	for _, a := range lost {
		if a.Got < s.fatal {
			before++
		}
	}
	s.t.Logf("%s: two servers acknowledged for %v, %d acknowledged rows lost (and %d that no standby had when the server was hit)", what,
		writers.TwoServers(s.w.Acks, len(s.Nodes)), len(lost)-before, before)
}
