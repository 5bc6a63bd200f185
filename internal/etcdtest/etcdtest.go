// Package etcdtest runs real etcd servers for tests: each in its own process on free ports of 127.0.0.1, with its data in a
// temporary folder, ended with the test.
package etcdtest

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/internal/testcert"
	"github.com/tanist-ha/tanist/internal/testtools"
)

// Options change how servers are started. The zero value is one server without TLS.
type Options struct {
	Members int      // 0 means 1
	Args    []string // added to the command line, e.g. "--auth-token-ttl=1"
	TLS     *TLS     // nil: plain HTTP for clients
	Host    string   // where clients are served; "" means 127.0.0.1
	Tool    string   // the server is one of internal/testtools, e.g. "etcd36"; "" means the installed one

	Isolable bool // members talk to each other through proxies, for Isolate
}

// TLS makes the servers speak TLS to clients and demand client certificates.
type TLS struct {
	CA             string // file of the authority that client certificates must come from
	Server, Client testcert.Files
}

// Server is one etcd process. It can be killed and started again on its ports and data.
type Server struct {
	Endpoint string // http://127.0.0.1:PORT or https://...
	program  string
	args     []string
	logFile  string
	dataDir  string
	http     *http.Client
	peers    *peers // nil: not Isolable
	peerPort int
	cmd      *exec.Cmd
	ended    chan struct{}
}

// startTimeout is generous: it only ends tests that would hang.
const startTimeout = 30 * time.Second

// Start runs a cluster for t and returns when it serves. Without the etcd program the test is skipped, or failed if CI is set.
func Start(t testing.TB, o Options) []*Server {
	t.Helper()
	program, err := find(o.Tool)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	servers, err := prepare(t.TempDir(), program, o)
	if err != nil {
		t.Fatal(err)
	}
	if p := servers[0].peers; p != nil {
		t.Cleanup(p.close)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for _, s := range servers {
		t.Cleanup(func() {
			s.Kill()
			s.http.CloseIdleConnections()
			if t.Failed() {
				tail(t, s.logFile)
			}
		})
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range servers {
		if err := s.waitReady(ctx); err != nil {
			t.Fatal(err)
		}
	}
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
	ports, err := freePorts(2 * n)
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
	client, scheme := &http.Client{Transport: &http.Transport{}}, "http"
	if o.TLS != nil {
		scheme = "https"
		if client, err = o.TLS.client(); err != nil {
			return nil, err
		}
	}
	peer := func(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }
	var cluster []string
	for i := range n {
		cluster = append(cluster, fmt.Sprintf("m%d=%s", i, peer(fronts[i])))
	}
	var servers []*Server
	for i := range n {
		name := fmt.Sprintf("m%d", i)
		s := &Server{Endpoint: scheme + "://" + net.JoinHostPort(cmp.Or(o.Host, "127.0.0.1"), strconv.Itoa(clientPorts[i])), http: client, program: program, logFile: filepath.Join(dir, name+".log"), dataDir: filepath.Join(dir, name),
			peers: links, peerPort: peerPorts[i]}
		s.args = []string{"--name", name, "--data-dir", s.dataDir, "--logger", "zap", "--log-level", "warn",
			"--listen-client-urls", s.Endpoint, "--advertise-client-urls", s.Endpoint,
			"--listen-peer-urls", peer(peerPorts[i]), "--initial-advertise-peer-urls", peer(fronts[i]),
			"--initial-cluster", strings.Join(cluster, ","), "--initial-cluster-token", filepath.Base(dir)}
		if t := o.TLS; t != nil {
			s.args = append(s.args, "--cert-file", t.Server.Cert, "--key-file", t.Server.Key, "--trusted-ca-file", t.CA, "--client-cert-auth")
		}
		s.args = append(s.args, o.Args...)
		servers = append(servers, s)
	}
	return servers, nil
}

func (t *TLS) client() (*http.Client, error) {
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	pair, err := tls.LoadX509KeyPair(t.Client.Cert, t.Client.Key)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}}, nil
}

// Endpoints lists where servers listen.
func Endpoints(servers []*Server) []string {
	var all []string
	for _, s := range servers {
		all = append(all, s.Endpoint)
	}
	return all
}

// start runs the process. It dies with the thread that started it, so that thread is kept: nothing outlives the test's process.
func (s *Server) start() error {
	log, err := os.OpenFile(s.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.Command(s.program, s.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer close(ended)
		defer log.Close()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	s.cmd, s.ended = cmd, ended
	return nil
}

// Restart starts a killed server again and waits until it serves.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.start(); err != nil {
		return err
	}
	return s.waitReady(ctx)
}

// Kill ends the process with SIGKILL and waits for its end. Killing twice does nothing.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.cmd = nil
}

// Wipe removes the data of a killed server: a Restart makes a new, empty store. With one member, etcd gives it the old identity.
func (s *Server) Wipe() error { return os.RemoveAll(s.dataDir) }

// Pause freezes the process: its connections stay open and nobody answers.
func (s *Server) Pause() error { return s.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a frozen process go on.
func (s *Server) Resume() error { return s.cmd.Process.Signal(syscall.SIGCONT) }

// waitReady asks until the server reports health, which needs a leader.
func (s *Server) waitReady(ctx context.Context) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		if resp, err := s.get(ctx, "/health"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-again.C:
		case <-s.ended:
			return errors.New("etcd ended while starting")
		case <-ctx.Done():
			return fmt.Errorf("wait for etcd: %w", ctx.Err())
		}
	}
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
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		labels, ok := strings.CutPrefix(lines.Text(), "grpc_server_handled_total{")
		if !ok {
			continue
		}
		labels, value, _ := strings.Cut(labels, "} ")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("read metrics of etcd: %w", err)
		}
		counts[label(labels, "grpc_method")] += int(n)
		counts[label(labels, "grpc_method")+" "+label(labels, "grpc_code")] += int(n)
	}
	return counts, lines.Err()
}

func label(labels, name string) string {
	_, rest, _ := strings.Cut(labels, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

func (s *Server) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+path, nil)
	if err != nil {
		return nil, err
	}
	return s.http.Do(req)
}

// freePorts returns n ports that were free a moment ago.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func tail(t testing.TB, file string) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return
	}
	t.Logf("end of %s:\n%s", filepath.Base(file), raw[max(0, len(raw)-1000):])
}
