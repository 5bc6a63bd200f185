package etcd3_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/dcstest"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/etcdtest"
)

// TestGRPCProxy holds the backend to the contract behind etcd's own proxy, which keeps leases alive, and watches, on behalf of its clients
// (etcd3.use_proxies).
func TestGRPCProxy(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for sessions to end")
	}
	t.Parallel()
	proxy := grpcProxy(t, etcdtest.Start(t, etcdtest.Options{})[0])
	dcstest.Run(t, dcstest.Harness{
		New:         func(t testing.TB) dcs.Backend { return fresh(t, proxy) },
		MinTTL:      2 * time.Second,
		NoLeakCheck: true, // runs side by side; TestMain checks when all have ended
	})
}

// grpcProxy starts etcd's proxy before s, and returns its endpoint. It ends with the test, or with this process.
func grpcProxy(t *testing.T, s *etcdtest.Server) string {
	t.Helper()
	program, err := exec.LookPath("etcd")
	if err != nil {
		t.Fatal(err) // the server runs already
	}
	address := freeAddress(t)
	log, err := os.Create(filepath.Join(t.TempDir(), "proxy.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "grpc-proxy", "start", "--endpoints", s.Endpoint, "--listen-addr", address)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread() // the process dies with the thread that started it
		defer close(ended)
		defer log.Close()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if raw, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("the proxy:\n%s", raw)
		}
	})
	b := open(t, etcd3.Config{Endpoints: []string{"http://" + address}})
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if _, err := b.Read(ctx, "/"); err != nil {
		t.Fatalf("the proxy does not serve: %v", err)
	}
	return "http://" + address
}
