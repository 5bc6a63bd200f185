package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestConsulSection(t *testing.T) {
	at := func(host string, port int) HostPort { return HostPort{Host: host, Port: port} }
	for name, tc := range map[string]struct {
		yaml, url string
		want      Consul
	}{
		"host":          {"consul: {host: a}\n", "http://a:8500", Consul{Host: at("a", 8500), Scheme: "http", Verify: true}},
		"host and port": {"consul: {host: '[::1]:1', scheme: https, verify: off}\n", "https://[::1]:1", Consul{Host: at("::1", 1), Scheme: "https"}},
		"port beside":   {"consul: {host: a, port: 9}\n", "http://a:9", Consul{Host: at("a", 9), Scheme: "http", Verify: true}},
		"url":           {"consul: {url: 'https://a', cacert: ca}\n", "https://a:8500", Consul{Host: at("a", 8500), Scheme: "https", Verify: true, CACert: "ca"}},
		"all": {"consul: {host: a, token: t, dc: d, consistency: stale, checks: [c], register_service: true, service_tags: 'x, y', service_check_interval: 7s, service_check_tls_server_name: n}\n",
			"http://a:8500", Consul{Host: at("a", 8500), Scheme: "http", Verify: true, Token: "t", DC: "d", Consistency: "stale", Checks: []string{"c"},
				RegisterService: true, ServiceTags: []string{"x", "y"}, ServiceCheckInterval: 7 * time.Second, ServiceCheckTLSServerName: "n"}},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.want.Consistency == "" {
				tc.want.Consistency, tc.want.ServiceCheckInterval = "default", 5*time.Second
			}
			c := mustLoad(t, tc.yaml)
			if c.Consul.URL() != tc.url {
				t.Errorf("url %s, want %s", c.Consul.URL(), tc.url)
			}
			if diff := cmp.Diff(tc.want, *c.Consul); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

// TestConsulReload: a running agent takes up a new token and what the catalog should show, and nothing else.
func TestConsulReload(t *testing.T) {
	old := mustLoad(t, "consul: {host: a, token: t}\n")
	for _, section := range []string{
		"{host: a, token: u}",
		"{host: a, token: t, register_service: true, service_tags: [x], service_check_interval: 7s, service_check_tls_server_name: n}",
	} {
		if got := old.RestartNeeded(mustLoad(t, "consul: "+section+"\n")); got != nil {
			t.Errorf("%s: %v", section, got)
		}
	}
	if diff := cmp.Diff([]string{"consul"}, old.RestartNeeded(mustLoad(t, "consul: {host: b, token: t}\n"))); diff != "" {
		t.Errorf("another agent: want -, got +:\n%s", diff)
	}
}
