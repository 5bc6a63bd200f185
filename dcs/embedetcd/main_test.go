package embedetcd_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/dcs/embedetcd"
	"github.com/tanist-ha/tanist/internal/faultproxy"
)

// TestMain looks for forgotten goroutines. Two kinds are etcd's own: those that a breakdown at the start leaves (TestDamagedData), and
// HTTP connections between members, which end some seconds after the members.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("go.etcd.io/etcd/server/v3/storage.OpenBackend"),
		goleak.IgnoreTopFunction("go.etcd.io/etcd/server/v3/storage/wal.(*filePipeline).run"),
		goleak.IgnoreTopFunction("go.etcd.io/etcd/server/v3/storage/backend.(*backend).run"),
		goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead"),
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
	)
}

// limit ends a test that hangs; no test measures with it.
const limit = 60 * time.Second

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// start runs n members for t.
func start(t testing.TB, n int) []*embedetcd.Server {
	t.Helper()
	_, servers := found(t, n)
	return servers
}

// found runs n members for t and tells how they were configured.
func found(t testing.TB, n int) ([]embedetcd.Config, []*embedetcd.Server) {
	t.Helper()
	configs, err := embedetcd.Local(n, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return configs, startAll(t, configs)
}

// startAll runs members for t.
func startAll(t testing.TB, configs []embedetcd.Config) []*embedetcd.Server {
	t.Helper()
	servers, err := embedetcd.StartAll(within(t, limit), configs)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range servers {
		stopAfter(t, s)
	}
	return servers
}

func stopAfter(t testing.TB, s *embedetcd.Server) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

// distant describes n members whose connections among each other are slow by delay in each direction, with the settings that doc.go
// recommends for that.
func distant(t testing.TB, n int, delay time.Duration) []embedetcd.Config {
	t.Helper()
	configs, err := embedetcd.Local(n, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []embedetcd.Peer
	for i := range configs {
		proxy, err := faultproxy.Listen(strings.TrimPrefix(configs[i].PeerURLs[0], "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = proxy.Close() })
		proxy.SetDelay(delay)
		configs[i].AdvertisePeerURLs = []string{"http://" + proxy.Addr()}
		all = append(all, embedetcd.Peer{Name: configs[i].Name, URL: "http://" + proxy.Addr()})
	}
	for i := range configs {
		configs[i].InitialCluster = all
		configs[i].Heartbeat, configs[i].Election = 200*time.Millisecond, 2*time.Second
	}
	return configs
}
