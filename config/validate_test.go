package config

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValidateListsAllThatIsMissing(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"everything", "log: {level: info}\n", []string{
			"p.yml: scope: is missing; name the cluster, the same on all members",
			"p.yml: name: is missing; name this member, different on each",
			"p.yml: restapi.listen: is missing; write HOST:PORT, for example 0.0.0.0:8008",
			"p.yml: postgresql.listen: is missing; write HOST:PORT, for example 0.0.0.0:5432",
			"p.yml: postgresql.data_dir: is missing; name the data directory of PostgreSQL",
			"p.yml: postgresql.authentication.superuser.username: is missing; name the role that the agent administers with, usually postgres",
			"p.yml: postgresql.authentication.replication.username: is missing; name the role that standbys stream with",
			"p.yml: no store is named; write an etcd3 section with hosts, or embedetcd for an etcd inside the agent",
		}},
		{"addresses", strings.ReplaceAll(minimal, "10.0.0.1:", "0.0.0.0:"), []string{
			"p.yml:4: restapi.connect_address: is missing, and listen stands for all addresses; write the HOST:PORT that other machines connect to",
			"p.yml:5: postgresql.connect_address: is missing, and listen stands for all addresses; write the HOST:PORT that other machines connect to",
		}},
		{"more", strings.NewReplacer("scope: s", "scope: a/b", "name: n", "name: "+nobodysName, "data_dir: /data", "data_dir: data\n  connect_address: 0.0.0.0:1\n  pgpass: /tmp",
			"listen: 10.0.0.1:8008", "listen: 10.0.0.1:8008, verify_client: required").Replace(minimal), []string{
			`p.yml:1: scope: "a/b" holds a slash or a blank; it becomes part of keys in the store: use letters, digits, - and _`,
			"p.yml:2: name: this name is reserved; choose another",
			"p.yml:4: restapi.verify_client: needs certfile and cafile; without them no client can be verified",
			`p.yml:7: postgresql.data_dir: "data" is not absolute; begin it with /`,
			"p.yml:8: postgresql.connect_address: 0.0.0.0 stands for all addresses; write the HOST:PORT that other machines connect to",
			"p.yml:9: postgresql.pgpass: /tmp is a directory; name a file",
		}},
		{"etcd in the data directory", strings.Replace(minimal, "etcd3: {host: 10.0.0.9}", "embedetcd: {data_dir: /data/etcd, peer_listen: 10.0.0.1:2380, initial_cluster: {n: 10.0.0.1, m: 10.0.0.2, o: 10.0.0.3}}", 1), []string{
			"p.yml:3: embedetcd.data_dir: lies in PostgreSQL's data directory; a clone of PostgreSQL would delete it: choose a folder beside",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := mustLoad(t, c.text)
			_, err := cfg.Validate(Checks{})
			if err == nil {
				t.Fatal("was taken")
			}
			if d := cmp.Diff(c.want, strings.Split(strings.ReplaceAll(err.Error(), cfg.Path, "p.yml"), "\n")); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLoopbackIsAWarning(t *testing.T) {
	c := mustLoad(t, strings.ReplaceAll(minimal, "10.0.0.1", "127.0.0.2"))
	warnings, err := c.Validate(Checks{})
	if err != nil || len(warnings) != 2 || !strings.HasSuffix(warnings[0].String(), "127.0.0.2:8008 reaches this machine only; good for a trial; members on other machines need an address that they reach") {
		t.Error(err, warnings)
	}
}

func TestValidateLooksAround(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []string{"postgres", "initdb", "pg_controldata"} {
		if err := os.WriteFile(filepath.Join(dir, p), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	text := strings.Replace(minimal, "10.0.0.1:8008", l.Addr().String()+", certfile: /no/cert.pem", 1)
	text = strings.Replace(text, "listen: 10.0.0.1:5432", "listen: 127.0.0.1:1\n  bin_dir: "+dir, 1)
	c := mustLoad(t, text)
	_, err = c.Validate(Checks{Programs: true, Files: true, Ports: true})
	if err == nil {
		t.Fatal("was taken")
	}
	for _, want := range []string{
		"restapi.certfile: /no/cert.pem cannot be read: no such file or directory; check the path and its owner",
		"postgresql.bin_dir: has no " + dir + "/pg_basebackup, " + dir + "/pg_rewind; install PostgreSQL's server, or name the folder of its programs",
		"cannot be used: address already in use; stop what listens there, or choose another port",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

func TestRestartNeeded(t *testing.T) {
	old := mustLoad(t, minimal)
	next := mustLoad(t, strings.NewReplacer("10.0.0.9", "10.0.0.8", "/data", "/other", "repl", "streamer").Replace(minimal)+"tags: {x: y}\n")
	if d := cmp.Diff([]string{"etcd3", "postgresql.data_dir", "postgresql.config_dir"}, old.RestartNeeded(next)); d != "" {
		t.Error(d)
	}
	if got := old.RestartNeeded(mustLoad(t, minimal)); got != nil {
		t.Error(got)
	}
}

func TestHostPort(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a:1", "a:1"}, {"a", "a:9"}, {"[::1]:5", "[::1]:5"}, {"[::1]", "[::1]:9"}, {"fe80::1:5", "[fe80::1]:5"}, {"*:1", "*:1"}, {" a :1", "a:1"},
		{"", ""}, {":1", ""}, {"a:0", ""}, {"a:65536", ""}, {"a:x", ""}, {"http://a:1", ""},
	} {
		got, err := ParseHostPort(c.text, 9)
		if got.String() != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q is %q, %v", c.text, got, err)
		}
	}
}

// TestEmbeddedEtcdDefaults: clients are served where members are, so that the members can be each other's store.
func TestEmbeddedEtcdDefaults(t *testing.T) {
	c := mustLoad(t, "scope: s\nname: n1\nembedetcd:\n  data_dir: /e\n  peer_listen: 10.0.0.1:2390\n  hosts: 'db1:2379, db2:2399'\n"+
		"  initial_cluster: {n1: 10.0.0.1:2390, n2: 10.0.0.2:2390, n3: 10.0.0.3:2390}\n  auto_compaction_mode: revision\n  auto_compaction_retention: 1000\n  quota_backend_bytes: 33554432\n")
	e := c.EmbedEtcd
	if d := cmp.Diff([]string{"http://10.0.0.1:2379"}, e.ClientListen); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"http://10.0.0.1:2379", "http://db1:2379", "http://db2:2399"}, e.Hosts); d != "" {
		t.Error(d)
	}
	if !e.CompactByRevision || e.CompactKeep != 1000 || e.QuotaBytes != 32<<20 {
		t.Errorf("got %+v", e)
	}
}

// TestWitness: what a witness demands, and what it does not.
func TestWitness(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(dir, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"enough":     {"scope: s\nname: w\nembedetcd: {data_dir: /e, peer_listen: 10.0.0.1, initial_cluster: {w: 10.0.0.1, a: 10.0.0.2, b: 10.0.0.3}}\n", ""},
		"own name":   {"scope: s\nembedetcd: {name: w, data_dir: /e, peer_listen: 10.0.0.1}\n", ""},
		"no name":    {"scope: s\nembedetcd: {data_dir: /e, peer_listen: 10.0.0.1}\n", "p.yml: name: is missing; name this member, different on each"},
		"nothing":    {"name: w\n", "p.yml: scope: is missing; name the cluster, the same on all members\np.yml: embedetcd is missing: a witness is a member of an embedded etcd; write the section as on the other machines"},
		"in etcd":    {"scope: s\nname: w\npostgresql: {data_dir: " + dir + "/link/pg}\nembedetcd: {data_dir: " + dir + ", peer_listen: 10.0.0.1}\n", "p.yml:3: postgresql.data_dir: lies in etcd's data directory; who empties that one to replace a member would delete the database: choose a folder beside"},
		"in pgdata":  {"scope: s\nname: w\npostgresql: {data_dir: " + dir + "}\nembedetcd: {data_dir: " + dir + "/link/e, peer_listen: 10.0.0.1}\n", "p.yml:4: embedetcd.data_dir: lies in PostgreSQL's data directory; a clone of PostgreSQL would delete it: choose a folder beside"},
		"no path":    {"scope: s\nname: w\nembedetcd: {data_dir: e, peer_listen: 10.0.0.1}\n", `p.yml:3: embedetcd.data_dir: "e" is not absolute; begin it with /`},
		"no such CA": {"scope: s\nname: w\nembedetcd: {data_dir: /e, peer_listen: 10.0.0.1, protocol: https, cert: " + dir + "/c, key: " + dir + "/c}\n", "p.yml:3: embedetcd.cert: " + dir + "/c cannot be read: no such file or directory; check the path and its owner\np.yml:3: embedetcd.key: " + dir + "/c cannot be read: no such file or directory; check the path and its owner"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := mustLoad(t, c.text)
			_, err := cfg.ValidateWitness(Checks{Files: true})
			got := ""
			if err != nil {
				got = strings.ReplaceAll(err.Error(), filepath.Dir(cfg.Path)+"/p.yml", "p.yml")
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestEmbeddedEtcd(t *testing.T) {
	c := mustLoad(t, "scope: s\nname: n2\nembedetcd:\n  data_dir: /e\n  client_listen: [10.0.0.2:2379, 127.0.0.1:2379]\n  client_advertise: db2:2379\n  peer_listen: 10.0.0.2:2380\n  initial_cluster:\n    n3: 10.0.0.3\n    n1: http://10.0.0.1:2380\n    n2: 10.0.0.2:2380\n")
	want := &EmbedEtcd{Name: "n2", DataDir: "/e", ClientListen: []string{"http://10.0.0.2:2379", "http://127.0.0.1:2379"}, PeerListen: []string{"http://10.0.0.2:2380"},
		ClientAdvertise: []string{"http://db2:2379"}, PeerAdvertise: []string{"http://10.0.0.2:2380"}, InitialClusterState: "new", InitialClusterToken: "s", Protocol: "http",
		Hosts:          []string{"http://db2:2379", "http://10.0.0.3:2379", "http://10.0.0.1:2379"},
		InitialCluster: []EtcdMember{{"n3", "http://10.0.0.3:2380"}, {"n1", "http://10.0.0.1:2380"}, {"n2", "http://10.0.0.2:2380"}}}
	if d := cmp.Diff(want, c.EmbedEtcd); d != "" {
		t.Error(d)
	}
	if got := c.EmbedEtcd.InitialClusterString(); got != "n3=http://10.0.0.3:2380,n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380" {
		t.Error(got)
	}
}
