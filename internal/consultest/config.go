package consultest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
)

// portsEach is how many ports one process needs: clients, gossip, RPC.
const portsEach = 3

func prepare(dir, program string, o Options) ([]*Server, error) {
	n := max(o.Servers, 1)
	ports, err := freePorts(portsEach * (n + o.Agents))
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{}}
	if o.TLS != nil {
		if client, err = o.TLS.client(); err != nil {
			return nil, err
		}
	}
	var join []string
	for i := range n {
		join = append(join, fmt.Sprintf("127.0.0.1:%d", ports[portsEach*i+1]))
	}
	var servers []*Server
	for i := range n + o.Agents {
		s := &Server{Name: fmt.Sprintf("c%d", i), program: program, http: client, token: o.Token}
		p := ports[portsEach*i:]
		s.Address, s.URL = fmt.Sprintf("127.0.0.1:%d", p[0]), fmt.Sprintf("http://127.0.0.1:%d", p[0])
		s.raft = fmt.Sprintf("127.0.0.1:%d", p[2])
		s.logFile, s.dataDir, s.config = filepath.Join(dir, s.Name+".log"), filepath.Join(dir, s.Name), filepath.Join(dir, s.Name+".json")
		cfg := s.settings(p, join)
		if i < n {
			cfg["server"], cfg["bootstrap_expect"] = true, n
		}
		if o.TLS != nil {
			s.URL = "https://" + s.Address
			o.TLS.add(cfg, p[0])
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
		if err := os.WriteFile(s.config, raw, 0o600); err != nil {
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

func (t *TLS) add(cfg map[string]any, port int) {
	ports := cfg["ports"].(map[string]int)
	ports["http"], ports["https"] = -1, port
	cfg["tls"] = map[string]any{"https": map[string]any{
		"ca_file": t.CA, "cert_file": t.Server.Cert, "key_file": t.Server.Key, "verify_incoming": true}}
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
