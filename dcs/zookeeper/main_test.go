package zookeeper_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/zookeeper"
	"github.com/tanist-ha/tanist/internal/faultproxy"
	"github.com/tanist-ha/tanist/internal/servertest"
	"github.com/tanist-ha/tanist/internal/zktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit ends a test that hangs; no test measures with it.
const limit = 3 * time.Minute

// short is the deadline of requests that are meant to run into it.
const short = 1500 * time.Millisecond

// folder is that of most tests.
const folder = "/service/main/"

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// open returns a handle; an empty folder means the tests' own.
func open(t testing.TB, cfg zookeeper.Config) *zookeeper.Backend {
	t.Helper()
	if cfg.Folder == "" {
		cfg.Folder = folder
	}
	b, err := zookeeper.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

func proxy(t testing.TB, s *zktest.Server) *faultproxy.Proxy {
	t.Helper()
	return servertest.Proxy(t, s.Addr)
}

func put(t testing.TB, b dcs.Backend, key, value string, x dcs.Session) dcs.Version {
	t.Helper()
	a, err := b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: folder + key, Value: []byte(value), Session: x}}})
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return a.Version
}

// get reads one key; nil: there is none.
func get(t testing.TB, b dcs.Backend, key string) *dcs.Entry {
	t.Helper()
	s, err := b.Read(within(t, limit), folder)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	for _, e := range s.Entries {
		if e.Key == folder+key {
			return &e
		}
	}
	return nil
}

func session(t testing.TB, b dcs.Backend, ttl time.Duration) dcs.Session {
	t.Helper()
	x, err := b.OpenSession(within(t, limit), ttl)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, err, want error, hint string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
	var e *dcs.StoreError
	if !errors.As(err, &e) || hint != "" && e.Hint != hint {
		t.Fatalf("got %v; want the hint %q", err, hint)
	}
}

// closed waits until the watch has ended.
func closed(t testing.TB, hints <-chan dcs.Hint) {
	t.Helper()
	timeout := time.After(limit)
	for {
		select {
		case _, open := <-hints:
			if !open {
				return
			}
		case <-timeout:
			t.Fatal("the watch goes on")
		}
	}
}
