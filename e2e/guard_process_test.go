//go:build linux

package e2e

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// TestGuardProcess disturbs the guard of a healthy leader, and hands a server from agent to agent. Nobody outside may notice.
func TestGuardProcess(t *testing.T) {
	f := startFortress(t, testcluster.Options{})
	for _, sc := range []scenario{
		{"guard killed", guardKilled},
		{"guard and its spare killed", guardAndSpareKilled},
		{"guard frozen and thawed under a healthy agent", guardFrozen},
		{"agent started again under a guard", agentAgain},
		{"takeover from a frozen guard", takeoverFromFrozen},
		{"agent killed after a takeover", killedAfterTakeover},
		{"binary replaced under a running guard", binaryReplaced},
		{"KillMode=process", killModeProcess},
		{"KillMode=control-group", killModeGroup},
		{"SIGTERM to the whole group while the agent is frozen", groupWhileFrozen},
	} {
		t.Run(sc.name, func(t *testing.T) {
			s := f.siege(t)
			sc.run(s)
			s.lift()
		})
	}
}

// guardKilled: its death is an event, and its spare takes its place at once. Where nobody gets the processor for so long that the 100 ms of
// safety 5.7 pass, the server has to be demoted; it must not come to that time after time.
func guardKilled(s *siege) {
	for range 3 {
		if s.losesGuard(func(guard int) { s.must(syscall.Kill(guard, syscall.SIGKILL)) }) {
			return
		}
		s.leader = s.healthy()
	}
	s.t.Error("each time that its guard was killed, the server was demoted")
}

// guardAndSpareKilled: the next guard has to be started, which takes longer than 100 ms where others want the processor, too.
func guardAndSpareKilled(s *siege) {
	s.losesGuard(func(int) { signalGuards(s, s.leader, syscall.SIGKILL) })
}

// losesGuard says whether the leader's server stays undisturbed when lose takes its guard. If not, the agent has said why: it was demoted
// because no other could be armed in time.
func (s *siege) losesGuard(lose func(guard int)) bool {
	s.t.Helper()
	pid, _ := s.leader.Postmaster()
	guard := s.guardOf(s.leader)
	eventually(s.t, "there is a spare guard", func() (bool, string) { return len(s.leader.SpareGuards()) > 0, "there is none" })
	before := len(s.logOf(s.leader))
	lose(guard)
	s.guardOf(s.leader, guard)
	s.wait(ttl)
	if now, ok := s.leader.Postmaster(); ok && now == pid || !strings.Contains(s.logOf(s.leader)[before:], "rule=authority.unguarded") {
		s.undisturbed(pid)
		return true
	}
	s.t.Log("the server was demoted: no guard could be armed within 100 ms")
	return false
}

// guardFrozen: a guard that does not answer is replaced and killed; it would fire its old end after a thaw.
func guardFrozen(s *siege) {
	pid, _ := s.leader.Postmaster()
	guard := s.guardOf(s.leader)
	s.must(syscall.Kill(guard, syscall.SIGSTOP))
	s.guardOf(s.leader, guard)
	_ = syscall.Kill(guard, syscall.SIGCONT) // gone, if all is well
	s.wait(ttl)
	s.undisturbed(pid)
}

// agentAgain: a new agent takes the server and its guard over, with the old one's time.
func agentAgain(s *siege) {
	pid, _ := s.leader.Postmaster()
	guard := s.guardOf(s.leader)
	s.step(s.leader.KillAgent)
	s.must(s.leader.Start())
	s.guardOf(s.leader, guard)
	s.wait(ttl)
	s.undisturbed(pid)
}

func takeoverFromFrozen(s *siege) {
	pid, _ := s.leader.Postmaster()
	guard := s.guardOf(s.leader)
	s.must(syscall.Kill(guard, syscall.SIGSTOP))
	s.step(s.leader.KillAgent)
	s.must(s.leader.Start())
	s.guardOf(s.leader, guard)
	_ = syscall.Kill(guard, syscall.SIGCONT)
	s.wait(ttl)
	s.undisturbed(pid)
}

// killedAfterTakeover: the guard that was taken over from is gone, and the one that took over fires.
func killedAfterTakeover(s *siege) {
	guard := s.guardOf(s.leader)
	s.step(s.leader.KillAgent)
	s.must(s.leader.Start())
	s.guardOf(s.leader, guard)
	s.step(s.leader.KillAgent)
	s.newLeader(s.leader)
}

// binaryReplaced: a package upgrade puts a new file in the place of the program that the guard runs.
func binaryReplaced(s *siege) {
	pid, _ := s.leader.Postmaster()
	guard := s.guardOf(s.leader)
	s.must(s.leader.Upgrade())
	s.wait(ttl) // the old guard is told of new ends by the old agent
	s.undisturbed(pid)
	s.step(s.leader.KillAgent)
	s.must(s.leader.Start())
	s.guardOf(s.leader, guard)
	s.undisturbed(pid)
}

// killModeProcess: the service manager tells the agent alone, which stops its server and dismisses its guard.
func killModeProcess(s *siege) {
	s.step(s.leader.Stop)
	s.alone(s.leader)
	s.newLeader(s.leader)
}

// killModeGroup: it tells everybody at once. The guard has to live for as long as the server does. PostgreSQL's processes hear it each for
// itself: a WAL sender may end before the last client.
func killModeGroup(s *siege) {
	s.fatal = s.w.Since()
	s.leader.SignalAll(syscall.SIGTERM)
	s.step(func(ctx context.Context) error {
		_, err := s.leader.Exit(ctx)
		return err
	})
	s.alone(s.leader)
	s.newLeader(s.leader)
}

// groupWhileFrozen: an agent that hangs cannot end in order. PostgreSQL's processes take SIGTERM each for itself: WAL senders and clients
// end in no order, and nobody can connect any more.
func groupWhileFrozen(s *siege) {
	s.must(s.leader.FreezeAgent())
	s.fatal = s.w.Since()
	s.leader.SignalAll(syscall.SIGTERM)
	s.serverGone(s.leader)
	s.newLeader(s.leader)
	s.wait(time.Second)
	s.must(s.leader.ThawAgent()) // and SIGTERM is waiting for it
	s.step(func(ctx context.Context) error {
		_, err := s.leader.Exit(ctx)
		return err
	})
}

// alone waits until nothing of the node is left: no server, and no guard.
func (s *siege) alone(n *testcluster.Node) {
	s.t.Helper()
	s.serverGone(n)
	eventually(s.t, "no guard of "+n.Name+" is left", func() (bool, string) { return len(n.Guards())+len(n.SpareGuards()) == 0, "there is one" })
}
