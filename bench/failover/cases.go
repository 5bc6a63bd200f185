//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/internal/testcluster"
	"github.com/tanist-ha/tanist/internal/testcluster/writers"
)

// scene is what a case acts on.
type scene struct {
	c      *testcluster.Cluster
	w      *writers.Workload
	leader *testcluster.Node
	hit    *testcluster.Node // the node that the fault meets
	other  *testcluster.Node // the standby that a switchover names
	ttl    time.Duration

	fault time.Duration // when the fault began
	back  time.Duration // when the store, or the leader's agent, came back, in the cases in which it was away
}

// begin marks the moment of the fault.
func (s *scene) begin() { s.fault = s.w.Since() }

// goals of a case. Safety goals make the exit code.
type goals struct {
	median   time.Duration // of the write outage; 0: none is set
	most     time.Duration // of any write outage; 0: none is set
	lossless bool          // safety: no acknowledged row may be lost
	returns  time.Duration // after the store is back
	fenced   bool          // safety: nothing is acknowledged once the authority has ended
}

// trial is one kind of bad day.
type trial struct {
	name, title string
	n           int
	low         bool // the lowest timeouts
	proxy       bool // also through HAProxy
	inside      bool // with a client on the leader's own host
	agentGone   bool // the leader's agent goes, its server stays
	goals       goals
	patroni     string // what Patroni 4.1.4 needs on a machine of two cores
	act         func(ctx context.Context, s *scene) error
}

// noOutage is what "none" means: nothing that a client would call an outage on a busy machine of two cores.
const noOutage = 250 * time.Millisecond

// lowTTL is the lowest ttl that a kind of store takes.
func lowTTL(kind testcluster.Kind) time.Duration {
	if kind == testcluster.ConsulStore { // its sessions are half of that
		return 20 * time.Second
	}
	return 5 * time.Second
}

// trials are the cases for a kind of store.
func trials(kind testcluster.Kind) []trial {
	all := everyTrial(lowTTL(kind))
	if kind == testcluster.EmbedEtcdStore { // it goes and comes with the agents
		all = slices.DeleteFunc(all, func(t trial) bool { return strings.HasPrefix(t.name, "dcs-") })
	}
	for i := range all {
		all[i].title = strings.Replace(all[i].title, "ttl 5", fmt.Sprintf("ttl %.0f", lowTTL(kind).Seconds()), 1)
	}
	return all
}

func everyTrial(low time.Duration) []trial {
	return slices.Concat([]trial{
		{name: "switchover", title: "planned switchover", n: 10, act: switchover, patroni: "2.4 s",
			goals: goals{median: 400 * time.Millisecond, lossless: true}},
		{name: "stop", title: "leader's agent stopped in order", n: 10, act: orderlyStop, patroni: "2.4 s",
			goals: goals{median: 500 * time.Millisecond, lossless: true}},
		{name: "postmaster", title: "leader's postmaster killed", n: 10, act: killPostmaster, patroni: "6 to 14 s",
			goals: goals{median: 800 * time.Millisecond, lossless: true}},
		{name: "agent", title: "leader's agent killed, back after 3 s", n: 10, proxy: true, act: restartAgent,
			goals: goals{most: noOutage, lossless: true}},
		{name: "host-killed", title: "leader's host killed, ttl 30", n: 5, act: killHost, patroni: "23 to 29 s",
			goals: goals{median: 29 * time.Second}},
		{name: "host-cut", title: "leader's host cut off, ttl 30", n: 5, inside: true, act: cutHost, patroni: "23 to 29 s",
			goals: goals{median: 29 * time.Second}},
		{name: "dcs-10s", title: "store away for 10 s", n: 5, act: storeAway(10 * time.Second),
			goals: goals{most: noOutage, lossless: true}},
		{name: "dcs-30s", title: "store away for 30 s", n: 5, act: storeAway(30 * time.Second), patroni: "14 to 28 s",
			goals: goals{lossless: true, returns: 2 * time.Second, fenced: true}},
	}, agentTrials(false), []trial{
		{name: "host-killed-low", title: "leader's host killed, ttl 5", n: 5, low: true, act: killHost, patroni: "20 s",
			goals: goals{median: low + time.Second}},
		{name: "host-cut-low", title: "leader's host cut off, ttl 5", n: 5, low: true, inside: true, act: cutHost, patroni: "20 s",
			goals: goals{median: low + time.Second}},
	}, agentTrials(true))
}

func switchover(ctx context.Context, s *scene) error {
	s.begin()
	if err := s.c.Switchover(ctx, s.leader, s.other); err != nil {
		return err
	}
	return healthy(ctx, s)
}

func orderlyStop(ctx context.Context, s *scene) error {
	s.begin()
	if err := s.leader.Stop(ctx); err != nil {
		return err
	}
	return startAgain(ctx, s)
}

func killPostmaster(ctx context.Context, s *scene) error {
	s.begin()
	if err := s.leader.KillPostmaster(); err != nil {
		return err
	}
	return healthy(ctx, s)
}

func killHost(ctx context.Context, s *scene) error {
	s.begin()
	if err := s.leader.KillHost(ctx); err != nil {
		return err
	}
	return startAgain(ctx, s)
}

// startAgain brings the old leader back when there is a new one.
func startAgain(ctx context.Context, s *scene) error {
	if _, err := s.c.WaitLeader(ctx, s.leader); err != nil {
		return err
	}
	if err := s.leader.Start(); err != nil {
		return err
	}
	return healthy(ctx, s)
}

// cutHost keeps the host away until its old authority has certainly ended, so that two primaries would be seen.
func cutHost(ctx context.Context, s *scene) error {
	s.begin()
	if err := s.leader.Partition(); err != nil {
		return err
	}
	if _, err := s.c.WaitLeader(ctx, s.leader); err != nil {
		return err
	}
	if err := until(ctx, s.w, s.fault+s.ttl+3*time.Second); err != nil {
		return err
	}
	if err := s.leader.Heal(); err != nil {
		return err
	}
	return healthy(ctx, s)
}

func restartAgent(ctx context.Context, s *scene) error {
	s.begin()
	if err := s.leader.KillAgent(ctx); err != nil {
		return err
	}
	if err := until(ctx, s.w, s.fault+3*time.Second); err != nil {
		return err
	}
	if err := s.leader.Start(); err != nil {
		return err
	}
	if err := healthy(ctx, s); err != nil {
		return err
	}
	return until(ctx, s.w, s.fault+14*time.Second) // HAProxy needs 9 s to take a server out
}

// storeAway freezes the store: connections stay, nothing is answered, and leases run out.
func storeAway(d time.Duration) func(context.Context, *scene) error {
	return func(ctx context.Context, s *scene) error {
		s.begin()
		if err := s.c.Store.Freeze(); err != nil {
			return err
		}
		err := until(ctx, s.w, s.fault+d)
		s.back = s.w.Since()
		if thaw := s.c.Store.Thaw(); err == nil {
			err = thaw
		}
		if err != nil {
			return err
		}
		return healthy(ctx, s)
	}
}

// healthy waits until everybody streams again, and a little longer, so that writes after the event are seen.
func healthy(ctx context.Context, s *scene) error {
	leader, err := s.c.WaitHealthy(ctx)
	if err != nil {
		return err
	}
	s.leader = leader
	return until(ctx, s.w, s.w.Since()+500*time.Millisecond)
}

// until waits for a moment of the run.
func until(ctx context.Context, w *writers.Workload, at time.Duration) error {
	timer := time.NewTimer(at - w.Since())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
