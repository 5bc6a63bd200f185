package consul_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/consul"
	"github.com/tanist-ha/tanist/internal/consultest"
	"github.com/tanist-ha/tanist/internal/faultproxy"
	"github.com/tanist-ha/tanist/internal/servertest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	shared.stop()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// shared is a server that grants sessions of half a second, started for the first test that asks for it: a start takes seconds.
var shared sharedServer

type sharedServer struct {
	once sync.Once
	dir  string
	srv  *consultest.Server
	err  error
}

func (s *sharedServer) start() {
	if s.dir, s.err = os.MkdirTemp("", "consul-"); s.err != nil {
		return
	}
	var servers []*consultest.Server
	if servers, s.err = consultest.Run(s.dir, consultest.Options{Config: map[string]any{"session_ttl_min": "500ms"}}); s.err == nil {
		s.srv = servers[0]
	}
}

func (s *sharedServer) stop() {
	if s.srv != nil {
		s.srv.Stop()
	}
	_ = os.RemoveAll(s.dir)
}

// limit ends a test that hangs; no test measures with it.
const limit = time.Minute

// short is the deadline of requests that are meant to run into it.
const short = 2 * time.Second

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// quick is the shared server, emptied.
func quick(t testing.TB) *consultest.Server {
	t.Helper()
	shared.once.Do(shared.start)
	consultest.EndIfMissing(t, shared.err)
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	if err := shared.srv.Clear(within(t, limit)); err != nil {
		t.Fatal(err)
	}
	return shared.srv
}

func open(t testing.TB, cfg consul.Config) *consul.Backend {
	t.Helper()
	b, err := consul.New(cfg)
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

func proxy(t testing.TB, s *consultest.Server) *faultproxy.Proxy {
	t.Helper()
	return servertest.Proxy(t, s.Address)
}

func put(t testing.TB, b dcs.Backend, key, value string, x dcs.Session) dcs.Version {
	t.Helper()
	a, err := b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: key, Value: []byte(value), Session: x}}})
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return a.Version
}

func read(t testing.TB, b dcs.Backend, prefix string) dcs.Snapshot {
	t.Helper()
	s, err := b.Read(within(t, limit), prefix)
	if err != nil {
		t.Fatalf("read %s: %v", prefix, err)
	}
	return s
}

// get reads one key; nil: there is none.
func get(t testing.TB, b dcs.Backend, key string) *dcs.Entry {
	t.Helper()
	for _, e := range read(t, b, key).Entries {
		if e.Key == key {
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

func wantError(t testing.TB, err, want error, hint string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
	var e *dcs.StoreError
	if !errors.As(err, &e) || e.Hint != hint {
		t.Fatalf("got %v; want the hint %q", err, hint)
	}
}

// awaitGone waits until a key has disappeared, woken by hints.
func awaitGone(t testing.TB, b dcs.Backend, key string) {
	t.Helper()
	ctx := within(t, limit)
	hints, err := b.Watch(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	for get(t, b, key) != nil {
		if _, ok := <-hints; !ok {
			t.Fatalf("the watch of %s ended before the key did", key)
		}
	}
}
