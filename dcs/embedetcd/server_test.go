package embedetcd_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/dcstest"
	"github.com/tanist-ha/tanist/dcs/embedetcd"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/servertest"
)

// TestConformance holds dcs/etcd3 to the contract on embedded members, one and three of them, each behind proxies.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for sessions to end")
	}
	for name, n := range map[string]int{"one": 1, "three": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var endpoints []string
			for _, s := range start(t, n) {
				endpoints = append(endpoints, s.Endpoints()...)
			}
			dcstest.Run(t, dcstest.Harness{
				New:         func(t testing.TB) dcs.Backend { return fresh(t, endpoints) },
				Linked:      func(t testing.TB) (dcs.Backend, dcstest.Link) { return linked(t, endpoints) },
				Complete:    true,
				MinTTL:      2 * time.Second,
				NoLeakCheck: true, // the members are in this process, too
			})
		})
	}
}

// linked is a handle with proxies of its own before the members.
func linked(t testing.TB, endpoints []string) (dcs.Backend, dcstest.Link) {
	t.Helper()
	addrs, link := dcstest.Proxy(t, endpoints...)
	return fresh(t, addrs), link
}

// fresh is a handle that the suite closes.
func fresh(t testing.TB, endpoints []string) dcs.Backend {
	t.Helper()
	b, err := etcd3.New(etcd3.Config{Endpoints: endpoints})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func open(t testing.TB, cfg etcd3.Config) *etcd3.Backend {
	t.Helper()
	b, err := etcd3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func put(t testing.TB, b dcs.Backend, key, value string) {
	t.Helper()
	if _, err := b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: key, Value: []byte(value)}}}); err != nil {
		t.Fatal(err)
	}
}

// TestRestart: the data is there again after a stop, and a stop does not wait for the watches of clients.
func TestRestart(t *testing.T) {
	configs, err := embedetcd.Local(1, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t, limit)
	first, err := embedetcd.StartAll(ctx, configs)
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, etcd3.Config{Endpoints: first[0].Endpoints()})
	put(t, b, "/k", "v")
	hints, err := b.Watch(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	if err := first[0].Stop(ctx); err != nil {
		t.Fatal(err)
	}
	for range hints { // ends with the server's end of the watch
	}
	if err := first[0].Err(); !errors.Is(err, embedetcd.ErrStopped) {
		t.Fatalf("after a stop: %v", err)
	}
	second, err := embedetcd.StartAll(ctx, configs)
	if err != nil {
		t.Fatal(err)
	}
	stopAfter(t, second[0])
	snap, err := b.Read(ctx, "/")
	if err != nil || len(snap.Entries) != 1 || string(snap.Entries[0].Value) != "v" {
		t.Fatalf("after a restart: %+v, %v", snap, err)
	}
}

// TestMajority: a member alone of three is started but not ready, and two of three serve.
func TestMajority(t *testing.T) {
	servertest.Slow(t)
	configs, servers := found(t, 3)
	ctx := within(t, limit)
	for _, s := range servers {
		if err := s.Stop(ctx); err != nil {
			t.Fatal(err)
		}
	}
	alone, err := embedetcd.Start(ctx, configs[0])
	if err != nil {
		t.Fatal(err)
	}
	stopAfter(t, alone)
	if err := alone.WaitReady(within(t, 100*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a member without a majority: %v", err)
	}
	second, err := embedetcd.StartAll(ctx, configs[1:2])
	if err != nil {
		t.Fatal(err)
	}
	stopAfter(t, second[0])
	if err := alone.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	put(t, open(t, etcd3.Config{Endpoints: alone.Endpoints()}), "/k", "v")
}

func TestRefusedConfigurations(t *testing.T) {
	good, err := embedetcd.Local(1, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := good[0].Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*embedetcd.Config){
		"not a name":                   func(c *embedetcd.Config) { c.Name = "a=b" },
		"no data directory":            func(c *embedetcd.Config) { c.DataDir = "" },
		"no client address":            func(c *embedetcd.Config) { c.ClientURLs = nil },
		"write it as http://host:port": func(c *embedetcd.Config) { c.PeerURLs = []string{"10.0.0.1:2380"} },
		"does not contain this member": func(c *embedetcd.Config) { c.Name = "other" },
		"at least ten heartbeats":      func(c *embedetcd.Config) { c.Heartbeat, c.Election = time.Second, 9*time.Second },
	} {
		cfg := good[0]
		change(&cfg)
		if _, err := embedetcd.Start(within(t, limit), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

// TestAddressInUse: a start that fails is an error, and leaves nothing behind.
func TestAddressInUse(t *testing.T) {
	configs, err := embedetcd.Local(1, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	servers, err := embedetcd.StartAll(within(t, limit), configs)
	if err != nil {
		t.Fatal(err)
	}
	stopAfter(t, servers[0])
	again := configs[0]
	again.DataDir = t.TempDir()
	if _, err := embedetcd.Start(within(t, limit), again); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Fatalf("got %v", err)
	}
}

// TestDamagedData: what ends a stand-alone etcd is an error here, not the end of the process.
func TestDamagedData(t *testing.T) {
	servertest.Slow(t)
	for _, pattern := range []string{"member/wal/*.wal", "member/snap/db"} {
		t.Run(filepath.Base(pattern), func(t *testing.T) {
			configs, err := embedetcd.Local(1, t.TempDir(), nil)
			if err != nil {
				t.Fatal(err)
			}
			servers, err := embedetcd.StartAll(within(t, limit), configs)
			if err != nil {
				t.Fatal(err)
			}
			put(t, open(t, etcd3.Config{Endpoints: servers[0].Endpoints()}), "/k", "v")
			if err := servers[0].Stop(within(t, limit)); err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join(configs[0].DataDir, pattern))
			if err != nil || len(files) == 0 {
				t.Fatalf("no such file of etcd: %v", err)
			}
			if err := os.WriteFile(files[0], []byte(strings.Repeat("this is not a file of etcd. ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
			log := &servertest.Log{}
			configs[0].Logger = slog.New(slog.NewTextHandler(log, nil))
			if _, err = embedetcd.Start(within(t, limit), configs[0]); err == nil {
				t.Fatal("started on damaged data")
			}
			t.Logf("error: %v", err)
			if !strings.Contains(log.String(), "component=etcd") {
				t.Fatalf("etcd's log did not arrive:\n%s", log)
			}
		})
	}
}
