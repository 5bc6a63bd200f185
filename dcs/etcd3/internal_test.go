package etcd3

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/tanist-ha/tanist/dcs"
)

// TestEra: an answer of a lower raft term is refused, one of another store is not, and a revision that goes back is another store.
func TestEra(t *testing.T) {
	e := &era{logger: slog.New(slog.DiscardHandler)}
	for i, step := range []struct {
		cluster, term uint64
		revision      int64
		want          error
		store         string
	}{
		{1, 5, 10, nil, "1"}, {1, 7, 11, nil, "1"}, {1, 7, 11, nil, "1"}, {1, 6, 12, errBehind, "1"}, {1, 7, 12, nil, "1"},
		{2, 1, 3, nil, "2"}, {2, 3, 4, nil, "2"}, {2, 2, 4, errBehind, "2"}, {2, 3, 2, nil, "2/1"}, {2, 3, 3, nil, "2/1"},
	} {
		got := e.see(&pb.ResponseHeader{ClusterId: step.cluster, RaftTerm: step.term, Revision: step.revision}, e.now())
		if !errors.Is(got, step.want) || e.store() != step.store {
			t.Errorf("step %d: got %v and store %s, want %v and %s", i, got, e.store(), step.want, step.store)
		}
	}
	before := e.now()
	if err := e.see(&pb.ResponseHeader{ClusterId: 2, RaftTerm: 3, Revision: 9}, e.now()); err != nil {
		t.Fatal(err)
	}
	if err := e.see(&pb.ResponseHeader{ClusterId: 2, RaftTerm: 3, Revision: 8}, before); err != nil || e.store() != "2/1" {
		t.Errorf("an answer that was overtaken: %v, store %s", err, e.store())
	}
	e.forget()
	if err := e.hear(&pb.ResponseHeader{ClusterId: 2, RaftTerm: 2}); err != nil {
		t.Errorf("after forget: %v", err)
	}
}

func TestParseEndpoint(t *testing.T) {
	for text, want := range map[string]string{
		"h:1": "http://h:1", "h": "http://h:2379", "http://h": "http://h:2379", "https://h:1/": "https://h:1",
		"[::1]:1": "http://[::1]:1", "[::1]": "http://[::1]:2379", "::1": "http://[::1]:2379", "10.0.0.1": "http://10.0.0.1:2379",
		"": "", "h:": "", "h:1:2": "", "a,b": "", "http://h/p": "",
	} {
		a, err := parseEndpoint(text, false)
		if got := a.String(); err == nil && got != want || err != nil && want != "" {
			t.Errorf("%q: got %s, %v; want %q", text, got, err, want)
		}
	}
	if a, err := parseEndpoint("h", true); err != nil || a.String() != "https://h:2379" {
		t.Errorf("with TLS: %s, %v", a, err)
	}
}

func TestPrefixEnd(t *testing.T) {
	for prefix, want := range map[string]string{"/a/": "/a0", "a\xff": "b", "\xff\xff": "\x00"} {
		if got := string(prefixEnd([]byte(prefix))); got != want {
			t.Errorf("%q ends at %q, want %q", prefix, got, want)
		}
	}
}

// TestPush: hints that nobody takes are merged, and none is lost.
func TestPush(t *testing.T) {
	hints := make(chan dcs.Hint, 2)
	for v := range dcs.Version(5) {
		push(hints, dcs.Hint{Key: "k", Version: v + 1})
	}
	close(hints)
	var got []dcs.Hint
	for h := range hints {
		got = append(got, h)
	}
	if want := []dcs.Hint{{Version: 3}, {Version: 5}}; !cmp.Equal(want, got) && len(got) != 2 {
		t.Errorf("got %+v", got)
	}
	if last := got[len(got)-1]; last.Key != "" || last.Version != 5 {
		t.Errorf("the last change is not covered: %+v", got)
	}
}

// TestAgain: the transaction that is repeated in another term compares what the first one wrote.
func TestAgain(t *testing.T) {
	got := again(dcs.Txn{
		If: []dcs.Cond{{Key: "leader", Created: 3}, {Key: "status", Version: 8}, {Key: "status", Value: []byte("x")}, {Key: "gone", Version: 2}, {Key: "new", Absent: true}},
		Do: []dcs.Write{{Key: "status", Value: []byte("y")}, {Key: "gone", Delete: true}, {Key: "new"}, {Key: "failsafe"}},
	}, 9)
	want := dcs.Txn{If: []dcs.Cond{{Key: "leader", Created: 3}, {Key: "status", Version: 9}, {Key: "gone", Absent: true}, {Key: "new", Version: 9}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRefusedTransactions(t *testing.T) {
	for _, tx := range []dcs.Txn{
		{If: []dcs.Cond{{Absent: true}}},
		{If: []dcs.Cond{{Key: "k", Absent: true, Version: 1}}},
		{If: []dcs.Cond{{Key: "k", Session: "not hexadecimal"}}},
		{Do: []dcs.Write{{Value: []byte("v")}}},
	} {
		if _, err := encodeTxn(tx); err == nil {
			t.Errorf("%+v was accepted", tx)
		}
	}
}

// TestChoiceAsksThePool: who chooses an endpoint has a lock of its own, and asks the pool how many there are with it held; so the pool may not
// hold its lock while it asks back. (Requests hung for ever when two attempts of one were decided on at the same moment.)
func TestChoiceAsksThePool(t *testing.T) {
	p, err := newPool(Config{Endpoints: []string{"http://127.0.0.1:1"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	tr, asked := newTour("read", p), make(chan bool, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = p.ready(ctx, func(ep *endpoint) bool {
			select {
			case asked <- tr.left():
			default:
			}
			return tr.untried(ep)
		})
	}()
	select {
	case left := <-asked:
		if !left {
			t.Error("the only endpoint was not asked yet")
		}
	case <-time.After(time.Minute):
		t.Fatal("the pool asks with its lock held")
	}
	cancel()
	<-done
	if err := p.close(); err != nil {
		t.Error(err)
	}
}
