//go:build linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/internal/faultproxy"
	"github.com/tanist-ha/tanist/internal/testcluster"
	"github.com/tanist-ha/tanist/internal/testcluster/writers"
)

// scenario is one way in which an agent or its guard goes while a server lives.
type scenario struct {
	name string
	run  func(s *siege)
}

// TestGuardWhenTheAgentDies kills or freezes the leader's agent at every step on which its server becomes or stays writable. In each case
// that server has to be silent before the next leader's speaks, and what it had acknowledged has to be there.
func TestGuardWhenTheAgentDies(t *testing.T) {
	f := startFortress(t, testcluster.Options{})
	for _, sc := range []scenario{
		{"agent killed after acquire", killedAfterAcquire},
		{"agent killed after arm", killedAfterArm},
		{"agent killed after fork", killedAfterFork},
		{"agent killed after exec", killedAfterExec},
		{"agent killed after promote", killedAfterPromote},
		{"agent killed", killed},
		{"agent frozen between decide and acquire, thawed after T", frozenBeforeAcquire},
		{"agent frozen between decide and promote, thawed after T", frozenBeforePromote},
		{"agent frozen for longer than ttl", frozen},
	} {
		t.Run(sc.name, func(t *testing.T) {
			s := f.siege(t)
			sc.run(s)
			s.lift()
		})
	}
}

// killedAfterAcquire: the store has given the leader key, and the agent never learns of it.
func killedAfterAcquire(s *siege) {
	way := s.ways[s.other.Name]
	way.Watch(func(request []byte) {
		if s.acquires(request) {
			way.Set(faultproxy.DropReplies)
		}
	})
	defer way.Set(faultproxy.Pass)
	defer way.Watch(nil)
	s.handOver()
	s.leadsInStore(s.other)
	s.step(s.other.KillAgent)
	s.newLeader(s.other)
}

// killedAfterArm: the guard knows the end of the authority, and the promotion was not asked for yet.
func killedAfterArm(s *siege) {
	held, release := s.hold(s.other, "promote", 0)
	s.handOver()
	held()
	s.step(s.other.KillAgent)
	release()
	s.newLeader(s.other)
}

// killedAfterFork: the process that is to become the server exists, and waits for the guard, which is frozen to make that wait long.
func killedAfterFork(s *siege) {
	way := s.ways[s.leader.Name]
	defer way.Set(faultproxy.Pass)
	for try := 1; !s.forkWaits(); try++ {
		way.Set(faultproxy.Pass)
		if leads := s.healthy(); try == 5 || leads != s.leader {
			s.t.Fatalf("a server-to-be never waited, in %d starts; now %s leads", try, leads.Name)
		}
	}
	s.step(s.leader.KillAgent)
	signalGuards(s, s.leader, syscall.SIGCONT)
	s.serverGone(s.leader)
	s.newLeader(s.leader)
}

// forkWaits makes the leader's agent start its server again beside a frozen guard, and cuts it off from the store: a renewal would put another guard
// in that one's place. It says false if one has, on its way already: then the server runs.
func (s *siege) forkWaits() (waits bool) {
	s.wait(2 * time.Second) // then the agent has seen the control file as it is, and looks at it next when it starts the server
	old, _ := s.leader.Postmaster()
	held, release := s.hold(s.leader, "control", 1) // what is left is swept; then the guard is armed, and the server is started
	s.fatal = s.w.Since()
	s.must(s.leader.KillPostmaster())
	held()
	s.ways[s.leader.Name].Set(faultproxy.HalfOpen)
	signalGuards(s, s.leader, syscall.SIGSTOP)
	release()
	s.promptly("a server-to-be waits, or has become one", func() bool {
		pid, runs := s.leader.Postmaster()
		waits = len(s.leader.Held()) > 0
		return waits || runs && pid != old
	})
	return waits
}

// killedAfterExec: the server recovers from the crash, and becomes writable by itself.
func killedAfterExec(s *siege) {
	old, _ := s.leader.Postmaster()
	s.must(s.leader.KillPostmaster())
	s.promptly("the next postmaster runs", func() bool {
		pid, ok := s.leader.Postmaster()
		return ok && pid != old
	})
	s.step(s.leader.KillAgent)
	s.newLeader(s.leader)
}

func killedAfterPromote(s *siege) {
	s.handOver()
	s.promptly("the other server takes writes", func() bool {
		rows, err := s.SQL(s.t.Context(), s.other, "select pg_is_in_recovery()")
		return err == nil && rows[0][0] == "false"
	})
	s.step(s.other.KillAgent)
	s.newLeader(s.other)
}

func killed(s *siege) {
	s.step(s.leader.KillAgent)
	s.newLeader(s.leader)
}

// frozenBeforeAcquire: the request for the leader key leaves the agent and arrives when its grounds are long gone.
func frozenBeforeAcquire(s *siege) {
	way, late, caught := s.ways[s.other.Name], make(chan struct{}), make(chan error, 1)
	way.Watch(func(request []byte) {
		if !s.acquires(request) {
			return
		}
		select {
		case caught <- s.other.FreezeAgent():
			<-late
		default: // there is one already
		}
	})
	defer way.Watch(nil)
	s.handOver()
	select {
	case err := <-caught:
		s.must(err)
	case <-time.After(patience):
		s.t.Fatal("the other node never asked for the leader key")
	}
	defer s.other.ThawAgent() //nolint:errcheck // it may have been thawed
	s.newLeader(s.other)
	s.wait(time.Second)
	close(late)
	s.must(s.other.ThawAgent())
}

// frozenBeforePromote: the guard is armed and fires, whatever the role; the thawed agent finds no server to promote.
func frozenBeforePromote(s *siege) {
	held, release := s.hold(s.other, "promote", 0)
	s.handOver()
	held()
	s.must(s.other.FreezeAgent())
	release()
	s.newLeader(s.other)
	s.wait(time.Second)
	s.must(s.other.ThawAgent())
}

func frozen(s *siege) {
	s.must(s.leader.FreezeAgent())
	s.newLeader(s.leader)
	s.wait(3 * time.Second)
	s.must(s.leader.ThawAgent())
}

// TestGuardWhenBothDie measures what a numbered assumption leaves open: agent and guard gone together, with the server alive. Nothing but
// a hardware watchdog closes it. What the cluster owes is to heal.
func TestGuardWhenBothDie(t *testing.T) {
	if os.Getenv("CHAOS") == "" {
		t.Skip("measures an assumption: make chaos")
	}
	f := startFortress(t, testcluster.Options{})
	s := f.siege(t)
	signalGuards(s, s.leader, syscall.SIGSTOP)
	s.step(s.leader.KillAgent)
	signalGuards(s, s.leader, syscall.SIGKILL)
	s.newLeader(s.leader)
	s.wait(5 * time.Second)
	s.step(func(context.Context) error { return s.leader.Start() })
	s.healthy()
	s.measure("agent and guard killed together")
}

// TestGuardOfAFrozenMachine measures another one: a machine that is frozen as a whole until its authority is long over. Agent, guard and server
// go on together then, and the server answers whoever stayed connected until the guard has looked at the clock.
func TestGuardOfAFrozenMachine(t *testing.T) {
	if os.Getenv("CHAOS") == "" {
		t.Skip("measures an assumption: make chaos")
	}
	f := startFortress(t, testcluster.Options{})
	const long = ttl + 15*time.Second
	for range 3 {
		t.Run(fmt.Sprint("frozen for ", long), func(t *testing.T) {
			s := f.siege(t)
			old := s.index(s.leader)
			s.must(s.w.AddStaying(old, 4))
			s.step(func(ctx context.Context) error { return s.w.Answered(ctx, &s.w.Acks, 5000) })
			s.step(s.leader.FreezeHost)
			s.fatal = s.w.Since()
			s.newLeader(s.leader)
			s.wait(long - (s.w.Since() - s.fatal))
			thawed := s.w.Since()
			s.must(s.leader.ThawHost())
			s.measure(fmt.Sprint("a machine frozen for ", long))
			for _, a := range writers.Of(s.w.Acks, old) {
				if a.Sent > s.fatal && a.Got < thawed {
					t.Errorf("a frozen server acknowledged %+v, between %v and %v", a, s.fatal, thawed)
				}
			}
		})
	}
}
