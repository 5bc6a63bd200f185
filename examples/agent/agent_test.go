package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/embedetcd"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

func TestMain(m *testing.M) {
	pgtest.Guard(m, func(m *testing.M) {
		goleak.VerifyTestMain(m, // connections between etcd's members end some seconds after them
			goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
			goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead"), goleak.IgnoreAnyFunction("net/http.(*conn).serve"))
	})
}

// limit ends a test that hangs.
const limit = 2 * time.Minute

func startEtcd(t *testing.T) (endpoint string) {
	t.Helper()
	configs, err := embedetcd.Local(1, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	members, err := embedetcd.StartAll(ctx, configs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if err := members[0].Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return members[0].Endpoints()[0]
}

// becomes asks a health endpoint until its answer has the wanted code.
func becomes(t *testing.T, o options, path string, want int, ended <-chan error) {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	url := "http://" + net.JoinHostPort(o.host, strconv.Itoa(o.api)) + path
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(limit)
	for {
		resp, err := client.Get(url)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == want {
				return
			}
		}
		select {
		case <-tick.C:
		case err := <-ended:
			t.Fatalf("the agent %s has ended: %v", o.name, err)
		case <-timeout:
			t.Fatalf("%s never answers %d: %v, %v", url, want, resp, err)
		}
	}
}

// start runs an agent until stop is called, which waits for its end.
func start(t *testing.T, o options) (ended <-chan error, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done, result := make(chan struct{}), make(chan error, 1)
	go func() {
		result <- run(ctx, o)
		close(done)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(func() { stop(); killServer(t, o) })
	return result, stop
}

// killServer ends a server that its agent has left running.
func killServer(t *testing.T, o options) {
	raw, err := os.ReadFile(filepath.Join(o.data, "postmaster.pid"))
	if err != nil {
		return
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	if pid, err := strconv.Atoi(line); err == nil && pid > 1 {
		t.Errorf("the server of %s was left running", o.name)
		_ = syscall.Kill(pid, syscall.SIGQUIT)
	}
}

func TestAgent(t *testing.T) {
	if testing.Short() {
		t.Skip("starts etcd and PostgreSQL servers")
	}
	bin, endpoint := pgtest.BinDir(t), startEtcd(t)
	var agents []options
	for _, name := range []string{"a", "b"} {
		agents = append(agents, options{name: name, etcd: endpoint, host: "127.0.0.1", data: filepath.Join(t.TempDir(), "data"), bin: bin,
			password: "secret", port: pgtest.FreePort(t), api: pgtest.FreePort(t)})
	}
	a, b := agents[0], agents[1]
	endedA, stopA := start(t, a)
	becomes(t, a, "/primary", http.StatusOK, endedA)
	becomes(t, a, "/replica", http.StatusServiceUnavailable, endedA)
	endedB, stopB := start(t, b)
	becomes(t, b, "/replica", http.StatusOK, endedB)

	stopA() // hands over
	if err := <-endedA; err != nil {
		t.Errorf("the end of a: %v", err)
	}
	becomes(t, b, "/primary", http.StatusOK, endedB)
	if _, err := os.Stat(filepath.Join(a.data, "postmaster.pid")); err == nil {
		t.Error("PostgreSQL runs on after the orderly end of its agent")
	}
	if names := members(t, endpoint); names != "b" {
		t.Errorf("members: %s", names)
	}
	stopB()
	if err := <-endedB; err != nil {
		t.Errorf("the end of b: %v", err)
	}
	if names := members(t, endpoint); names != "" {
		t.Errorf("members: %s", names)
	}
}

// members lists those whose keys are in the store.
func members(t *testing.T, endpoint string) string {
	t.Helper()
	backend, err := etcd3.New(etcd3.Config{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c, err := dcs.NewClient(backend, dcs.Options{Scope: "example"}).Load(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range c.Members {
		names = append(names, m.Name)
	}
	return strings.Join(names, ",")
}

func TestAgentSaysWhatIsWrong(t *testing.T) {
	err := run(t.Context(), options{name: "a", etcd: "127.0.0.1:1", host: "127.0.0.1", data: filepath.Join(t.TempDir(), "data"), bin: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "bin_dir") {
		t.Errorf("no PostgreSQL there: %v", err)
	}
}
