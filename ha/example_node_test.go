package ha_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/memory"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/bootclock"
	"github.com/tanist-ha/tanist/postgres"
)

// toy is a server that exists in memory only. A real one is an instance.Instance.
type toy struct {
	exits     chan postgres.Exit
	disturbed chan postgres.Postmaster

	mu      sync.Mutex
	found   bool // there is data
	pid     int  // 0: down
	silent  bool // it answers no SQL
	primary bool
	closed  bool
}

// Observe implements ha.Postgres.
func (s *toy) Observe(context.Context) postgres.Observation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.found {
		return postgres.Observation{DataDir: postgres.DataDirEmpty}
	}
	o := postgres.Observation{DataDir: postgres.DataDirReady, Control: &postgres.Control{SystemID: "7000000000000000001", Timeline: 1}}
	if s.pid != 0 {
		o.Postmaster = &postgres.Postmaster{PID: s.pid, Start: 1}
		o.Closed = s.closed
	}
	if s.pid != 0 && !s.silent {
		o.Accepting = postgres.AcceptingYes
		o.SQL = &postgres.SQLFacts{InRecovery: !s.primary, Timeline: 1, Flush: 0x3000100, Received: 0x3000100}
	}
	return o
}

// Run implements ha.Postgres.
func (s *toy) Run(_ context.Context, t postgres.Task, _ func(postgres.Phase)) (postgres.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch t.Kind {
	case postgres.TaskBootstrap:
		s.found, s.pid, s.primary, s.closed = true, 4711, true, true
		return postgres.Outcome{SystemID: "7000000000000000001"}, nil
	case postgres.TaskOpen:
		s.closed = false
	case postgres.TaskStart:
		s.pid, s.primary = s.pid+1, t.AsPrimary
	case postgres.TaskPromote:
		s.primary = true
	case postgres.TaskStop:
		s.pid = 0
		return postgres.Outcome{Clean: true, End: 0x3000178}, nil
	}
	return postgres.Outcome{}, nil
}

// Configure implements ha.Postgres.
func (s *toy) Configure(context.Context, postgres.Settings) error { return nil }

// EnsureSlots implements ha.Postgres.
func (s *toy) EnsureSlots(context.Context, []string) error { return nil }

// Exits implements ha.Postgres.
func (s *toy) Exits() <-chan postgres.Exit { return s.exits }

// hush makes the server answer no SQL, or answer again.
func (s *toy) hush(silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = silent
}

// Disturbed implements ha.Postgres.
func (s *toy) Disturbed() <-chan postgres.Postmaster { return s.disturbed }

// Kill implements ha.Postgres.
func (s *toy) Kill(string) error { return nil }

// nobody is the Peers of a cluster of one.
type nobody struct{}

// Poll implements ha.Peers.
func (nobody) Poll(_ context.Context, members []dcs.Member) []ha.PeerAnswer {
	return make([]ha.PeerAnswer, len(members))
}

// Failsafe implements ha.Peers.
func (nobody) Failsafe(context.Context, map[string]string, ha.FailsafeAsk) []ha.FailsafeAnswer {
	return nil
}

// Await implements ha.Peers.
func (nobody) Await(context.Context, dcs.Member, postgres.LSN) (ha.PeerAnswer, error) {
	return ha.PeerAnswer{}, errors.New("there is nobody else")
}

// A node on the memory backend, with a server of the embedder's own: it founds a cluster, leads it, and ends in order.
func Example() {
	clock, err := bootclock.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	backend := memory.New(memory.Options{}).Backend()
	defer backend.Close()
	store := dcs.NewClient(backend, dcs.Options{Scope: "main", Name: "a"})
	node, err := ha.NewNode(ha.Config{
		Name: "a", Scope: "main", StartID: "1", Version: "4.1.4",
		ConnURL: "postgres://127.0.0.1:5432/postgres", APIURL: "http://127.0.0.1:8008/patroni",
		BootstrapConfig: []byte(`{"ttl":30}`), // this node may found the cluster
		Clock:           clock,
		Store:           store,
		Postgres:        &toy{},
		Peers:           nobody{},
		Fence:           ha.Unfenced{}, // nothing in memory can outlive this process
		Parse:           ha.Always(ha.DefaultSettings()),
		Logger:          slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	ended := make(chan error)
	go func() { ended <- node.Run(ctx) }()

	status, err := node.Wait(ctx, func(s *ha.Status) bool { return s.Writable(node.Now()) && s.Reason.Rule == "leader.idle" })
	fmt.Println(status.Reason.Text, err)
	fmt.Println("passed over, among others:", node.Explain().Passed[0].Rule)

	stop() // the server is stopped, the leader key given up
	fmt.Println("ended with:", <-ended)
	fmt.Println(node.Status().Reason.Text)
	fmt.Println("closed with:", store.Close(context.Background()))
	// Output:
	// no action. I am (a), the leader with the lock <nil>
	// passed over, among others: authority.overdue
	// ended with: <nil>
	// the agent has ended in order
	// closed with: <nil>
}
