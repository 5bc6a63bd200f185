package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/memory"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// host is one machine: a server, and a node that looks after it. It is the node's Clock, Recorder and Peers.
type host struct {
	c        *cluster
	name     string
	priority int // failover_priority: who goes first among equals
	server   *server
	runs     int // how often the node was started

	node    *ha.Node
	backend *memory.Backend
	client  *dcs.Client
	hints   chan dcs.Hint
	stop    context.CancelFunc
	ended   chan error

	// Guarded by cluster.mu.
	alive                 bool
	timer                 *timer        // what the node waits for; nil: it is at work
	ahead                 time.Duration // of a dead host's time, against the cluster's
	hintsSent, hintsTaken int
}

// hintStore is a dcs.Client whose hints come from the harness, in step with everything else.
type hintStore struct {
	*dcs.Client
	hints chan dcs.Hint
}

// Hints implements ha.Store.
func (s hintStore) Hints() <-chan dcs.Hint { return s.hints }

// start makes a node that knows nothing and lets it run.
func (h *host) start() error {
	h.runs++
	h.hints = make(chan dcs.Hint, 1024) // more than one request can change
	h.backend = h.c.store.Backend()
	h.client = dcs.NewClient(h.backend, dcs.Options{Scope: "demo", Name: h.name})
	settings := ha.DefaultSettings()
	settings.Tags.FailoverPriority = h.priority
	settings.Tags.All = map[string]any{"failover_priority": h.priority}
	node, err := ha.NewNode(ha.Config{
		Name: h.name, Scope: "demo", StartID: fmt.Sprint(h.name, h.runs), Version: "4.1.4",
		ConnURL: "postgres://" + h.name + ":5432/postgres", APIURL: "http://" + h.name + ":8008/patroni",
		BootstrapConfig: []byte(`{}`),
		Clock:           h, Recorder: h, Peers: h,
		Store: hintStore{h.client, h.hints}, Postgres: h.server, Fence: ha.Unfenced{},
		Parse: ha.Always(settings), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	h.node, h.stop, h.ended = node, stop, make(chan error, 1)
	h.c.mu.Lock()
	h.alive, h.ahead, h.timer, h.hintsSent, h.hintsTaken = true, 0, nil, 0, 0
	h.c.mu.Unlock()
	go func() {
		err := node.Run(ctx)
		h.forget()
		h.ended <- err
	}()
	return nil
}

// end stops the node in order.
func (h *host) end() error {
	h.stop()
	if _, err := h.node.Wait(context.Background(), func(st *ha.Status) bool { return st.ShuttingDown }); err != nil {
		return err
	}
	if err := h.c.until("the end of "+h.name, func() bool { return !h.reachable() }); err != nil {
		return err
	}
	return errors.Join(<-h.ended, h.client.Close(context.Background()), h.backend.Close())
}

// kill takes the host off the network and switches it off, in the middle of whatever it does. Nothing that its node does from now on reaches
// anybody.
func (h *host) kill() error {
	h.server.power(false)
	h.backend.Inject(func(memory.Op) memory.Fate { return memory.RequestLost })
	h.forget()
	h.stop()
	<-h.ended
	return h.backend.Close()
}

// forget takes a node that is dead or has ended out of the cluster's time: what it waits for comes at once.
func (h *host) forget() {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	h.alive = false
	if h.timer != nil {
		h.timer.fired <- struct{}{}
		h.timer = nil
	}
	h.c.changed.Broadcast()
}

// timer is a wait for the harness's clock.
type timer struct {
	at    time.Time
	fired chan struct{}
}

// Now implements ha.Clock. Each look takes a microsecond, so that what came first is also earlier: a node compares times to tell whether
// it has looked at its server since something was done to it.
func (h *host) Now() time.Time {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	h.c.now = h.c.now.Add(time.Microsecond)
	return h.c.now.Add(h.ahead)
}

// At implements ha.Clock. A node has one timer at a time, and makes it when it has nothing left to do. The time of a host that is dead jumps
// to whatever its node waits for, once that waits for nothing else, so that it comes to its end.
func (h *host) At(t time.Time) (<-chan struct{}, func()) {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	w := &timer{t, make(chan struct{}, 1)}
	now := h.c.now.Add(h.ahead)
	if !h.alive && t.After(now) && len(h.node.Status().Busy) == 0 {
		h.ahead += t.Sub(now)
		now = t
	}
	if t.After(now) {
		h.timer = w
	} else {
		w.fired <- struct{}{}
	}
	h.c.changed.Broadcast()
	return w.fired, func() { h.release(w) }
}

// release says that the node has stopped waiting.
func (h *host) release(w *timer) {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	if h.timer == w {
		h.timer = nil
	}
}

// fire ends the node's wait if it is due. The cluster's lock is held.
func (h *host) fire() {
	if w := h.timer; w != nil && !w.at.After(h.c.now) {
		h.timer = nil
		w.fired <- struct{}{}
	}
}

// Record implements ha.Recorder. It counts the hints that the node has taken.
func (h *host) Record(e ha.RecordEntry) {
	if _, ok := e.Event.(ha.Hinted); ok {
		h.c.mu.Lock()
		defer h.c.mu.Unlock()
		h.hintsTaken++
	}
}

// Poll implements ha.Peers: it asks the other nodes directly, where a real one asks over HTTP.
func (h *host) Poll(ctx context.Context, members []dcs.Member) []ha.PeerAnswer {
	answers := make([]ha.PeerAnswer, len(members))
	for i, m := range members {
		answers[i] = h.ask(ctx, m.Name)
	}
	return answers
}

// Await implements ha.Peers. It does not wait: the node asks again a moment later.
func (h *host) Await(ctx context.Context, m dcs.Member, _ postgres.LSN) (ha.PeerAnswer, error) {
	return h.ask(ctx, m.Name), nil
}

// Failsafe implements ha.Peers.
func (h *host) Failsafe(ctx context.Context, members map[string]string, ask ha.FailsafeAsk) []ha.FailsafeAnswer {
	var answers []ha.FailsafeAnswer
	for name := range members {
		a := ha.FailsafeAnswer{Name: name, Problem: "no route to host"}
		if other := h.c.host(name); other.reachable() && h.reachable() {
			said, err := other.node.Submit(ctx, ha.Failsafe{Ask: ask})
			a.Accepted, a.Promise, a.Problem = err == nil && said.Promise > 0, said.Promise, said.Refused
		}
		answers = append(answers, a)
	}
	return answers
}

func (h *host) ask(ctx context.Context, name string) ha.PeerAnswer {
	other := h.c.host(name)
	if !other.reachable() || !h.reachable() {
		return ha.PeerAnswer{Name: name, Problem: "no route to host"}
	}
	look, err := other.node.Submit(ctx, ha.Look{})
	if err != nil {
		return ha.PeerAnswer{Name: name, Problem: err.Error()}
	}
	st := other.node.Status()
	a := ha.PeerAnswer{Name: name, Reachable: true, StartID: st.StartID, Role: st.Role, State: st.State, Tags: st.Settings.Tags}
	if s := look.Observed.SQL; s != nil {
		a.InRecovery, a.Writable, a.Position = s.InRecovery, !s.InRecovery, s.Position()
	}
	return a
}

func (h *host) reachable() bool {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	return h.alive
}
