//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// moment is what the agent is doing when it is killed or frozen.
type moment struct {
	name, title string
	reach       func(ctx context.Context, s *scene) error // makes it so; s.leader is the node whose agent is hit
}

// moments in which a leader's agent dies or hangs while its server lives. Without a guard that server goes on.
var moments = []moment{
	{"", "", func(context.Context, *scene) error { return nil }},
	{"-promotion", ", during its promotion", promoting},
	{"-restart", ", during a restart in place", restarting},
	{"-takeover", ", started again once before", takenOver},
}

// afterTTL is how long the agent stays away beyond the ttl: long enough for two leaders to be seen at work.
const afterTTL = 15 * time.Second

// agentTrials are the cases in which the leader's agent goes and its server stays.
func agentTrials(low bool) []trial {
	var all []trial
	for _, m := range moments {
		for _, freeze := range []bool{false, true} {
			t := trial{name: "agent-dead" + m.name, title: "leader's agent killed for good" + m.title, n: 3, low: low,
				act: agentGone(freeze, m), agentGone: true, goals: goals{lossless: true}, patroni: "two servers 10 to 24 s, 3,900 to 5,900 rows lost"}
			if freeze {
				t.name, t.title = "agent-frozen"+m.name, "leader's agent frozen for ttl + 15 s"+m.title
			}
			if t.title += ", ttl 30"; low {
				t.name, t.title = t.name+"-low", strings.Replace(t.title, "ttl 30", "ttl 5", 1)
			}
			all = append(all, t)
		}
	}
	return all
}

// agentGone ends or freezes the leader's agent, and only it, for longer than its authority lasts; clients stay connected to its server.
func agentGone(freeze bool, m moment) func(context.Context, *scene) error {
	return func(ctx context.Context, s *scene) error {
		if err := m.reach(ctx, s); err != nil {
			return err
		}
		s.hit = s.leader
		s.begin()
		stop, again := func() error { return s.hit.KillAgent(ctx) }, s.hit.Start
		if freeze {
			stop, again = s.hit.FreezeAgent, s.hit.ThawAgent
		}
		if err := stop(); err != nil {
			return err
		}
		if err := until(ctx, s.w, s.fault+s.ttl+afterTTL); err != nil {
			return err
		}
		s.back = s.w.Since()
		if err := again(); err != nil {
			return err
		}
		if err := healthy(ctx, s); err != nil {
			return err
		}
		return until(ctx, s.w, max(s.w.Since(), s.back+2*time.Second)) // what a thawed agent does in haste would be seen
	}
}

// promoting hands over to the other node, and returns when that node has decided to promote its server.
func promoting(ctx context.Context, s *scene) error {
	said := watchLog(s.other, "promoted self to leader")
	asked := make(chan error, 1)
	ask, cancel := context.WithCancel(ctx)
	go func() { asked <- s.c.Switchover(ask, s.leader, s.other) }()
	err := said(ctx)
	cancel() // nobody waits for the answer: who would give it is hit
	<-asked
	s.leader = s.other
	if err != nil {
		return err
	}
	return aLittle(ctx)
}

// restarting kills the postmaster, and returns when the next one runs and recovers.
func restarting(ctx context.Context, s *scene) error {
	old, _ := s.leader.Postmaster()
	if err := s.leader.KillPostmaster(); err != nil {
		return err
	}
	err := soon(ctx, "the postmaster of "+s.leader.Name+" was not started again", func() bool {
		pid, ok := s.leader.Postmaster()
		return ok && pid != old
	})
	if err != nil {
		return err
	}
	return aLittle(ctx)
}

// aLittle waits for a random part of the time that a promotion or a start takes, so that repetitions hit different steps of it.
func aLittle(ctx context.Context) error {
	timer := time.NewTimer(rand.N(80 * time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// takenOver kills the agent and starts it again: the next one adopts the server, and takes its guard over.
func takenOver(ctx context.Context, s *scene) error {
	if err := s.leader.KillAgent(ctx); err != nil {
		return err
	}
	if err := s.leader.Start(); err != nil {
		return err
	}
	leader := s.leader
	if err := healthy(ctx, s); err != nil {
		return err
	}
	if s.leader != leader {
		return fmt.Errorf("%s leads after the agent of %s was started again", s.leader.Name, leader.Name)
	}
	return nil
}

// watchLog returns a function that waits until the node's agent has written text after this call.
func watchLog(n *testcluster.Node, text string) func(context.Context) error {
	var from int64
	if info, err := os.Stat(n.LogFile); err == nil {
		from = info.Size()
	}
	return func(ctx context.Context) error {
		return soon(ctx, fmt.Sprintf("%s did not say %q", n.Name, text), func() bool {
			f, err := os.Open(n.LogFile)
			if err != nil {
				return false
			}
			defer f.Close()
			fresh := make([]byte, 64<<10)
			count, _ := f.ReadAt(fresh, from)
			return strings.Contains(string(fresh[:count]), text)
		})
	}
}

// soon looks every half millisecond, as the moment that is looked for lasts some dozen of them.
func soon(ctx context.Context, otherwise string, ok func() bool) error {
	tick := time.NewTicker(500 * time.Microsecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", otherwise, context.Cause(ctx))
		case <-tick.C:
		}
	}
	return nil
}
