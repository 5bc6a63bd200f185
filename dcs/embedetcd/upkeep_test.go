package embedetcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/embedetcd"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/servertest"
)

// TestFullDatabase: a database that has reached its quota takes writes again after the members have tidied up, which they do one at a time
// and with the leadership handed over; live data that does not fit is said, and stays.
func TestFullDatabase(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 16 MiB to three members")
	}
	configs, err := embedetcd.Local(3, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	log := &servertest.Log{}
	for i := range configs {
		configs[i].QuotaBytes, configs[i].Logger = 16<<20, slog.New(slog.NewTextHandler(log, nil))
	}
	servers := startAll(t, configs)
	full := servers[0] // who takes the writes raises the alarm: if that is the leader, it has to give up the leadership to be rewritten
	for _, s := range servers {
		if s.Leads() {
			full = s
		}
	}
	b := open(t, etcd3.Config{Endpoints: full.Endpoints(), InOrder: true})
	fill := func(key func(i int) string) {
		t.Helper()
		value := bytes.Repeat([]byte("x"), 512<<10)
		for i := range 100 {
			_, err := b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: key(i), Value: value}}})
			if err != nil {
				if !strings.Contains(err.Error(), "space") {
					t.Fatalf("a full database: %v", err)
				}
				return
			}
		}
		t.Fatal("the quota is not in force")
	}
	fill(func(int) string { return "/versions" })
	put := func() error {
		_, err := b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: "/k", Value: []byte("v")}}})
		return err
	}
	if put() == nil {
		t.Fatal("a full database takes writes")
	}
	led := false // under load etcd may have moved the leadership by itself
	tidyAll := func() (last error) {
		for _, s := range servers {
			led = led || s == full && s.Leads()
			if err := s.Tidy(within(t, limit)); err != nil {
				last = err
			}
		}
		return last
	}
	for put() != nil {
		if err := tidyAll(); err != nil {
			t.Logf("not yet: %v", err)
		}
	}
	want := []string{"has reached its quota", "rewrote the etcd database", "has room again"}
	if led {
		want = append(want, "handing etcd's leadership over")
	}
	for _, text := range want {
		log.Wait(within(t, limit), t, text)
	}

	live := 0
	for err = nil; err == nil || !strings.Contains(err.Error(), "raise quota_backend_bytes"); err = tidyAll() {
		if put() == nil { // what was rewritten may have room for some more
			fill(func(int) string { live++; return fmt.Sprint("/live", live) })
		}
	}
	if put() == nil {
		t.Fatal("a database full of live data takes writes")
	}
}

// TestDistantMembers: with 50 ms of delay in each direction between the members and the recommended settings, etcd keeps its leader, and
// the sessions of a ttl of 5 s live.
func TestDistantMembers(t *testing.T) {
	if testing.Short() {
		t.Skip("takes several elections' time")
	}
	configs := distant(t, 3, 50*time.Millisecond)
	servers := startAll(t, configs)
	leader := func() string {
		var leads []string
		for _, s := range servers {
			if s.Leads() {
				leads = append(leads, s.Endpoints()[0])
			}
		}
		return strings.Join(leads, ",")
	}
	before := leader()
	b := open(t, etcd3.Config{Endpoints: servers[2].Endpoints(), InOrder: true})
	ctx := within(t, limit)
	session, err := b.OpenSession(ctx, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Apply(ctx, dcs.Txn{Do: []dcs.Write{{Key: "/leader", Value: []byte("x"), Session: session}}}); err != nil {
		t.Fatal(err)
	}
	var worst time.Duration
	end := time.After(10 * time.Second) // five elections' time, two of the session's
	for again := time.NewTicker(time.Second); ; {
		sent := time.Now()
		if _, err := session.Confirm(ctx, dcs.Txn{}); err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(sent))
		select {
		case <-again.C:
			continue
		case <-end:
		}
		again.Stop()
		break
	}
	t.Logf("slowest confirmation: %v", worst)
	if after := leader(); before == "" || after != before {
		t.Fatalf("the leader was %q and is %q", before, after)
	}
	if got := get(t, b, "/leader"); got != "x" {
		t.Fatalf("the session's key is %q", got)
	}
}

// TestOrderlyStop: a member that leads hands the leadership over before it stops, so a client of another member goes on at once.
func TestOrderlyStop(t *testing.T) {
	servertest.Slow(t)
	_, servers := found(t, 3)
	var leader *embedetcd.Server
	var rest []*embedetcd.Server
	for _, s := range servers {
		if s.Leads() {
			leader = s
		} else {
			rest = append(rest, s)
		}
	}
	if leader == nil {
		t.Fatal("nobody leads")
	}
	b := open(t, etcd3.Config{Endpoints: rest[0].Endpoints()})
	ctx, cancel := context.WithCancel(within(t, limit))
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- leader.Stop(ctx) }()
	var worst time.Duration
	for done, after := false, 0; after < 20; {
		sent := time.Now()
		_, err := b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: "/k", Value: []byte("v")}}})
		if errors.Is(err, dcs.ErrUnknown) { // the leader may have got it when it did not lead any more: etcd lets it time out
			t.Logf("a write after %v: %v", time.Since(sent), err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(sent))
		select {
		case err := <-stopped:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
		}
		if done {
			after++
		}
	}
	t.Logf("slowest write around the stop of the leader: %v", worst)
	if leads := rest[0].Leads() || rest[1].Leads(); !leads {
		t.Fatal("nobody leads after the stop")
	}
}
