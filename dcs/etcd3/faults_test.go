package etcd3_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/etcdtest"
	"github.com/tanist-ha/tanist/internal/faultproxy"
	"github.com/tanist-ha/tanist/internal/servertest"
)

// TestLostReply: the request went through and its answer did not: the fate is unknown, and never a conflict.
func TestLostReply(t *testing.T) {
	servertest.Slow(t)
	servers := etcdtest.Start(t, etcdtest.Options{})
	direct := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)})
	b, proxies := proxied(t, servers)
	x := session(t, b, 30*time.Second)
	put(t, b, "/members/a", "1", x)
	hints, err := direct.Watch(within(t, limit), "/leader")
	if err != nil {
		t.Fatal(err)
	}

	const silent = "the server hangs, or what is sent to it is lost on the way"
	proxies[0].Set(faultproxy.DropReplies)
	_, err = b.Apply(within(t, short), dcs.Txn{
		If: []dcs.Cond{{Key: "/leader", Absent: true}},
		Do: []dcs.Write{{Key: "/leader", Value: []byte("a"), Session: x}},
	})
	wantError(t, err, dcs.ErrUnknown, silent)
	if h := <-hints; h.Key != "/leader" {
		t.Fatalf("hint of %+v", h)
	}
	if e := get(t, direct, "/leader"); e == nil || e.Session != x.ID() {
		t.Fatalf("the write did not go through: %+v", e)
	}
	_, err = x.KeepAlive(within(t, short))
	wantError(t, err, dcs.ErrUnknown, silent)
	_, err = b.Read(within(t, short), "/")
	wantError(t, err, dcs.ErrUnavailable, silent)

	proxies[0].Set(faultproxy.Pass)
	if _, err := x.Confirm(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: "/leader", Session: x.ID()}}}); err != nil {
		t.Fatal(err)
	}
}

// TestNothingListens: what was certainly not sent is unavailable, not unknown, and says why.
func TestNothingListens(t *testing.T) {
	servertest.Slow(t)
	b := open(t, etcd3.Config{Endpoints: []string{servertest.FreeAddress(t), servertest.FreeAddress(t)}})
	const why = "nothing listens there: is etcd running?"
	_, err := b.Read(within(t, short), "/")
	wantError(t, err, dcs.ErrUnavailable, why)
	_, err = b.Apply(within(t, short), dcs.Txn{Do: []dcs.Write{{Key: "/k"}}})
	wantError(t, err, dcs.ErrUnavailable, why)
	if errors.Is(err, dcs.ErrUnknown) {
		t.Fatalf("unknown: %v", err)
	}
	_, err = b.OpenSession(within(t, short), time.Second)
	wantError(t, err, dcs.ErrUnavailable, why)
	_, err = b.Watch(within(t, short), "/")
	wantError(t, err, dcs.ErrUnavailable, why)
}

// retryTimeout is the default of retry_timeout, which bounds each request of an agent.
const retryTimeout = 10 * time.Second

// TestUnreachable: who waits for a connection until the time is over is told where to, and what may be in the way.
func TestUnreachable(t *testing.T) {
	servertest.Slow(t)
	where := servertest.Unreachable(t)
	for _, d := range []time.Duration{short, 6 * time.Second} { // an attempt to connect is given up after 5 s
		b := open(t, etcd3.Config{Endpoints: []string{where}})
		_, err := b.Read(within(t, d), "/")
		wantError(t, err, dcs.ErrUnavailable, "is the host up and its address right, does a firewall drop what is sent to it, or does the server hang?")
		if !strings.Contains(err.Error(), where) {
			t.Errorf("%q does not say where", err)
		}
	}
}

// TestFailover: whatever is wrong with the endpoint in use, another one serves the request within retry_timeout (safety 2.5).
func TestFailover(t *testing.T) {
	servertest.Slow(t)
	servers := etcdtest.Start(t, etcdtest.Options{Members: 3})
	for name, fault := range map[string]faultproxy.Mode{
		"gone": faultproxy.Cut, "silent": faultproxy.HalfOpen, "deaf": faultproxy.DropReplies,
	} {
		t.Run(name, func(t *testing.T) {
			b, proxies := proxied(t, servers)
			x := session(t, b, 30*time.Second)
			put(t, b, "/leader", "a", x)
			hints, err := b.Watch(within(t, limit), "/")
			if err != nil {
				t.Fatal(err)
			}
			proxies[0].Set(fault)
			if _, err := b.Read(within(t, retryTimeout), "/"); err != nil {
				t.Fatal(err)
			}
			ctx := within(t, limit)
			closed(t, hints) // the silent endpoint has lost its watch
			if _, err := x.Confirm(ctx, dcs.Txn{If: []dcs.Cond{{Key: "/leader", Value: []byte("a")}}}); err != nil {
				t.Fatal(err)
			}
			put(t, b, "/k", "v", nil)
			if again, err := b.Watch(ctx, "/"); err != nil {
				t.Fatal(err)
			} else if put(t, b, "/k", "w", nil); (<-again).Key != "/k" {
				t.Fatal("the new watch does not tell")
			}
		})
	}
}

// TestWriteToSilentEndpoint: a write is not repeated elsewhere, and does not wait for all of its deadline.
func TestWriteToSilentEndpoint(t *testing.T) {
	servertest.Slow(t)
	b, proxies := proxied(t, etcdtest.Start(t, etcdtest.Options{Members: 3}))
	put(t, b, "/k", "v", nil)
	proxies[0].Set(faultproxy.HalfOpen)
	ctx := within(t, limit)
	_, err := b.Apply(ctx, dcs.Txn{Do: []dcs.Write{{Key: "/k", Value: []byte("w")}}})
	wantError(t, err, dcs.ErrUnknown, "")
	if ctx.Err() != nil {
		t.Fatal("the write has used up its context")
	}
	if e := get(t, b, "/k"); string(e.Value) != "v" {
		t.Fatalf("the write was made elsewhere: %+v", e)
	}
}

// TestFrozenMember: a stopped process keeps its connections open. Its cluster goes on, and so do we.
func TestFrozenMember(t *testing.T) {
	servertest.Slow(t)
	servers := etcdtest.Start(t, etcdtest.Options{Members: 3})
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers), InOrder: true})
	x := session(t, b, 30*time.Second)
	put(t, b, "/leader", "a", x)
	if err := servers[0].Pause(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = servers[0].Resume() }()
	if _, err := x.Confirm(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: "/leader", Session: x.ID()}}}); err != nil {
		t.Fatal(err)
	}
	// A loaded machine may make etcd elect a leader just now: then the fate of a write is unknown, and it is made again.
	again := dcs.Txn{Do: []dcs.Write{{Key: "/leader", Value: []byte("b"), Session: x}}}
	_, err := b.Apply(within(t, limit), again)
	for range 5 {
		if errors.Is(err, dcs.ErrUnknown) {
			_, err = b.Apply(within(t, limit), again)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestFrozenMemberWhileAuthenticating: who waits for a token of a frozen member does not keep others from asking another member for one. A
// connection that is frozen is given up by pings only after 13 s.
func TestFrozenMemberWhileAuthenticating(t *testing.T) {
	servertest.Slow(t)
	servers := etcdtest.Start(t, etcdtest.Options{Members: 3})
	enableAuth(t, official(t, clientv3.Config{Endpoints: etcdtest.Endpoints(servers)}), "tanist", "p", "/service/")
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers), Username: "tanist", Password: "p"})
	inUse, others := reading(t, b, servers)
	if err := inUse.Pause(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = inUse.Resume() }()
	leading(t, others)
	b.SetCredentials("root", "root") // there is no token, and a connection to the frozen member
	if _, err := b.Read(within(t, retryTimeout), "/service/"); err != nil {
		t.Fatal(err)
	}
}

// reading reads until one server alone has served it, and tells which.
func reading(t *testing.T, b *etcd3.Backend, servers []*etcdtest.Server) (inUse *etcdtest.Server, others []*etcdtest.Server) {
	t.Helper()
	for range 10 {
		before := ranges(t, servers)
		if _, err := b.Read(within(t, limit), "/service/"); err != nil {
			t.Fatal(err)
		}
		others = nil
		for i, n := range ranges(t, servers) {
			if n > before[i] {
				inUse = servers[i]
			} else {
				others = append(others, servers[i])
			}
		}
		if len(others) == len(servers)-1 {
			return inUse, others
		}
	}
	t.Fatal("each read was sent to more than one server")
	return nil, nil
}

// ranges tells how many reads each server has served.
func ranges(t *testing.T, servers []*etcdtest.Server) []int {
	t.Helper()
	var all []int
	for _, s := range servers {
		n, err := s.Handled(within(t, limit))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n["Range"])
	}
	return all
}

// TestBackAgain: requests that are under way when the store comes back are served, though it had been away for longer than the
// pauses between attempts grow.
func TestBackAgain(t *testing.T) {
	servertest.Slow(t)
	servers := etcdtest.Start(t, etcdtest.Options{})
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)})
	put(t, b, "/k", "v", nil)
	hints, err := b.Watch(within(t, limit), "/")
	if err != nil {
		t.Fatal(err)
	}
	servers[0].Kill()
	closed(t, hints)
	_, err = b.Read(within(t, 2*short), "/")
	wantError(t, err, dcs.ErrUnavailable, "")
	result := make(chan error, 1)
	go func() {
		_, err := b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: "/k", Value: []byte("w")}}})
		result <- err
	}()
	if err := servers[0].Restart(within(t, limit)); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

// TestEtcdLeaderChange: while members of etcd die one after the other and come back, a session that is confirmed again and again is never told
// that it has lost anything.
func TestEtcdLeaderChange(t *testing.T) {
	servertest.Slow(t)
	servers := etcdtest.Start(t, etcdtest.Options{Members: 3})
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)})
	x := session(t, b, 60*time.Second)
	tx := dcs.Txn{
		If: []dcs.Cond{{Key: "/leader", Created: put(t, b, "/leader", "a", x), Session: x.ID()}},
		Do: []dcs.Write{{Key: "/status", Value: []byte("1")}},
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			_, err := x.Confirm(ctx, tx)
			cancel()
			if errors.Is(err, dcs.ErrConflict) || errors.Is(err, dcs.ErrSessionLost) {
				t.Errorf("confirmation: %v", err)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	for _, s := range servers {
		s.Kill()
		get(t, b, "/k") // a new leader of etcd, where it needs one
		if err := s.Restart(within(t, limit)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-ended
	if _, err := x.Confirm(within(t, limit), tx); err != nil {
		t.Fatal(err)
	}
}

// TestMinority: a member without a majority of its cluster says so, and does not answer from what it has.
func TestMinority(t *testing.T) {
	servertest.Slow(t)
	servers := etcdtest.Start(t, etcdtest.Options{Members: 3})
	b := open(t, etcd3.Config{Endpoints: []string{servers[0].Endpoint}})
	put(t, b, "/k", "v", nil)
	servers[1].Kill()
	servers[2].Kill()
	_, err := b.Apply(within(t, 5*time.Second), dcs.Txn{If: []dcs.Cond{{Key: "/k", Value: []byte("v")}}})
	wantError(t, err, dcs.ErrUnavailable, "")
	_, err = b.Read(within(t, short), "/")
	wantError(t, err, dcs.ErrUnavailable, "")
	_, err = b.Apply(within(t, short), dcs.Txn{Do: []dcs.Write{{Key: "/k", Value: []byte("w")}}})
	if !errors.Is(err, dcs.ErrUnknown) && !errors.Is(err, dcs.ErrUnavailable) {
		t.Fatalf("write to a minority: %v", err)
	}
}
