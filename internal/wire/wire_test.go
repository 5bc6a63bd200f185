package wire

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs/consul"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/dcs/zookeeper"
)

func TestOverride(t *testing.T) {
	for text, want := range map[string]struct{ endpoint, namespace, problem string }{
		"etcd3://":               {"http://localhost:2379", "service", ""},
		"etcd3://db1":            {"http://db1:2379", "service", ""},
		"etcd://db1:2399/db/":    {"http://db1:2399", "db", ""},
		"db1:2399":               {"http://db1:2399", "service", ""},
		"db1":                    {"http://db1:2379", "service", ""},
		"etcd3://[::1]:2399/a/b": {"http://[::1]:2399", "a/b", ""},
		"db1:8500":               {"http://db1:8500", "service", ""},
		"consul://db1/db":        {"http://db1:8500", "db", ""},
		"zookeeper://db1/db":     {"db1:2181", "db", ""},
		"db1:2181":               {"db1:2181", "service", ""},
		"exhibitor://db1":        {"exhibitor db1 8181", "service", ""},
		"raft://db1":             {"", "", "unknown dcs scheme: raft"},
		"etcd3://db1:99999":      {"", "", `read the store's URL "etcd3://db1:99999": "99999" is not a port`},
	} {
		t.Run(text, func(t *testing.T) {
			cfg := &config.Config{Namespace: "service", EmbedEtcd: &config.EmbedEtcd{}}
			err := Override(cfg, text)
			if want.problem != "" {
				if err == nil || err.Error() != want.problem {
					t.Fatalf("got %v, want %s", err, want.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Consul != nil {
				if got := Consul(cfg, nil).URL; got != want.endpoint || cfg.Etcd3 != nil || cfg.Namespace != want.namespace {
					t.Errorf("namespace %s, url %s", cfg.Namespace, got)
				}
				return
			}
			if z := cfg.ZooKeeper; z != nil {
				var got string
				if z.Exhibitor == nil {
					got = z.Hosts[0].String()
				} else {
					got = fmt.Sprintf("exhibitor %s %d", z.Exhibitor.Hosts[0], z.Exhibitor.Port)
				}
				if got != want.endpoint || cfg.Etcd3 != nil || cfg.Namespace != want.namespace {
					t.Errorf("namespace %s, at %s", cfg.Namespace, got)
				}
				return
			}
			got, err := Etcd3(cfg, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{want.endpoint}, got.Endpoints); diff != "" || cfg.Namespace != want.namespace {
				t.Errorf("namespace %s, endpoints want -, got +:\n%s", cfg.Namespace, diff)
			}
		})
	}
}

func TestEtcd3(t *testing.T) {
	tls := &etcd3.TLS{CAFile: "ca", CertFile: "cert", KeyFile: "key"}
	for name, tc := range map[string]struct {
		cfg  config.Config
		want etcd3.Config
		err  error
	}{
		"plain": {config.Config{Etcd3: &config.Etcd3{Hosts: []config.HostPort{{Host: "a", Port: 1}, {Host: "b", Port: 2}}, Protocol: "http", Username: "u", Password: "p"}},
			etcd3.Config{Endpoints: []string{"http://a:1", "http://b:2"}, FollowMembers: true, Username: "u", Password: "p"}, nil},
		"certificates": {config.Config{Etcd3: &config.Etcd3{Hosts: []config.HostPort{{Host: "a", Port: 1}}, Protocol: "https", CACert: "ca", Cert: "cert", Key: "key"}},
			etcd3.Config{Endpoints: []string{"https://a:1"}, FollowMembers: true, TLS: tls}, nil},
		"proxies": {config.Config{Etcd3: &config.Etcd3{Hosts: []config.HostPort{{Host: "a", Port: 1}}, UseProxies: true, Protocol: "http"}},
			etcd3.Config{Endpoints: []string{"http://a:1"}}, nil},
		"by DNS, with certificates": {config.Config{Etcd3: &config.Etcd3{SRV: "x.org", SRVSuffix: "s", Protocol: "http", CACert: "ca", Cert: "cert", Key: "key"}},
			etcd3.Config{Endpoints: []string{}, SRV: "x.org", SRVSuffix: "s", FollowMembers: true, TLS: tls}, nil},
		"embedded": {config.Config{EmbedEtcd: &config.EmbedEtcd{Hosts: []string{"http://127.0.0.1:2379", "http://10.0.0.2:2379"}}},
			etcd3.Config{Endpoints: []string{"http://127.0.0.1:2379", "http://10.0.0.2:2379"}, InOrder: true, FollowMembers: true}, nil},
		"none": {config.Config{}, etcd3.Config{}, ErrNoStore},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Etcd3(&tc.cfg, nil)
			if !errors.Is(err, tc.err) {
				t.Fatalf("got %v, want %v", err, tc.err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestConsul(t *testing.T) {
	at := config.HostPort{Host: "a", Port: 1}
	for name, tc := range map[string]struct {
		section config.Consul
		want    consul.Config
	}{
		"plain": {config.Consul{Host: at, Scheme: "http", Token: "t", DC: "dc2", Consistency: "stale", Checks: []string{"c"}},
			consul.Config{URL: "http://a:1", Token: "t", Datacenter: "dc2", Consistency: consul.Stale, Checks: []string{"c"}, SessionName: "s-n"}},
		"certificates": {config.Consul{Host: at, Scheme: "https", Verify: true, CACert: "ca", Cert: "cert", Key: "key"},
			consul.Config{URL: "https://a:1", SessionName: "s-n", TLS: &consul.TLS{CAFile: "ca", CertFile: "cert", KeyFile: "key"}}},
		"unverified": {config.Consul{Host: at, Scheme: "https"},
			consul.Config{URL: "https://a:1", SessionName: "s-n", TLS: &consul.TLS{Insecure: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Consul(&config.Config{Scope: "s", Name: "n", Consul: &tc.section}, nil)); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestZooKeeper(t *testing.T) {
	for name, tc := range map[string]struct {
		section config.ZooKeeper
		want    zookeeper.Config
	}{
		"plain": {config.ZooKeeper{Hosts: []config.HostPort{{Host: "a", Port: 1}}, Tick: time.Second},
			zookeeper.Config{Hosts: []string{"a:1"}, Tick: time.Second}},
		"access": {config.ZooKeeper{Hosts: []config.HostPort{{Host: "::1", Port: 1}}, UseSSL: true, CACert: "ca", Cert: "cert", Key: "key", KeyPassword: "p",
			ACLs: []config.ZooKeeperACL{{Scheme: "digest", ID: "u:h", Perms: []string{"READ", "ADMIN"}}},
			Auth: []config.ZooKeeperAuth{{Scheme: "digest", Credential: "u:p"}}},
			zookeeper.Config{Hosts: []string{"[::1]:1"}, TLS: &zookeeper.TLS{CAFile: "ca", CertFile: "cert", KeyFile: "key", KeyPassword: "p", SkipVerify: true},
				ACL:  []zookeeper.ACL{{Scheme: "digest", ID: "u:h", Perms: zookeeper.PermRead | zookeeper.PermAdmin}},
				Auth: []zookeeper.Auth{{Scheme: "digest", Credential: "u:p"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ZooKeeper(&config.Config{Namespace: "n", Scope: "s", ZooKeeper: &tc.section}, nil)
			if err != nil || got.Now == nil {
				t.Fatalf("clock %p, %v", got.Now, err)
			}
			tc.want.Folder, got.Now = "/n/s/", nil
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

// TestReloadConsul: requests carry the token that was read last.
func TestReloadConsul(t *testing.T) {
	tokens := make(chan string, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens <- r.Header.Get("X-Consul-Token")
		w.WriteHeader(http.StatusForbidden)
	}))
	defer srv.Close()
	at, err := config.ParseHostPort(strings.TrimPrefix(srv.URL, "http://"), 0)
	if err != nil {
		t.Fatal(err)
	}
	section := func(token config.Secret) *config.Config {
		return &config.Config{Consul: &config.Consul{Host: at, Scheme: "http", Token: token}}
	}
	b, err := Backend(section("old"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, token := range []string{"old", "new"} {
		Reload(b, section(config.Secret(token)))
		if _, err := b.Read(t.Context(), "/service/"); err == nil {
			t.Fatal("read what was refused")
		}
		if got := <-tokens; got != token {
			t.Errorf("token %q, want %q", got, token)
		}
	}
}
