package ha_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/memory"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/flight"
	"github.com/tanist-ha/tanist/postgres"
)

// These tests run whole nodes in a bubble of fake time: nothing takes real time, and a wait that nothing ends fails at once.

// bubbleClock is the time of the bubble.
type bubbleClock struct{}

func (bubbleClock) Now() time.Time { return time.Now().Round(0).UTC() }

func (bubbleClock) At(t time.Time) (<-chan struct{}, func()) {
	fired := make(chan struct{}, 1)
	timer := time.AfterFunc(time.Until(t), func() { fired <- struct{}{} })
	return fired, func() { timer.Stop() }
}

// trial is a node that runs in the bubble, on a store of its own.
type trial struct {
	*ha.Node
	t     *testing.T
	store *memory.Store
	log   *logged
	stop  context.CancelFunc
	ended chan error
}

// logged keeps lines of the log.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, strings.TrimSpace(string(p)))
	return len(p), nil
}

// begin makes a node with server and lets it run until the test stops it.
func begin(t *testing.T, server ha.Postgres, change func(*ha.Config)) *trial {
	t.Helper()
	r := &trial{t: t, log: &logged{}, ended: make(chan error, 1)}
	r.store = memory.New(memory.Options{})
	backend := r.store.Backend()
	client := dcs.NewClient(backend, dcs.Options{Scope: "main", Name: "a"})
	cfg := ha.Config{
		Name: "a", Scope: "main", StartID: "1", Version: "4.1.4",
		ConnURL: "postgres://127.0.0.1:5432/postgres", APIURL: "http://127.0.0.1:8008/patroni",
		BootstrapConfig: []byte(`{}`), Clock: bubbleClock{}, Store: client, Postgres: server, Peers: nobody{}, Fence: ha.Unfenced{},
		Parse: ha.Always(ha.DefaultSettings()), Logger: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	node, err := ha.NewNode(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Node = node
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	t.Cleanup(func() {
		stop()
		if err := errors.Join(client.Close(context.Background()), backend.Close()); err != nil {
			t.Error(err)
		}
	})
	go func() { r.ended <- node.Run(ctx) }()
	return r
}

// until waits for a status.
func (r *trial) until(what string, ok func(*ha.Status) bool) *ha.Status {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Hour)
	defer cancel()
	st, err := r.Wait(ctx, ok)
	if err != nil {
		r.t.Fatalf("waited for %s: %v; at last: %s: %s", what, err, st.Reason.Rule, st.Reason.Text)
	}
	return st
}

func (r *trial) leading() {
	r.t.Helper()
	r.until("leading", func(s *ha.Status) bool { return s.Writable(r.Now()) && s.Reason.Rule == "leader.idle" })
}

// end stops the node in order.
func (r *trial) end() {
	r.t.Helper()
	r.stop()
	if err := <-r.ended; err != nil {
		r.t.Errorf("Run: %v", err)
	}
}

// in runs f in a bubble.
func in(f func(t *testing.T)) func(t *testing.T) {
	return func(t *testing.T) { synctest.Test(t, f) }
}

func TestSubmit(t *testing.T) {
	t.Run("a look is newer than the question", in(func(t *testing.T) {
		r := begin(t, &toy{}, nil)
		r.leading()
		time.Sleep(3 * time.Second)
		asked := r.Now()
		a, err := r.Submit(t.Context(), ha.Look{})
		if err != nil || a.ObservedAt.Before(asked) || a.Observed.SQL == nil {
			t.Errorf("asked at %v: %+v, %v", asked, a, err)
		}
		r.end()
	}))
	t.Run("a position that is reached", in(func(t *testing.T) {
		r := begin(t, &toy{}, nil)
		r.leading()
		if a, err := r.Submit(t.Context(), ha.Await{LSN: 0x3000100}); err != nil || a.Observed.SQL == nil {
			t.Errorf("%+v, %v", a, err)
		}
		r.end()
	}))
	t.Run("who gives up is forgotten", in(func(t *testing.T) {
		r := begin(t, &toy{}, nil)
		r.leading()
		gone := errors.New("the caller is gone")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, gone)
		defer cancel()
		if _, err := r.Submit(ctx, ha.Await{LSN: 0x9000000}); !errors.Is(err, gone) {
			t.Errorf("an LSN that is never reached: %v", err)
		}
		synctest.Wait()
		before := r.Status().RuleCounts["pulse.answer"]
		time.Sleep(time.Minute)
		if after := r.Status().RuleCounts["pulse.answer"]; after != before {
			t.Errorf("the node went on looking %d times for nobody", after-before)
		}
		r.end()
	}))
	t.Run("many at once share looks", in(func(t *testing.T) {
		r := begin(t, &toy{}, nil)
		r.leading()
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if _, err := r.Submit(t.Context(), ha.Look{}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		r.end()
	}))
	t.Run("a node that has ended says so", in(func(t *testing.T) {
		r := begin(t, &toy{}, nil)
		r.leading()
		r.end()
		for range 1000 { // more than any queue holds
			if _, err := r.Submit(t.Context(), ha.Look{}); !errors.Is(err, ha.ErrStopped) {
				t.Fatal(err)
			}
		}
	}))
	t.Run("the end of the node answers those who wait", in(func(t *testing.T) {
		r := begin(t, &toy{}, nil)
		r.leading()
		failed := make(chan error)
		go func() {
			_, err := r.Submit(context.Background(), ha.Await{LSN: 0x9000000})
			failed <- err
		}()
		synctest.Wait()
		r.end()
		if err := <-failed; !errors.Is(err, ha.ErrStopped) {
			t.Error(err)
		}
	}))
	t.Run("a node that does not run yet", in(func(t *testing.T) {
		node, err := ha.NewNode(ha.Config{Name: "a", Scope: "main", Clock: bubbleClock{}, Store: dcs.NewClient(memory.New(memory.Options{}).Backend(), dcs.Options{}),
			Postgres: &toy{}, Peers: nobody{}, Fence: ha.Unfenced{}, Parse: ha.Always(ha.DefaultSettings()), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := node.Submit(ctx, ha.Look{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}))
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := begin(t, &toy{}, nil)
		r.leading()
		waited := make(chan error)
		go func() {
			_, err := r.Wait(context.Background(), func(s *ha.Status) bool { return s.Name == "b" })
			waited <- err
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if st, err := r.Wait(ctx, func(*ha.Status) bool { return false }); !errors.Is(err, context.DeadlineExceeded) || st == nil {
			t.Errorf("%v, %v", st, err)
		}
		r.end()
		if err := <-waited; !errors.Is(err, ha.ErrStopped) {
			t.Errorf("what never comes true: %v", err)
		}
		if st, err := r.Wait(t.Context(), func(s *ha.Status) bool { return s.ShuttingDown }); err != nil || st.Reason.Rule != "shutdown.quit" {
			t.Errorf("the last status: %v, %v", st.Reason, err)
		}
	})
}

// What happens to the server between two looks is seen at once, and so is that it is over.
func TestDisturbance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &toy{disturbed: make(chan postgres.Postmaster)}
		r := begin(t, server, nil)
		r.leading()
		time.Sleep(time.Second)
		at := r.Now()
		server.hush(true)
		server.disturbed <- postgres.Postmaster{PID: 4711, Start: 1}
		r.until("the server does not answer", func(s *ha.Status) bool { return !s.Accepting && s.Reason.Rule == "leader.not-ready" })
		if took := r.Now().Sub(at); took != 0 {
			t.Errorf("it was looked at %v later", took)
		}
		server.hush(false)
		r.leading()
		if took := r.Now().Sub(at); took > time.Second {
			t.Errorf("it counts as away for %v", took)
		}
		r.end()
	})
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := begin(t, &toy{}, nil)
		r.leading()
		s := ha.DefaultSettings()
		s.TTL, s.LoopWait = 45*time.Second, 5*time.Second
		r.Reload(s)
		st := r.until("authority over 45 s", func(s *ha.Status) bool { return s.Authority.TTL == 45*time.Second })
		if st.Settings.LoopWait != 5*time.Second || !st.Writable(r.Now()) {
			t.Errorf("%+v", st.Settings)
		}
		r.end()
		for range 1000 {
			r.Reload(s) // does not block
		}
	})
}

func TestRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := begin(t, &toy{}, nil)
		r.leading()
		for range 2 {
			if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "make another one") {
				t.Errorf("Run again: %v", err)
			}
			r.stop()
			synctest.Wait()
		}
		r.end()
	})
}

func TestContextThatHasEndedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := begin(t, &toy{}, func(cfg *ha.Config) { cfg.BootstrapConfig = nil })
		r.end()
		if st := r.Status(); st.Reason.Rule != "shutdown.quit" || st.Leads(r.Now()) {
			t.Errorf("%+v", st.Reason)
		}
	})
}

// stubborn is a server whose stop, once it has been signalled, takes until release is closed.
type stubborn struct {
	*toy
	signalled, release chan struct{}
	cancellable        bool // ends with its context all the same
	stopped            sync.Once
}

func newStubborn() *stubborn {
	return &stubborn{toy: &toy{}, signalled: make(chan struct{}), release: make(chan struct{})}
}

func (s *stubborn) Run(ctx context.Context, t postgres.Task, phase func(postgres.Phase)) (postgres.Outcome, error) {
	if t.Kind != postgres.TaskStop {
		return s.toy.Run(ctx, t, phase)
	}
	phase(postgres.Phase{Name: postgres.PhaseSignalled})
	s.stopped.Do(func() { close(s.signalled) })
	if !s.cancellable {
		ctx = context.WithoutCancel(ctx)
	}
	select {
	case <-s.release:
		return s.toy.Run(ctx, t, phase)
	case <-ctx.Done():
		return postgres.Outcome{}, context.Cause(ctx)
	}
}

func TestShutdownWaitsForTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newStubborn()
		r := begin(t, server, nil)
		r.leading()
		r.stop()
		<-server.signalled
		r.stop() // a second time changes nothing
		time.Sleep(10 * time.Minute)
		select {
		case err := <-r.ended:
			t.Fatalf("the node ended over a running server: %v", err)
		default:
		}
		if st := r.Status(); !st.Leads(r.Now()) {
			t.Errorf("the leader key was not kept over a server that has not stopped: %s", st.Reason.Text)
		}
		close(server.release)
		r.end()
	})
}

func TestShutdownTimeout(t *testing.T) {
	for name, cancellable := range map[string]bool{"the stop can be cancelled": true, "the stop cannot be cancelled": false} {
		t.Run(name, in(func(t *testing.T) {
			server := newStubborn()
			server.cancellable = cancellable
			r := begin(t, server, func(cfg *ha.Config) { cfg.ShutdownTimeout = time.Minute })
			r.leading()
			asked := r.Now()
			r.stop()
			err := <-r.ended
			took := r.Now().Sub(asked)
			if err == nil || !strings.Contains(err.Error(), "left as it is") || took < time.Minute || took > time.Minute+5*time.Second {
				t.Errorf("after %v: %v", took, err)
			}
			if _, err := r.Submit(t.Context(), ha.Look{}); !errors.Is(err, ha.ErrStopped) {
				t.Errorf("Submit: %v", err)
			}
			close(server.release) // its end reaches nobody, and blocks nothing
		}))
	}
}

// A data directory of another cluster ends the node and leaves the server alone.
func TestFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &toy{found: true, pid: 4711, primary: true}
		r := begin(t, server, func(cfg *ha.Config) {
			if err := cfg.Store.SetInitialize(t.Context(), nil, "7000000000000000009"); err != nil {
				t.Fatal(err)
			}
		})
		err := <-r.ended
		if err == nil || !strings.Contains(err.Error(), "belongs to a different cluster") || server.pid != 4711 {
			t.Errorf("%v; pid %d", err, server.pid)
		}
	})
}

// What a node was told, and what it asked for, can be computed again.
func TestRecordOfANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, err := flight.Open(flight.Options{Keep: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		r := begin(t, &toy{exits: make(chan postgres.Exit)}, func(cfg *ha.Config) { cfg.Recorder = rec })
		r.leading()
		for range 500 {
			if _, err := r.Submit(t.Context(), ha.Look{}); err != nil {
				t.Fatal(err)
			}
		}
		r.end()
		entries := rec.Entries()
		begins := slices.IndexFunc(entries[1:], func(e ha.RecordEntry) bool { return e.Start != nil })
		if len(entries) < 500 || entries[0].Start == nil || begins < 0 {
			t.Fatalf("%d entries, the second checkpoint after %d", len(entries), begins)
		}
		for _, d := range ha.Replay(entries) {
			t.Error(d)
		}
	})
}

// Each changed decision of weight is one line.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := begin(t, &toy{}, nil)
		r.leading()
		time.Sleep(10 * time.Minute)
		r.end()
		idle := 0
		for _, line := range r.log.lines {
			if strings.Contains(line, "the leader with the lock") {
				idle++
			}
		}
		if idle != 1 {
			t.Errorf("ten minutes of rest make %d lines:\n%s", idle, strings.Join(r.log.lines, "\n"))
		}
	})
}

// Rules that never come to rest are named in one line for each event that they do it after, and the node goes on (safety 14.4).
func TestOverrunIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		right := checkOf("leader.idle")
		rules, err := ha.StandardRules().Replace("leader.idle", func(now time.Time, v *ha.View) ha.Verdict {
			if broken.Load() {
				return ha.Act("never content", ha.ForgetClaim{})
			}
			return right(now, v)
		})
		if err != nil {
			t.Fatal(err)
		}
		r := begin(t, &toy{}, func(cfg *ha.Config) { cfg.Rules = rules })
		r.leading()
		broken.Store(true)
		first := r.until("an overrun", func(s *ha.Status) bool { return s.Overruns > 0 }).Overruns
		time.Sleep(time.Second)
		if more := r.Status().Overruns - first; more < 9 || more > 30 { // ten pauses, and events of that second
			t.Errorf("%d overruns within a second", more)
		}
		broken.Store(false)
		r.leading()
		overruns := r.Status().Overruns
		r.end()
		lines := 0
		for _, line := range r.log.lines {
			if strings.Contains(line, "do not come to an end") {
				lines++
				if !strings.Contains(line, "level=ERROR") || !strings.Contains(line, "leader.idle leader.idle") || !strings.Contains(line, "event=ha.") {
					t.Errorf("the line says too little: %s", line)
				}
			}
		}
		if lines != overruns {
			t.Errorf("%d lines for %d overruns:\n%s", lines, overruns, strings.Join(r.log.lines, "\n"))
		}
	})
}

// checkOf is a standard rule.
func checkOf(id ha.RuleID) func(time.Time, *ha.View) ha.Verdict {
	for _, s := range ha.StandardRules().Sections {
		for _, r := range s.Rules {
			if r.ID == id {
				return r.Check
			}
		}
	}
	panic("no rule " + id)
}

func TestNewNodeSaysAllThatIsMissing(t *testing.T) {
	_, err := ha.NewNode(ha.Config{})
	for _, want := range []string{"Name", "Scope", "Clock", "Store", "Postgres", "Peers", "Fence is nil: pass ha.Unfenced{}", "Parse", "Logger"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	broken := errors.New("broken")
	cfg := ha.Config{Name: "a", Scope: "main", Clock: bubbleClock{}, Store: dcs.NewClient(nil, dcs.Options{}), Postgres: &toy{}, Peers: nobody{},
		Fence: ha.Unfenced{}, Parse: func([]byte) (ha.Settings, error) { return ha.Settings{}, broken }, Logger: slog.New(slog.DiscardHandler)}
	if _, err := ha.NewNode(cfg); !errors.Is(err, broken) {
		t.Errorf("settings that cannot be had: %v", err)
	}
}

// heard collects what the user's commands would be told.
type heard struct{ calls []string }

func (h *heard) Notify(n ha.Notification) {
	h.calls = append(h.calls, n.Command+" "+n.Action+" "+string(n.Role))
}

func TestHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hooks := &heard{}
		r := begin(t, &toy{}, func(cfg *ha.Config) {
			s := ha.DefaultSettings()
			s.Postgres.Callbacks = map[string]string{"on_start": "up", "on_stop": "down", "on_role_change": "changed"}
			cfg.Hooks, cfg.Parse = hooks, ha.Always(s)
		})
		r.leading()
		time.Sleep(time.Hour)
		r.end()
		if want := []string{"up on_start primary", "down on_stop primary"}; !slices.Equal(hooks.calls, want) {
			t.Errorf("%q, want %q", hooks.calls, want)
		}
	})
}

// A store that refuses at once is asked ten times a second, not as often as it can say no.
func TestStoreThatRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuses := errors.New("connection refused")
		var store *refusing
		r := begin(t, &toy{}, func(cfg *ha.Config) {
			store = &refusing{Store: cfg.Store}
			cfg.Store = store
		})
		r.leading()
		store.set(refuses)
		time.Sleep(10 * time.Second)
		if n := store.set(refuses); n > 150 {
			t.Errorf("a leader asks %d times in 10 s", n)
		}
		r.stop()
		began := r.Now()
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
		n, took := store.set(nil), r.Now().Sub(began)
		if n > 20+int(took/(50*time.Millisecond)) {
			t.Errorf("a node that ends asks %d times in %s", n, took)
		}
	})
}

// refusing is a store that answers every request with an error, once it is set, and counts them.
type refusing struct {
	ha.Store
	mu    sync.Mutex
	err   error
	asked int
}

// set makes err the answer, and returns how many requests there were since the last call.
func (s *refusing) set(err error) (asked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked, s.asked = s.asked, 0
	if s.err = err; err != nil {
		s.err = errors.Join(err, dcs.ErrUnavailable)
	}
	return asked
}

func (s *refusing) answer() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.err
}

func (s *refusing) Load(ctx context.Context) (dcs.Cluster, error) {
	if err := s.answer(); err != nil {
		return dcs.Cluster{}, err
	}
	return s.Store.Load(ctx)
}

func (s *refusing) Renew(ctx context.Context, r dcs.Renew) (dcs.Held, error) {
	if err := s.answer(); err != nil {
		return dcs.Held{}, err
	}
	return s.Store.Renew(ctx, r)
}

func (s *refusing) Release(ctx context.Context, r dcs.Release) error {
	if err := s.answer(); err != nil {
		return err
	}
	return s.Store.Release(ctx, r)
}

func (s *refusing) KeepAlive(ctx context.Context, r dcs.KeepAlive) (dcs.Alive, error) {
	if err := s.answer(); err != nil {
		return dcs.Alive{}, err
	}
	return s.Store.KeepAlive(ctx, r)
}

func (s *refusing) PutMember(ctx context.Context, m dcs.MemberData) error {
	if err := s.answer(); err != nil {
		return err
	}
	return s.Store.PutMember(ctx, m)
}

// slowFence takes a moment to acknowledge.
type slowFence struct{ lost chan ha.FenceLoss }

func (slowFence) Arm(context.Context, ha.FenceOrder) error {
	time.Sleep(10 * time.Millisecond)
	return nil
}

func (slowFence) Disarm(context.Context, *postgres.Postmaster) error { return nil }
func (f slowFence) Lost() <-chan ha.FenceLoss                        { return f.lost }
func (slowFence) Describe() string                                   { return "slow" }

// staller is a recorder that keeps the node from its work for a while, once: at the first look at the server after its fence was lost.
type staller struct{ lost, stalled bool }

func (s *staller) Record(e ha.RecordEntry) {
	switch e.Event.(type) {
	case ha.FenceLost:
		s.lost = true
	case ha.Observed:
		if s.lost && !s.stalled {
			s.stalled = true
			time.Sleep(150 * time.Millisecond)
		}
	}
}

// A fence that acknowledges in time guards the server, also if the agent had no processor when the 100 ms of safety 5.7 were over: what the
// fence has said is heard before anything is decided.
func TestAcknowledgementIsHeardFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fence, stall := slowFence{make(chan ha.FenceLoss)}, &staller{}
		r := begin(t, &toy{}, func(cfg *ha.Config) { cfg.Fence, cfg.Recorder = fence, stall })
		r.leading()
		time.Sleep(time.Second)
		fence.lost <- ha.FenceLoss{Cause: "killed"}
		time.Sleep(5 * time.Millisecond)
		if _, err := r.Submit(t.Context(), ha.Look{}); err != nil { // waits before the acknowledgement
			t.Fatal(err)
		}
		if !stall.stalled {
			t.Fatal("the node was never kept from its work")
		}
		if st := r.Status(); !st.Writable(r.Now()) || strings.Contains(strings.Join(r.log.lines, "\n"), "authority.unguarded") {
			t.Errorf("the server was stopped: %s", st.Reason.Text)
		}
		r.end()
	})
}
