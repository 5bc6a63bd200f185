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

func TestEmbeddedEtcd(t *testing.T) {
	c := mustLoad(t, "scope: s\nname: n2\nembedetcd:\n  data_dir: /e\n  client_listen: [10.0.0.2:2379, 127.0.0.1:2379]\n  client_advertise: db2:2379\n  peer_listen: 10.0.0.2:2380\n  initial_cluster:\n    n3: 10.0.0.3\n    n1: http://10.0.0.1:2380\n    n2: 10.0.0.2:2380\n")
	want := &EmbedEtcd{Name: "n2", DataDir: "/e", ClientListen: []string{"http://10.0.0.2:2379", "http://127.0.0.1:2379"}, PeerListen: []string{"http://10.0.0.2:2380"},
		ClientAdvertise: []string{"http://db2:2379"}, PeerAdvertise: []string{"http://10.0.0.2:2380"}, InitialClusterState: "new", InitialClusterToken: "s", Protocol: "http",
		InitialCluster: []EtcdMember{{"n3", "http://10.0.0.3:2380"}, {"n1", "http://10.0.0.1:2380"}, {"n2", "http://10.0.0.2:2380"}}}
	if d := cmp.Diff(want, c.EmbedEtcd); d != "" {
		t.Error(d)
	}
	if got := c.EmbedEtcd.InitialClusterString(); got != "n3=http://10.0.0.3:2380,n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380" {
		t.Error(got)
	}
}
