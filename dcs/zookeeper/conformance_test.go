package zookeeper_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/dcstest"
	"github.com/tanist-ha/tanist/dcs/zookeeper"
	"github.com/tanist-ha/tanist/internal/faultproxy"
	"github.com/tanist-ha/tanist/internal/zktest"
)

// TestConformance holds the backend to the contract, on one real ZooKeeper and on three, each behind proxies.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for sessions to end")
	}
	for name, members := range map[string]int{"one": 1, "three": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hosts := zktest.Addrs(zktest.Start(t, zktest.Options{Members: members, Config: []string{"maxSessionTimeout=120000", "maxClientCnxns=0"}}))
			dcstest.Run(t, dcstest.Harness{
				New: func(t testing.TB) dcs.Backend { return fresh(t, hosts...) },
				Linked: func(t testing.TB) (dcs.Backend, dcstest.Link) {
					addrs, link := dcstest.Proxy(t, hosts...)
					return fresh(t, addrs...), link
				},
				Complete:    true,
				MinTTL:      time.Second,
				NoLeakCheck: true, // two runs side by side; TestMain checks when all have ended
			})
		})
	}
}

// onWrite calls f, once, when a client sends a transaction that writes, before it is forwarded.
func onWrite(p *faultproxy.Proxy, f func()) {
	const multi, barrier = 14, 8 + 9 // the operation, and the length of one that writes nothing
	p.Watch(func(request []byte) {
		if len(request) >= 12 && binary.BigEndian.Uint32(request[8:]) == multi && binary.BigEndian.Uint32(request) > barrier {
			p.Watch(nil)
			f()
		}
	})
}

// fresh is a handle that the suite closes.
func fresh(t testing.TB, hosts ...string) dcs.Backend {
	t.Helper()
	b, err := zookeeper.New(zookeeper.Config{Hosts: hosts, Folder: "/tanist-test/"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
