//go:build linux

package testcluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/internal/testtools"
)

// Consul is a real Consul datacenter of server agents. A configuration names one agent, so that each node speaks to one server, as it
// would to the agent of its own host.
type Consul struct {
	ensemble
	http *http.Client
	rpc  []string // what a server is to the others, host:port
}

// newConsul prepares the servers; nothing runs yet.
func (c *Cluster) newConsul() (*Consul, error) {
	program, err := testtools.Install("consul", c.Programs.Dir)
	if err != nil {
		return nil, asMissing(err)
	}
	n := c.Servers
	ports, err := freePorts(c.base.ns, c.Address, 3*n)
	if err != nil {
		return nil, err
	}
	s := &Consul{http: &http.Client{Transport: &http.Transport{DialContext: c.Dial, DisableCompression: true}}}
	var join []string
	for i := range n {
		s.rpc = append(s.rpc, address(c.Address, ports[3*i+1]))
		join = append(join, address(c.Address, ports[3*i+2]))
	}
	for i := range n {
		name := "consul-" + strconv.Itoa(i)
		one := &server{address: address(c.Address, ports[3*i]), start: c.base, dataDir: filepath.Join(c.Dir, name)}
		off := -1
		config, err := c.WriteFile(name+".json", toJSON(map[string]any{
			"server": true, "bootstrap_expect": n, "node_name": name, "datacenter": "dc1", "data_dir": one.dataDir,
			"bind_addr": c.Address, "client_addr": c.Address, "retry_join": join, "retry_interval": "1s", "log_level": "warn",
			"ports": map[string]any{"http": ports[3*i], "server": ports[3*i+1], "serf_lan": ports[3*i+2],
				"serf_wan": off, "dns": off, "grpc": off, "grpc_tls": off},
			"performance": map[string]any{"raft_multiplier": 1}, "connect": map[string]any{"enabled": false},
			"disable_update_check": true, "leave_on_terminate": false, "skip_leave_on_interrupt": true,
			"telemetry": map[string]any{"prometheus_retention_time": "24h", "disable_hostname": true},
		}))
		if err != nil {
			return nil, err
		}
		one.start.logFile = filepath.Join(c.Dir, name+".log")
		one.start.args = []string{program, "agent", "-config-file", config}
		s.servers = append(s.servers, one)
	}
	return s, nil
}

// asMissing says in this package's words that a program was not built.
func asMissing(err error) error {
	var missing *testtools.MissingError
	if errors.As(err, &missing) {
		return &MissingError{missing.Program, missing.Hint}
	}
	return err
}

// Section implements Store. A configuration takes one address: the first.
func (s *Consul) Section(_ *Node, addresses []string) (string, map[string]any) {
	return "consul", map[string]any{"host": addresses[0]}
}

// Start implements Store.
func (s *Consul) Start(ctx context.Context) error {
	if err := s.launch(); err != nil {
		return err
	}
	return poll(ctx, 50*time.Millisecond, "Consul", func() (bool, string) {
		if why := s.ended(); why != "" {
			return false, why
		}
		for _, one := range s.servers { // each of them, not any
			if _, err := s.get(ctx, one.address, "/v1/kv/health?consistent"); err != nil && !absent(err) {
				return false, err.Error()
			}
		}
		return true, ""
	})
}

// Leader implements Store.
func (s *Consul) Leader(ctx context.Context) (int, error) {
	raw, err := first(ctx, s.Addresses(), func(ctx context.Context, a string) ([]byte, error) { return s.get(ctx, a, "/v1/status/leader") })
	if err != nil {
		return 0, err
	}
	i := slices.Index(s.rpc, strings.Trim(string(raw), "\"\n"))
	if i < 0 {
		return 0, fmt.Errorf("the leader of Consul is %s, none of %v", raw, s.rpc)
	}
	return i, nil
}

// Get implements Store.
func (s *Consul) Get(ctx context.Context, key string) (*KV, error) {
	var reply []struct {
		Value   []byte
		Session string
	}
	raw, err := s.ask(ctx, http.MethodGet, "/v1/kv"+key+"?consistent", "")
	if err != nil || raw == nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &reply); err != nil || len(reply) != 1 {
		return nil, fmt.Errorf("read Consul's answer: %w: %s", err, raw)
	}
	return &KV{key, string(reply[0].Value), reply[0].Session}, nil
}

// Put implements Store.
func (s *Consul) Put(ctx context.Context, key, value string) error {
	_, err := s.ask(ctx, http.MethodPut, "/v1/kv"+key, value)
	return err
}

// Delete implements Store.
func (s *Consul) Delete(ctx context.Context, key string) error {
	_, err := s.ask(ctx, http.MethodDelete, "/v1/kv"+key, "")
	return err
}

// SessionTTL implements Store.
func (s *Consul) SessionTTL(ctx context.Context, session string) (time.Duration, error) {
	raw, err := s.ask(ctx, http.MethodGet, "/v1/session/info/"+session+"?consistent", "")
	if err != nil {
		return 0, err
	}
	var reply []struct{ TTL string }
	if err := json.Unmarshal(raw, &reply); err != nil || len(reply) == 0 {
		return 0, err
	}
	return time.ParseDuration(reply[0].TTL)
}

// EndSession implements Store.
func (s *Consul) EndSession(ctx context.Context, session string) error {
	_, err := s.ask(ctx, http.MethodPut, "/v1/session/destroy/"+session, "")
	return err
}

// Traffic implements Store. Consul counts requests of its HTTP API by path and method, and no bytes.
func (s *Consul) Traffic(ctx context.Context, i int) (Traffic, error) {
	t := Traffic{ByMethod: map[string]float64{}, NoBytes: true}
	raw, err := s.get(ctx, s.servers[i].address, "/v1/agent/metrics?format=prometheus")
	if err != nil {
		return t, err
	}
	err = metrics(raw, func(name string, value float64) {
		if !strings.HasPrefix(name, "consul_api_http_count{") || strings.HasPrefix(label(name, "path"), "v1_agent_metrics") {
			return
		}
		t.Requests += value
		t.ByMethod[label(name, "method")+" "+label(name, "path")] += value
	})
	return t, err
}

// ask sends one request to the first server that answers. A key that is not there is an answer: nil.
func (s *Consul) ask(ctx context.Context, method, path, body string) ([]byte, error) {
	return first(ctx, s.Addresses(), func(ctx context.Context, a string) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, method, "http://"+a+path, strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		raw, err := fetch(s.http, req)
		if absent(err) {
			return nil, nil
		}
		return raw, err
	})
}

func (s *Consul) get(ctx context.Context, address, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return nil, err
	}
	return fetch(s.http, req)
}

func absent(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.code == http.StatusNotFound
}

func (s *Consul) close() { s.http.CloseIdleConnections() }
