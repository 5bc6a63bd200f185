package consultest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/tanist-ha/tanist/internal/freeport"
	"github.com/tanist-ha/tanist/internal/servertest"
	"github.com/tanist-ha/tanist/internal/testtools"
)

// portsEach is how many ports one process needs: clients, gossip, RPC.
const portsEach = 3

func prepare(dir string, o Options) ([]*Server, error) {
	program, err := testtools.Path("consul")
	if err != nil {
		return nil, err
	}
	n := max(o.Servers, 1)
	ports, err := freeport.Get(portsEach * (n + o.Agents))
	if err != nil {
		return nil, err
	}
	client, err := o.TLS.HTTPClient()
	if err != nil {
		return nil, err
	}
	var join []string
	for i := range n {
		join = append(join, fmt.Sprintf("127.0.0.1:%d", ports[portsEach*i+1]))
	}
	var servers []*Server
	for i := range n + o.Agents {
		s := &Server{Name: fmt.Sprintf("c%d", i), http: client, token: o.Token}
		p := ports[portsEach*i:]
		s.Address, s.URL = fmt.Sprintf("127.0.0.1:%d", p[0]), fmt.Sprintf("http://127.0.0.1:%d", p[0])
		s.raft = fmt.Sprintf("127.0.0.1:%d", p[2])
		s.dataDir = filepath.Join(dir, s.Name)
		config := filepath.Join(dir, s.Name+".json")
		s.Program, s.LogFile, s.Serves = "consul", filepath.Join(dir, s.Name+".log"), s.serves
		s.Args, s.Env = []string{program, "agent", "-config-file", config}, []string{"GOMAXPROCS=2"}
		cfg := s.settings(p, join)
		if i < n {
			cfg["server"], cfg["bootstrap_expect"] = true, n
		}
		if o.TLS != nil {
			s.URL = "https://" + s.Address
			addTLS(o.TLS, cfg, p[0])
		}
		if o.Token != "" {
			cfg["acl"] = map[string]any{"enabled": true, "default_policy": "deny",
				"tokens": map[string]any{"initial_management": o.Token, "agent": o.Token}}
		}
		maps.Copy(cfg, o.Config)
		raw, err := json.Marshal(cfg)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(config, raw, 0o600); err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// settings are those of an agent; the fastest elections that Consul offers save the tests time.
func (s *Server) settings(ports []int, join []string) map[string]any {
	return map[string]any{
		"node_name": s.Name, "data_dir": s.dataDir, "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1", "log_level": "warn",
		"ports": map[string]int{"http": ports[0], "serf_lan": ports[1], "server": ports[2],
			"https": -1, "dns": -1, "grpc": -1, "grpc_tls": -1, "serf_wan": -1},
		"retry_join": join, "retry_interval": "250ms", "disable_update_check": true, "leave_on_terminate": false,
		"performance": map[string]any{"raft_multiplier": 1},
		"telemetry":   map[string]any{"prometheus_retention_time": "24h", "disable_hostname": true},
	}
}

func addTLS(t *servertest.TLS, cfg map[string]any, port int) {
	ports := cfg["ports"].(map[string]int)
	ports["http"], ports["https"] = -1, port
	cfg["tls"] = map[string]any{"https": map[string]any{
		"ca_file": t.CA, "cert_file": t.Server.Cert, "key_file": t.Server.Key, "verify_incoming": true}}
}
