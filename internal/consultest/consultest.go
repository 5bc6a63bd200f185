// Package consultest runs real Consul servers for tests: each in its own process on free ports of 127.0.0.1, with its data in a
// temporary folder, ended with the test. The program is the one that "make tools" builds.
package consultest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/internal/testcert"
	"github.com/tanist-ha/tanist/internal/testtools"
)

// Options change how servers are started. The zero value is one server without TLS and without access control.
type Options struct {
	Servers int            // 0 means 1
	Agents  int            // agents that are no servers, started after these; they come last in what Start returns
	Config  map[string]any // added to each configuration, e.g. {"session_ttl_min": "1s"}
	TLS     *TLS           // nil: plain HTTP for clients
	Token   string         // a UUID: access control is on, everything that is not allowed is denied, and this token may do everything
}

// TLS makes the servers speak TLS to clients and demand client certificates.
type TLS struct {
	CA             string // file of the authority that client certificates must come from
	Server, Client testcert.Files
}

// Server is one Consul process. It can be killed and started again on its ports and data.
type Server struct {
	Name    string // of its node
	Address string // 127.0.0.1:PORT of the HTTP API
	URL     string // http://127.0.0.1:PORT or https://...
	program string
	config  string // file
	raft    string // address of a server's RPC and raft
	logFile string
	dataDir string
	token   string
	http    *http.Client
	cmd     *exec.Cmd
	ended   chan struct{}
}

// startTimeout is generous: it only ends tests that would hang.
const startTimeout = 90 * time.Second

// Start runs a cluster for t and returns when it serves. Without the program the test is skipped, or failed if CI is set.
func Start(t testing.TB, o Options) []*Server {
	t.Helper()
	program, err := testtools.Path("consul")
	var missing *testtools.MissingError
	switch {
	case errors.As(err, &missing) && os.Getenv("CI") == "":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	servers, err := run(t.TempDir(), program, o)
	for _, s := range servers {
		t.Cleanup(func() {
			s.Stop()
			if t.Failed() {
				tail(t, s.logFile)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return servers
}

// Run is Start for a package's TestMain, whose tests share the servers. Their data is in dir; the caller stops each.
func Run(dir string, o Options) ([]*Server, error) {
	program, err := testtools.Path("consul")
	if err != nil {
		return nil, err
	}
	servers, err := run(dir, program, o)
	if err != nil {
		for _, s := range servers {
			s.Stop()
		}
		return nil, err
	}
	return servers, nil
}

// run returns what it has prepared also when it fails.
func run(dir, program string, o Options) ([]*Server, error) {
	servers, err := prepare(dir, program, o)
	if err != nil {
		return nil, err
	}
	for _, s := range servers {
		if err := s.start(); err != nil {
			return servers, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for _, s := range servers {
		if err := s.waitReady(ctx); err != nil {
			return servers, err
		}
	}
	return servers, nil
}

// Stop ends the process for good.
func (s *Server) Stop() {
	s.Kill()
	s.http.CloseIdleConnections()
}

// URLs lists where servers listen.
func URLs(servers []*Server) []string {
	var all []string
	for _, s := range servers {
		all = append(all, s.URL)
	}
	return all
}

// start runs the process. It dies with the thread that started it, so that thread is kept: nothing outlives the test's process.
func (s *Server) start() error {
	log, err := os.OpenFile(s.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.Command(s.program, "agent", "-config-file", s.config)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "GOMAXPROCS=2")
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
		return fmt.Errorf("start consul: %w", err)
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

// Ended is closed when the process has ended by itself.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// Wipe removes the data of a killed server: a Restart of all of them makes a new, empty store.
func (s *Server) Wipe() error { return os.RemoveAll(s.dataDir) }

// Pause freezes the process: its connections stay open and nobody answers.
func (s *Server) Pause() error { return s.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a frozen process go on.
func (s *Server) Resume() error { return s.cmd.Process.Signal(syscall.SIGCONT) }

// waitReady asks until the servers have a leader and know the node of s: without it, it can have no sessions.
func (s *Server) waitReady(ctx context.Context) error {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		var node *struct{ Node struct{ Node string } }
		if err := s.ask(ctx, http.MethodGet, "/v1/catalog/node/"+s.Name+"?consistent", nil, &node); err == nil && node != nil {
			return nil
		}
		select {
		case <-again.C:
		case <-s.ended:
			return errors.New("consul ended while starting")
		case <-ctx.Done():
			return fmt.Errorf("wait for consul: %w", ctx.Err())
		}
	}
}

// ask makes a request with the token that may do everything.
func (s *Server) ask(ctx context.Context, method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	resp, err := s.raw(ctx, method, path, &body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var raw bytes.Buffer
	if _, err := raw.ReadFrom(resp.Body); err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw.Bytes(), out)
}

// raw makes a request with the token that may do everything, and returns an answer that is a success.
func (s *Server) raw(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Consul-Token", s.token)
	resp, err := s.http.Do(req)
	if err != nil || resp.StatusCode == http.StatusOK {
		return resp, err
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
}

// freePorts returns n ports that were free a moment ago, for TCP and for UDP.
func freePorts(n int) ([]int, error) {
	var ports []int
	for len(ports) < n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			continue
		}
		defer u.Close()
		ports = append(ports, port)
	}
	return ports, nil
}

func tail(t testing.TB, file string) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return
	}
	t.Logf("end of %s:\n%s", filepath.Base(file), raw[max(0, len(raw)-1500):])
}
