package consultest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/internal/servertest"
)

// Leader returns the one of servers that leads, by the word of s, or nil.
func (s *Server) Leader(ctx context.Context, servers []*Server) (*Server, error) {
	var address string
	if err := s.ask(ctx, http.MethodGet, "/v1/status/leader", nil, &address); err != nil {
		return nil, err
	}
	for _, other := range servers {
		if other.raft == address {
			return other, nil
		}
	}
	return nil, nil
}

// Token makes a token with the given rules, in Consul's language of policies.
func (s *Server) Token(ctx context.Context, name, rules string) (string, error) {
	if err := s.ask(ctx, http.MethodPut, "/v1/acl/policy", map[string]string{"Name": name, "Rules": rules}, nil); err != nil {
		return "", err
	}
	var made struct{ SecretID string }
	err := s.ask(ctx, http.MethodPut, "/v1/acl/token", map[string]any{"Policies": []map[string]string{{"Name": name}}}, &made)
	return made.SecretID, err
}

// Leave makes the agent leave the cluster in order; its process ends.
func (s *Server) Leave(ctx context.Context) error {
	return s.ask(ctx, http.MethodPut, "/v1/agent/leave", nil, nil)
}

// Session is one session as Consul shows it.
type Session struct {
	ID, Name, Node, TTL, Behavior string
	LockDelay                     time.Duration
	NodeChecks                    []string
}

// Session looks a session up, consistently; nil: there is none.
func (s *Server) Session(ctx context.Context, id string) (*Session, error) {
	var found []Session
	if err := s.ask(ctx, http.MethodGet, "/v1/session/info/"+id+"?consistent", nil, &found); err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// EndSession ends a session as an operator does.
func (s *Server) EndSession(ctx context.Context, id string) error {
	return s.ask(ctx, http.MethodPut, "/v1/session/destroy/"+id, nil, nil)
}

// KV is one key as Consul shows it.
type KV struct {
	Key, Session string
	Value        []byte
	Flags        uint64
	CreateIndex  uint64
	ModifyIndex  uint64
	LockIndex    uint64
}

// Get reads one key consistently; nil: there is none.
func (s *Server) Get(ctx context.Context, key string) (*KV, error) {
	var found []KV
	if err := s.ask(ctx, http.MethodGet, "/v1/kv/"+key+"?consistent", nil, &found); err != nil {
		if strings.Contains(err.Error(), "404") {
			return nil, nil
		}
		return nil, err
	}
	return &found[0], nil
}

// Do makes any request of Consul's API with every permission; in and out are JSON and may be nil.
func (s *Server) Do(ctx context.Context, method, path string, in, out any) error {
	return s.ask(ctx, method, path, in, out)
}

// Requests counts the HTTP requests that the process has answered since its start, by method and path as Consul names it ("GET v1_kv_",
// "PUT v1_txn"), from its own metrics. Consul does not count bytes.
func (s *Server) Requests(ctx context.Context) (map[string]int, error) {
	resp, err := s.raw(ctx, http.MethodGet, "/v1/agent/metrics?format=prometheus", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	counts := map[string]int{}
	err = servertest.Count(resp.Body, "consul_api_http_count", func(label func(string) string, n int) {
		counts[label("method")+" "+label("path")] += n
	})
	return counts, err
}

// Clear removes all keys.
func (s *Server) Clear(ctx context.Context) error {
	return s.ask(ctx, http.MethodDelete, "/v1/kv/?recurse", nil, nil)
}

// Snapshot is a backup of the servers' state.
func (s *Server) Snapshot(ctx context.Context) ([]byte, error) {
	resp, err := s.raw(ctx, http.MethodGet, "/v1/snapshot", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// RestoreSnapshot puts the servers back into the state of a backup.
func (s *Server) RestoreSnapshot(ctx context.Context, snapshot []byte) error {
	resp, err := s.raw(ctx, http.MethodPut, "/v1/snapshot", bytes.NewReader(snapshot))
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Put writes a key as any other program does.
func (s *Server) Put(ctx context.Context, key, value string) error {
	resp, err := s.raw(ctx, http.MethodPut, "/v1/kv/"+key, strings.NewReader(value))
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
