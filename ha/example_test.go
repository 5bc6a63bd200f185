package ha_test

import (
	"fmt"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// A decision can be made by hand: write down what a node knows, and ask. Here a leader has not been able to renew its key for 26 seconds of
// the 30 that it holds.
func ExampleDecide() {
	now := time.Date(2026, 1, 1, 12, 0, 26, 0, time.UTC)
	view := ha.View{
		Settings: ha.DefaultSettings(),
		Local: ha.LocalView{Known: true, Sent: now, Obs: postgres.Observation{
			DataDir:    postgres.DataDirReady,
			Postmaster: &postgres.Postmaster{PID: 4711, Start: 1},
			SQL:        &postgres.SQLFacts{Timeline: 1},
		}},
		Lease: ha.Lease{State: ha.LeaseHeld, Auth: ha.Authority{Sent: now.Add(-26 * time.Second), TTL: 30 * time.Second}},
	}

	d := ha.Decide(now, &view)
	fmt.Println(d.Reason.Rule)
	fmt.Println(d.Reason.Text)
	for _, a := range d.Do {
		stop := a.(ha.RunTask).Task
		fmt.Printf("%s (%s), over by %s at the latest\n", a.Name(), stop.Stop, stop.By.Format("15:04:05.0"))
	}
	fmt.Println("passed over:")
	for _, s := range d.Trace {
		fmt.Printf("  %s: %s\n", s.Rule, s.Why)
	}
	// Output:
	// authority.ending
	// demoting self because DCS is not accessible and I was a leader
	// stop (fast), over by 12:00:29.6 at the latest
	// passed over:
	//   authority.overdue: no task runs
	//   authority.lost: the store has not said that we lost the leader key
}

// A Machine is a node without hands: the caller carries out what it asks for, in whatever world the caller has.
func ExampleMachine() {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	m := ha.NewMachine(ha.Self{Name: "a", Scope: "main", Started: now, CanFound: true}, ha.DefaultSettings(), nil, nil)

	tell := func(e ha.Event) {
		requests, _ := m.Step(now, e)
		for _, r := range requests {
			fmt.Printf("%d %s\n", r.ID, r.Action.Name())
		}
		fmt.Println("  ", m.Decision().Reason.Text)
	}
	tell(ha.Tick{})
	tell(ha.Configured{ID: 1})
	tell(ha.Observed{ID: 2, Sent: now, Observation: postgres.Observation{DataDir: postgres.DataDirEmpty}})
	tell(ha.Loaded{ID: 3, Sent: now, Cluster: dcs.Cluster{Version: 1}})
	// Output:
	// 1 configure
	// 2 observe
	// 3 load
	//    looking at the data directory
	//    looking at the data directory
	// 4 observe
	//    reading the store
	// 5 keep session
	//    announcing ourselves first
}

// The division of one term of authority at the default ttl: when a leader that cannot renew acts, and when the fence does.
func ExampleNewBudget() {
	sent := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	b := ha.NewBudget(ha.Authority{Sent: sent, TTL: 30 * time.Second}, 10*time.Second)
	fmt.Println("renewed every   ", b.Period)
	fmt.Println("stopped in order", b.Rule.Sub(sent))
	fmt.Println("fence: SIGINT   ", b.Fast.Sub(sent))
	fmt.Println("fence: SIGQUIT  ", b.Quit.Sub(sent))
	fmt.Println("fence: SIGKILL  ", b.Kill.Sub(sent))
	fmt.Println("over            ", b.End.Sub(sent))
	// Output:
	// renewed every    10s
	// stopped in order 25.6s
	// fence: SIGINT    26.6s
	// fence: SIGQUIT   28.6s
	// fence: SIGKILL   29.6s
	// over             30s
}
