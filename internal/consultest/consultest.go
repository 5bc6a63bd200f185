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
	"net/http"
	"os"
	"testing"

	"github.com/tanist-ha/tanist/internal/servertest"
	"github.com/tanist-ha/tanist/internal/testtools"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

// Options change how servers are started. The zero value is one server without TLS and without access control.
type Options struct {
	Servers int             // 0 means 1
	Agents  int             // agents that are no servers, started after these; they come last in what Start returns
	Config  map[string]any  // added to each configuration, e.g. {"session_ttl_min": "1s"}
	TLS     *servertest.TLS // nil: plain HTTP for clients
	Token   string          // a UUID: access control is on, everything that is not allowed is denied, and this token may do everything
}

// Server is one Consul process. It can be killed and started again on its ports and data.
type Server struct {
	servertest.Process
	Name    string // of its node
	Address string // 127.0.0.1:PORT of the HTTP API
	URL     string // http://127.0.0.1:PORT or https://...
	raft    string // address of a server's RPC and raft
	dataDir string
	token   string
	http    *http.Client
}

// Start runs a cluster for t and returns when it serves. Without the program the test is skipped, or failed if CI is set.
func Start(t testing.TB, o Options) []*Server {
	t.Helper()
	servers, err := prepare(t.TempDir(), o)
	EndIfMissing(t, err)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(servers[0].http.CloseIdleConnections) // all have the same client
	servertest.Start(t, servers)
	return servers
}

// Run is Start for a package's TestMain, whose tests share the servers. Their data is in dir; the caller stops each.
func Run(dir string, o Options) ([]*Server, error) {
	servers, err := prepare(dir, o)
	if err != nil {
		return nil, err
	}
	if err := servertest.Run(servers); err != nil {
		for _, s := range servers {
			s.Stop()
		}
		return nil, err
	}
	return servers, nil
}

// EndIfMissing ends a test that lacks the program, by what Run says: it is skipped, or failed if CI is set.
func EndIfMissing(t testing.TB, err error) {
	t.Helper()
	var missing *testtools.MissingError
	if errors.As(err, &missing) {
		pgtest.Missing(t, err.Error())
	}
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

// Wipe removes the data of a killed server: a Restart of all of them makes a new, empty store.
func (s *Server) Wipe() error { return os.RemoveAll(s.dataDir) }

// serves says whether the servers have a leader and know the node of s: without it, it can have no sessions.
func (s *Server) serves(ctx context.Context) bool {
	var node *struct{ Node struct{ Node string } }
	err := s.ask(ctx, http.MethodGet, "/v1/catalog/node/"+s.Name+"?consistent", nil, &node)
	return err == nil && node != nil
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
