package consul_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/consul"
	"github.com/tanist-ha/tanist/internal/consultest"
	"github.com/tanist-ha/tanist/internal/faultproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// quick are servers that grant sessions of a second, which saves the tests time.
func quick(t testing.TB) *consultest.Server {
	t.Helper()
	return consultest.Start(t, consultest.Options{Config: map[string]any{"session_ttl_min": "500ms"}})[0]
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
	p, err := faultproxy.Listen(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
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
	var e *consul.Error
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

// freeAddress is an address where nothing listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// lines is a log that tests read.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}
