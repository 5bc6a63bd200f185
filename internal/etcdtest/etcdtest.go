// Package etcdtest runs real etcd servers for tests: each in its own process on free ports of 127.0.0.1, with its data in a
// temporary folder, ended with the test.
package etcdtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/internal/freeport"
	"github.com/tanist-ha/tanist/internal/servertest"
	"github.com/tanist-ha/tanist/internal/testtools"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

// Options change how servers are started. The zero value is one server without TLS.
type Options struct {
	Members int             // 0 means 1
	Args    []string        // added to the command line, e.g. "--auth-token-ttl=1"
	TLS     *servertest.TLS // nil: plain HTTP for clients
	Host    string          // where clients are served; "" means 127.0.0.1
	Tool    string          // the server is one of internal/testtools, e.g. "etcd36"; "" means the installed one

	Isolable bool // members talk to each other through proxies, for Isolate
}

// Server is one etcd process. It can be killed and started again on its ports and data.
type Server struct {
	servertest.Process
	Endpoint string // http://127.0.0.1:PORT or https://...
	dataDir  string
	http     *http.Client
	peers    *peers // nil: not Isolable
	peerPort int
}

// Start runs a cluster for t and returns when it serves. Without the etcd program the test is skipped, or failed if CI is set.
func Start(t testing.TB, o Options) []*Server {
	t.Helper()
	program, err := find(o.Tool)
	if err != nil {
		pgtest.Missing(t, err.Error())
	}
	servers, err := prepare(t.TempDir(), program, o)
	if err != nil {
		t.Fatal(err)
	}
	if p := servers[0].peers; p != nil {
		t.Cleanup(p.close)
	}
	t.Cleanup(servers[0].http.CloseIdleConnections) // all have the same client
	servertest.Start(t, servers)
	return servers
}

// find names the program of the server.
func find(tool string) (string, error) {
	if tool != "" {
		return testtools.Path(tool)
	}
	program, err := exec.LookPath("etcd")
	if err != nil {
		return "", errors.New("etcd is not installed (Debian: etcd-server)")
	}
	return program, nil
}

func prepare(dir, program string, o Options) ([]*Server, error) {
	n := max(o.Members, 1)
	ports, err := freeport.Get(2 * n)
	if err != nil {
		return nil, err
	}
	clientPorts, peerPorts := ports[:n], ports[n:]
	fronts, links := peerPorts, (*peers)(nil)
	if o.Isolable {
		if links, fronts, err = newPeers(peerPorts); err != nil {
			return nil, err
		}
	}
	client, err := o.TLS.HTTPClient()
	if err != nil {
		return nil, err
	}
	scheme := "http"
	if o.TLS != nil {
		scheme = "https"
	}
	peer := func(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }
	var cluster []string
	for i := range n {
		cluster = append(cluster, fmt.Sprintf("m%d=%s", i, peer(fronts[i])))
	}
	var servers []*Server
	for i := range n {
		name := fmt.Sprintf("m%d", i)
		s := &Server{Endpoint: scheme + "://" + net.JoinHostPort(cmp.Or(o.Host, "127.0.0.1"), strconv.Itoa(clientPorts[i])), http: client, dataDir: filepath.Join(dir, name),
			peers: links, peerPort: peerPorts[i]}
		s.Program, s.LogFile, s.Serves = "etcd", filepath.Join(dir, name+".log"), s.healthy
		s.Args = []string{program, "--name", name, "--data-dir", s.dataDir, "--logger", "zap", "--log-level", "warn",
			"--listen-client-urls", s.Endpoint, "--advertise-client-urls", s.Endpoint,
			"--listen-peer-urls", peer(peerPorts[i]), "--initial-advertise-peer-urls", peer(fronts[i]),
			"--initial-cluster", strings.Join(cluster, ","), "--initial-cluster-token", filepath.Base(dir)}
		if t := o.TLS; t != nil {
			s.Args = append(s.Args, "--cert-file", t.Server.Cert, "--key-file", t.Server.Key, "--trusted-ca-file", t.CA, "--client-cert-auth")
		}
		s.Args = append(s.Args, o.Args...)
		servers = append(servers, s)
	}
	return servers, nil
}

// Endpoints lists where servers listen.
func Endpoints(servers []*Server) []string {
	var all []string
	for _, s := range servers {
		all = append(all, s.Endpoint)
	}
	return all
}

// Wipe removes the data of a killed server: a Restart makes a new, empty store. With one member, etcd gives it the old identity.
func (s *Server) Wipe() error { return os.RemoveAll(s.dataDir) }

// healthy says whether the server reports health, which needs a leader.
func (s *Server) healthy(ctx context.Context) bool {
	resp, err := s.get(ctx, "/health")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Handled counts the gRPC requests that the server has finished since its start, by method ("Txn", "LeaseKeepAlive") and by result code
// ("Txn OK"), from its own metrics.
func (s *Server) Handled(ctx context.Context) (map[string]int, error) {
	resp, err := s.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	counts := map[string]int{}
	err = servertest.Count(resp.Body, "grpc_server_handled_total", func(label func(string) string, n int) {
		counts[label("grpc_method")] += n
		counts[label("grpc_method")+" "+label("grpc_code")] += n
	})
	return counts, err
}

func (s *Server) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+path, nil)
	if err != nil {
		return nil, err
	}
	return s.http.Do(req)
}
