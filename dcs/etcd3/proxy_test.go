package etcd3_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/dcstest"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/etcdtest"
	"github.com/tanist-ha/tanist/internal/servertest"
)

// TestGRPCProxy holds the backend to the contract behind etcd's own proxy, which keeps leases alive, and watches, on behalf of its clients
// (etcd3.use_proxies).
func TestGRPCProxy(t *testing.T) {
	servertest.Slow(t)
	t.Parallel()
	proxy := grpcProxy(t, etcdtest.Start(t, etcdtest.Options{})[0])
	dcstest.Run(t, dcstest.Harness{
		New:         func(t testing.TB) dcs.Backend { return fresh(t, proxy) },
		MinTTL:      2 * time.Second,
		NoLeakCheck: true, // runs side by side; TestMain checks when all have ended
	})
}

// grpcProxy starts etcd's proxy before s, and returns its endpoint. It ends with the test.
func grpcProxy(t *testing.T, s *etcdtest.Server) string {
	t.Helper()
	program, err := exec.LookPath("etcd")
	if err != nil {
		t.Fatal(err) // the server runs already
	}
	address := servertest.FreeAddress(t)
	url := "http://" + address
	p := &grpcProxyServer{servertest.Process{Program: "etcd's proxy", Args: []string{program, "grpc-proxy", "start", "--endpoints", s.Endpoint, "--listen-addr", address},
		LogFile: filepath.Join(t.TempDir(), "proxy.log")}}
	b := open(t, etcd3.Config{Endpoints: []string{url}})
	p.Serves = func(ctx context.Context) bool {
		_, err := b.Read(ctx, "/")
		return err == nil
	}
	servertest.Start(t, []*grpcProxyServer{p})
	return url
}

type grpcProxyServer struct{ servertest.Process }
