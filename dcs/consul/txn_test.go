package consul_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/consul"
	"github.com/tanist-ha/tanist/internal/faultproxy"
	"github.com/tanist-ha/tanist/internal/servertest"
)

// TestKeysAsPatroniWritesThem: no slash at the beginning, the value as it is, the session on the key.
func TestKeysAsPatroniWritesThem(t *testing.T) {
	srv := quick(t)
	b := open(t, consul.Config{URL: srv.URL})
	x := session(t, b, time.Minute)
	put(t, b, "/service/main/leader", "a", x)
	kv, err := srv.Get(within(t, limit), "service/main/leader")
	if err != nil || kv == nil || string(kv.Value) != "a" || kv.Session != x.ID() {
		t.Fatalf("consul has %+v, %v", kv, err)
	}
	if err := srv.Put(within(t, limit), "service/main/config", `{"ttl":30}`); err != nil {
		t.Fatal(err)
	}
	s := read(t, b, "/service/main/")
	if len(s.Entries) != 2 || s.Entries[0].Key != "/service/main/config" || string(s.Entries[0].Value) != `{"ttl":30}` {
		t.Errorf("read %+v", s.Entries)
	}
	_, err = b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: "service/main/config"}}})
	if err == nil || !strings.Contains(err.Error(), "slash") {
		t.Errorf("a key without a slash: %v", err)
	}
}

// TestSameValueIsAWrite: Consul leaves the index of a key alone that is written as it is; we do not.
func TestSameValueIsAWrite(t *testing.T) {
	b := open(t, consul.Config{URL: quick(t).URL})
	x := session(t, b, time.Minute)
	for _, bound := range []dcs.Session{nil, x} {
		first := put(t, b, "/c/k", "v", bound)
		second := put(t, b, "/c/k", "v", bound)
		if e := get(t, b, "/c/k"); second <= first || e.Version != second || e.Created > first {
			t.Errorf("versions %d, %d; the entry %+v", first, second, e)
		}
	}
}

// TestOthersMoveTheKey: what this handle remembers of a key is old, as somebody else has changed it: the transaction still does
// what its conditions say.
func TestOthersMoveTheKey(t *testing.T) {
	srv := quick(t)
	b, other := open(t, consul.Config{URL: srv.URL}), open(t, consul.Config{URL: srv.URL})
	x, y := session(t, b, time.Minute), session(t, other, time.Minute)
	apply := func(tx dcs.Txn) error {
		_, err := b.Apply(within(t, limit), tx)
		return err
	}
	created := put(t, b, "/c/k", "v", x)
	life := dcs.Cond{Key: "/c/k", Created: created}

	touched := put(t, other, "/c/k", "w", x) // another write, the same life
	if err := apply(dcs.Txn{If: []dcs.Cond{life}, Do: []dcs.Write{{Key: "/c/other", Value: []byte("1")}}}); err != nil {
		t.Errorf("the key still lives: %v", err)
	}
	if err := apply(dcs.Txn{If: []dcs.Cond{life, {Key: "/c/k", Value: []byte("v")}}, Do: []dcs.Write{{Key: "/c/other"}}}); !errors.Is(err, dcs.ErrConflict) {
		t.Errorf("another value: %v", err)
	}
	if err := apply(dcs.Txn{If: []dcs.Cond{{Key: "/c/k", Created: created, Version: touched, Value: []byte("w")}}, Do: []dcs.Write{{Key: "/c/other"}}}); err != nil {
		t.Errorf("the same write: %v", err)
	}

	put(t, other, "/c/k", "w", y) // another session
	put(t, b, "/c/k", "x", x)     // and back, without a condition
	put(t, other, "/c/k", "w", nil)
	put(t, b, "/c/k", "x", x)
	put(t, b, "/c/k", "y", nil)
	if e := get(t, b, "/c/k"); e.Session != "" || e.Created != created || string(e.Value) != "y" {
		t.Errorf("after all of that: %+v", e)
	}

	again := dcs.Txn{Do: []dcs.Write{{Key: "/c/k", Delete: true}}}
	if _, err := other.Apply(within(t, limit), again); err != nil {
		t.Fatal(err)
	}
	if err := apply(dcs.Txn{If: []dcs.Cond{life}, Do: []dcs.Write{{Key: "/c/other"}}}); !errors.Is(err, dcs.ErrConflict) {
		t.Errorf("the key is gone: %v", err)
	}
	put(t, other, "/c/k", "y", nil)
	if err := apply(dcs.Txn{If: []dcs.Cond{life}, Do: []dcs.Write{{Key: "/c/other"}}}); !errors.Is(err, dcs.ErrConflict) {
		t.Errorf("another life: %v", err)
	}
}

// TestLargeValues: 512 KiB are more than Consul takes in a transaction. Alone, they are written all the same, under conditions.
func TestLargeValues(t *testing.T) {
	b := open(t, consul.Config{URL: quick(t).URL})
	big := bytes.Repeat([]byte("tanist! "), 64<<10)
	write := dcs.Write{Key: "/c/history", Value: big}
	a, err := b.Apply(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: "/c/history", Absent: true}}, Do: []dcs.Write{write}})
	if err != nil {
		t.Fatal(err)
	}
	if e := get(t, b, "/c/history"); e == nil || e.Version != a.Version || !bytes.Equal(e.Value, big) {
		t.Fatalf("applied as %d, read as %d", a.Version, e.Version)
	}
	_, err = b.Apply(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: "/c/history", Absent: true}}, Do: []dcs.Write{write}})
	wantError(t, err, dcs.ErrConflict, "")
	if _, err := b.Apply(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: "/c/history", Created: a.Version}}, Do: []dcs.Write{write}}); err != nil {
		t.Fatal(err)
	}
	_, err = b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{write, {Key: "/c/other"}}})
	wantError(t, err, dcs.ErrUnavailable, "raise limits.txn_max_req_len on the servers")
	write.Value = append(big, 1)
	_, err = b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{write}})
	wantError(t, err, dcs.ErrUnavailable, "raise limits.kv_max_value_size on the servers")
}

// TestUnknownIsSaid: a write whose answer is lost may have happened; a renewal that got no answer does not lose the session; a
// write that was never sent certainly did not happen.
func TestUnknownIsSaid(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for deadlines")
	}
	srv := quick(t)
	p := proxy(t, srv)
	b, direct := open(t, consul.Config{URL: "http://" + p.Addr()}), open(t, consul.Config{URL: srv.URL})
	x := session(t, b, 4*time.Minute)
	put(t, b, "/c/leader", "a", x)
	mine := dcs.Cond{Key: "/c/leader", Session: x.ID()}
	write := dcs.Txn{If: []dcs.Cond{mine}, Do: []dcs.Write{{Key: "/c/status", Value: []byte("1")}}}
	const silent = "the agent hangs, or what is sent to it is lost on the way"
	for _, mode := range []faultproxy.Mode{faultproxy.DropReplies, faultproxy.HalfOpen} {
		p.Set(mode)
		_, err := b.Apply(within(t, short), write)
		wantError(t, err, dcs.ErrUnknown, silent)
		_, err = x.Confirm(within(t, short), dcs.Txn{If: []dcs.Cond{mine}})
		wantError(t, err, dcs.ErrUnknown, silent)
		_, err = x.KeepAlive(within(t, short))
		wantError(t, err, dcs.ErrUnknown, silent)
		_, err = b.Read(within(t, short), "/c/")
		wantError(t, err, dcs.ErrUnavailable, silent)
		p.Set(faultproxy.Pass)
		if _, err := x.Confirm(within(t, limit), dcs.Txn{If: []dcs.Cond{mine}}); err != nil {
			t.Fatal(err)
		}
	}
	if e := get(t, direct, "/c/status"); e == nil {
		t.Error("the write whose answer was lost did not happen: the proxy is at fault")
	}
	nobody := open(t, consul.Config{URL: "http://" + servertest.FreeAddress(t)})
	_, err := nobody.Apply(within(t, short), write)
	wantError(t, err, dcs.ErrUnavailable, "nothing listens there: is the Consul agent running?")
}

// TestRequestWaitsForTheAgent: an agent that refuses connections for a while costs a request time, and no failure.
func TestRequestWaitsForTheAgent(t *testing.T) {
	p := proxy(t, quick(t))
	b := open(t, consul.Config{URL: "http://" + p.Addr()})
	put(t, b, "/c/k", "1", nil)
	p.Set(faultproxy.Cut)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := b.Read(ctx, "/c/")
		done <- err
	}()
	for tries := p.Accepted(); p.Accepted() < tries+3; { // it goes on trying
		select {
		case err := <-done:
			t.Fatalf("gave up: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	p.Set(faultproxy.Pass)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
