package etcd3_test

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/etcdtest"
	"github.com/tanist-ha/tanist/internal/faultproxy"
	"github.com/tanist-ha/tanist/internal/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit ends a test that hangs; no test measures with it.
const limit = 30 * time.Second

// short is the deadline of requests that are meant to run into it.
const short = 1500 * time.Millisecond

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func open(t testing.TB, cfg etcd3.Config) *etcd3.Backend {
	t.Helper()
	b, err := etcd3.New(cfg)
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

// proxied puts a proxy before each server and returns a handle that knows only those, the first one first.
func proxied(t testing.TB, servers []*etcdtest.Server) (*etcd3.Backend, []*faultproxy.Proxy) {
	t.Helper()
	var proxies []*faultproxy.Proxy
	cfg := etcd3.Config{InOrder: true}
	for _, s := range servers {
		p := proxy(t, s)
		proxies = append(proxies, p)
		cfg.Endpoints = append(cfg.Endpoints, "http://"+p.Addr())
	}
	return open(t, cfg), proxies
}

func proxy(t testing.TB, s *etcdtest.Server) *faultproxy.Proxy {
	t.Helper()
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return servertest.Proxy(t, u.Host)
}

func put(t testing.TB, b dcs.Backend, key, value string, x dcs.Session) dcs.Version {
	t.Helper()
	a, err := b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: key, Value: []byte(value), Session: x}}})
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return a.Version
}

// get reads one key; nil: there is none.
func get(t testing.TB, b dcs.Backend, key string) *dcs.Entry {
	t.Helper()
	s, err := b.Read(within(t, limit), key)
	if err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	for _, e := range s.Entries {
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
