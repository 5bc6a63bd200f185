package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEtcdServers reads each way in which Patroni lets the servers be named.
func TestEtcdServers(t *testing.T) {
	hosts := func(h ...HostPort) []HostPort { return h }
	for text, want := range map[string]Etcd3{
		"host: a":               {Hosts: hosts(HostPort{"a", 2379})},
		"{host: a, port: 1}":    {Hosts: hosts(HostPort{"a", 1})},
		"hosts: 'a:1, [::1]:2'": {Hosts: hosts(HostPort{"a", 1}, HostPort{"::1", 2})},
		"hosts: [a, 'b:2']":     {Hosts: hosts(HostPort{"a", 2379}, HostPort{"b", 2})},
		"{hosts: [a], use_proxies: true, protocol: https}": {Hosts: hosts(HostPort{"a", 2379}), UseProxies: true, Protocol: "https"},
		"url: https://u:p@a:1":                             {Hosts: hosts(HostPort{"a", 1}), Protocol: "https", Username: "u", Password: "p"},
		"proxy: http://a:1":                                {Hosts: hosts(HostPort{"a", 1}), UseProxies: true},
		"{proxy: 'http://a:1', srv: example.org}":          {Hosts: hosts(HostPort{"a", 1}), UseProxies: true},
		"srv: example.org":                                 {SRV: "example.org"},
		"discovery_srv: example.org.":                      {SRV: "example.org"},
		"{srv_domain: example.org, srv_suffix: blue}":      {SRV: "example.org", SRVSuffix: "blue"},
		"{srv: example.org, host: a, cacert: /ca}":         {SRV: "example.org", CACert: "/ca"},
	} {
		t.Run(text, func(t *testing.T) {
			c, _, err := Load(Options{Environ: []string{"PATRONI_CONFIGURATION=etcd3: " + flow(text)}})
			if c == nil || c.Etcd3 == nil {
				t.Fatal(err)
			}
			want.Section = "etcd3"
			if want.Protocol == "" {
				want.Protocol = "http"
			}
			if diff := cmp.Diff(&want, c.Etcd3); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func flow(text string) string {
	if text[0] == '{' {
		return text
	}
	return "{" + text + "}"
}

// TestEtcdPasswordNeedsNoRestart: a running agent takes a changed password up.
func TestEtcdPasswordNeedsNoRestart(t *testing.T) {
	load := func(text string) *Config {
		c, _, _ := Load(Options{Environ: []string{"PATRONI_CONFIGURATION=etcd3: " + text}})
		return c
	}
	old := load("{host: a, username: u, password: p}")
	if got := old.RestartNeeded(load("{host: a, username: v, password: q}")); got != nil {
		t.Errorf("another user needs a restart: %q", got)
	}
	if diff := cmp.Diff([]string{"etcd3"}, old.RestartNeeded(load("{host: b, username: u, password: p}"))); diff != "" {
		t.Error(diff)
	}
}
