package consul_test

import (
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/consul"
	"github.com/tanist-ha/tanist/dcs/dcstest"
	"github.com/tanist-ha/tanist/internal/consultest"
)

// TestConformance holds the backend to the contract, on one real Consul and on three servers, each behind proxies. Their sessions may be
// shorter than Consul's default allows, which saves time: what a ttl is halved to, and by how much a session ends late, is the same.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for sessions to end")
	}
	for name, members := range map[string]int{"one": 1, "three": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			servers := consultest.Start(t, consultest.Options{Servers: members, Config: map[string]any{
				"session_ttl_min": "500ms", "limits": map[string]any{"http_max_conns_per_client": 2000, "txn_max_req_len": 1 << 20}}})
			address := servers[len(servers)-1].Address // an agent has one address; another server leads, if there is one
			dcstest.Run(t, dcstest.Harness{
				New: func(t testing.TB) dcs.Backend { return fresh(t, address) },
				Linked: func(t testing.TB) (dcs.Backend, dcstest.Link) {
					addrs, link := dcstest.Proxy(t, address)
					return fresh(t, addrs[0]), link
				},
				Complete:    true,
				MinTTL:      2 * time.Second,
				NoLeakCheck: true, // two runs side by side; TestMain checks when all have ended
			})
		})
	}
}

// fresh is a handle that the suite closes.
func fresh(t testing.TB, address string) dcs.Backend {
	t.Helper()
	b, err := consul.New(consul.Config{URL: "http://" + address})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
