//go:build linux

package testcluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
)

// TestStores does to each kind of store what the end-to-end tests do to it.
func TestStores(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three servers of each store")
	}
	bin := t.TempDir()
	if err := errors.Join(os.Chmod(bin, 0o755), os.Chmod(bin+"/..", 0o755)); err != nil {
		t.Fatal(err)
	}
	programs := Programs{Dir: bin}
	if err := programs.build(t.Context(), "internal/testcluster/reaper"); err != nil {
		t.Fatal(err)
	}
	// An embedded etcd is in the agents, which the end-to-end tests start.
	for _, kind := range []Kind{EtcdStore, ConsulStore, ZooKeeperStore} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			c, err := New(ctx, Options{Programs: programs, PGBin: "/", Kind: kind, Servers: 3})
			var missing *MissingError
			if errors.As(err, &missing) && os.Getenv("CI") == "" {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			goesThrough(ctx, t, c.Store)
			goesDown(ctx, t, c.Store)
		})
	}
}

// goesThrough reads and writes, also after the leader was killed.
func goesThrough(ctx context.Context, t *testing.T, s Store) {
	t.Helper()
	key := "/service/demo/config"
	check := func(want string) {
		t.Helper()
		kv, err := s.Get(ctx, key)
		if err != nil || (kv == nil) != (want == "") || kv != nil && (kv.Value != want || kv.Session != "") {
			t.Fatalf("%s is %v, %v; want %q", key, kv, err, want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	before, err := s.Traffic(ctx, 0)
	must(err)
	check("")
	must(s.Put(ctx, key, "1"))
	check("1")
	must(s.Put(ctx, key, "2"))
	check("2")
	after, err := s.Traffic(ctx, 0)
	must(err)
	if after.Requests-before.Requests < 5 {
		t.Errorf("five requests are counted as %v", after.Requests-before.Requests)
	}
	old, err := s.Leader(ctx)
	must(err)
	must(s.Kill(ctx, old))
	must(poll(ctx, 100*time.Millisecond, "another leader", func() (bool, string) {
		now, err := s.Leader(ctx)
		return err == nil && now != old, fmt.Sprint(now, err)
	}))
	check("2")
	must(s.Delete(ctx, key))
	check("")
	must(s.Delete(ctx, key))
	must(s.Put(ctx, key, "3"))
	must(s.Start(ctx))
	check("3")
}

// goesDown loses the majority, and then everything.
func goesDown(ctx context.Context, t *testing.T, s Store) {
	t.Helper()
	key := "/service/demo/config"
	steps := []struct {
		name string
		do   func() error
	}{
		{"freeze two", func() error { return s.Freeze(0, 1) }},
		{"ask without a majority", func() error {
			ask, cancel := context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
			if kv, err := s.Get(ask, key); err == nil {
				return fmt.Errorf("it answers %v", kv)
			}
			return nil
		}},
		{"thaw", func() error { return s.Thaw(0, 1) }},
		{"serve again", func() error { return s.Start(ctx) }},
		{"kill all", func() error { return s.Kill(ctx) }},
		{"start", func() error { return s.Start(ctx) }},
		{"read what was kept", func() error {
			if kv, err := s.Get(ctx, key); err != nil || kv == nil || kv.Value != "3" {
				return fmt.Errorf("it is %v, %w", kv, err)
			}
			return nil
		}},
		{"kill all again", func() error { return s.Kill(ctx) }},
		{"wipe", func() error { return s.Wipe() }},
		{"start empty", func() error { return s.Start(ctx) }},
		{"read what is gone", func() error {
			if kv, err := s.Get(ctx, key); err != nil || kv != nil {
				return fmt.Errorf("it is %v, %w", kv, err)
			}
			return nil
		}},
	}
	for _, step := range steps {
		began := time.Now()
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		t.Logf("%s: %v", step.name, time.Since(began).Round(time.Millisecond))
	}
}
