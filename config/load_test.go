package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/ha"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// minimal is a file that loads without a word.
const minimal = `scope: s
name: n
etcd3: {host: 10.0.0.9}
restapi: {listen: 10.0.0.1:8008}
postgresql:
  listen: 10.0.0.1:5432
  data_dir: /data
  authentication:
    superuser: {username: postgres}
    replication: {username: repl}
`

func load(t *testing.T, text string) (*Config, []Warning, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "p.yml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, w, err := Load(Options{Path: name})
	for i := range w {
		w[i].Source = strings.ReplaceAll(w[i].Source, name, "p.yml")
	}
	if err != nil {
		err = fmt.Errorf("%s", strings.ReplaceAll(err.Error(), name, "p.yml"))
	}
	return c, w, err
}

func mustLoad(t *testing.T, text string) *Config {
	t.Helper()
	c, _, err := load(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The files are users' own. What is said about them, and what becomes of them, is in testdata/golden.
func TestFilesInUseLoad(t *testing.T) {
	for _, name := range []string{"app-cluster-node1", "on-premises-node1", "three-regions-seoul"} {
		t.Run(name, func(t *testing.T) {
			c, warnings, err := Load(Options{Path: "testdata/" + name + ".yml"})
			if err != nil {
				t.Fatal(err)
			}
			more, err := c.Validate(Checks{})
			if err != nil {
				t.Fatal(err)
			}
			s, err := c.Dynamic(nil)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, w := range append(warnings, more...) {
				fmt.Fprintln(&b, "warning", w)
			}
			for _, n := range s.Notices {
				fmt.Fprintln(&b, "notice", n)
			}
			render(&b, c, s)
			golden(t, "testdata/golden/"+name+".txt", b.String())
		})
	}
}

func render(b *strings.Builder, c *Config, s ha.Settings) {
	line := func(name string, v any) { fmt.Fprintf(b, "%s: %v\n", name, v) }
	line("scope, namespace, name", []string{c.Scope, c.Namespace, c.Name})
	line("api_url, conn_url", []string{c.APIURL(), c.ConnURL()})
	line("store", c.Etcd3.Endpoints())
	line("rest files", []string{c.RestAPI.CertFile, c.RestAPI.KeyFile, c.RestAPI.CAFile})
	line("ctl cacert", c.Ctl.CACert)
	line("directories", []string{c.PostgreSQL.DataDir, c.PostgreSQL.ConfigDir, c.PostgreSQL.BinDir})
	line("roles", c.PostgreSQL.Authentication)
	line("config", string(c.Bootstrap.DCS))
	line("initdb", c.Bootstrap.InitDB)
	line("hba", strings.Join(c.Bootstrap.HBA, " | "))
	line("users", c.Bootstrap.Users)
	line("tags", s.Tags)
	line("times", []any{s.TTL, s.LoopWait, s.RetryTimeout, s.PrimaryStartTimeout, s.PrimaryRaceBackoff})
	line("lag", s.MaximumLagOnFailover)
	line("controlled", s.Postgres.Controlled)
	line("parameters", s.Postgres.Parameters)
	line("recovery", s.Postgres.RecoveryConf)
	line("rewind, slots", []bool{s.Postgres.UsePgRewind, s.Postgres.UseSlots})
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("differs from %s (go test -rewrite writes it anew):\n%s", name, d)
	}
}

func TestMinimalFileIsEnough(t *testing.T) {
	c, warnings, err := load(t, minimal)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if w, err := c.Validate(Checks{}); err != nil || len(w) > 0 {
		t.Fatal(err, w)
	}
	if string(c.Bootstrap.DCS) != "{}" {
		t.Errorf("bootstrap.dcs is %s", c.Bootstrap.DCS)
	}
}

func TestBadInput(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string // errors of Load
	}{
		{"wrong types, all of them", "scope: on\nrestapi:\n  listen: 8008\n  verify_client: maybe\n  request_queue_size: 9999\npostgresql:\n  listen: [a]\n  pg_hba: local all all trust\n  use_pg_rewind: sometimes\n  bin_name: 3\nlog:\n  level: LOUD\n", []string{
			"p.yml:1: scope: must be text, and is the boolean on; put it in quotes",
			"p.yml:3: restapi.listen: must be HOST:PORT, and is the number 8008; for example 10.0.0.1:8008",
			`p.yml:4: restapi.verify_client: must be one of none, optional, required, and is the text "maybe"`,
			"p.yml:5: restapi.request_queue_size: must be between 0 and 4096, and is the number 9999",
			"p.yml:7: postgresql.listen: must be HOST:PORT or HOST,HOST:PORT, and is a list; for example 0.0.0.0:5432",
			`p.yml:8: postgresql.pg_hba: must be a list, and is the text "local all all trust"; write one item per line, each after ` + "`- `",
			`p.yml:9: postgresql.use_pg_rewind: must be on or off, and is the text "sometimes"`,
			"p.yml:10: postgresql.bin_name: must be a mapping, and is the number 3; write `key: value` lines below it, indented",
			`p.yml:12: log.level: must be one of info, debug, warning, error, critical, warn, fatal, and is the text "LOUD"`,
		}},
		{"a word nearly right", "watchdog: {mode: requird}\n", []string{
			`p.yml:1: watchdog.mode: must be one of automatic, off, required, auto, require, disable, disabled, false, and is the text "requird"; did you mean required?`}},
		{"items", "postgresql:\n  pg_hba:\n    - local all all trust\n    - [a]\n    - on\n", []string{
			"p.yml:4: postgresql.pg_hba[1]: must be text, and is a list; put the item in quotes",
			"p.yml:5: postgresql.pg_hba[2]: must be text, and is the boolean on; put the item in quotes"}},
		{"parameters", "postgresql:\n  parameters:\n    work_mem: [1]\n    \"a b\": 1\n", []string{
			"p.yml:3: postgresql.parameters.work_mem: must be one value, and is a list; write a list as one text: 'a, b'",
			"p.yml:4: postgresql.parameters.a b: is not the name of a parameter"}},
		{"stores we do not have", "kubernetes: {labels: {a: b}}\nraft: {}\ncitus: {group: 0}\n", []string{
			"p.yml:1: kubernetes: Kubernetes objects as a store are not supported; use etcd3 or embedetcd",
			"p.yml:2: raft: Patroni's raft is deprecated there and not supported here; use embedetcd, an etcd inside the agent, or etcd3",
			"p.yml:3: citus: Citus is not supported; remove the section, or stay with Patroni for Citus clusters"}},
		{"zookeeper", "zookeeper:\n  hosts: a:b\n  key: /k\n  set_acls:\n    CN=x: [EVERYTHING]\n  tick_time: 0\n  verify: maybe\n", []string{
			`p.yml:2: zookeeper.hosts: port of "a:b": not a number; write HOST:PORT`,
			"p.yml:3: zookeeper.key: a key without cert; name the client certificate, too",
			"p.yml:5: zookeeper.set_acls.CN=x: is not a permission of ZooKeeper: EVERYTHING; use READ, WRITE, CREATE, DELETE, ADMIN, ALL",
			"p.yml:6: zookeeper.tick_time: must be between 1 and 60000, and is the number 0",
			`p.yml:7: zookeeper.verify: must be on or off, and is the text "maybe"`}},
		{"zookeeper without servers", "zookeeper: {use_ssl: on}\n", []string{"p.yml:1: zookeeper: no server is named; write hosts, a list of HOST:PORT"}},
		{"exhibitor", "exhibitor: {hosts: 'a,b:1', port: 80}\n", []string{
			"p.yml:1: exhibitor.hosts: must be names without a port, and one is b:1; write the port as port"}},
		{"two stores", "etcd3: {host: a}\nembedetcd: {data_dir: /e, peer_listen: 10.0.0.1:2380}\n", []string{
			"p.yml:2: embedetcd: a second store, beside etcd3; keep one of the two sections"}},
		{"etcd without servers", "etcd3: {protocol: https}\n", []string{"p.yml:1: etcd3: no server is named; write hosts, a list of HOST:PORT, or srv, a domain whose DNS names them"}},
		{"etcd's addresses", "etcd3:\n  hosts:\n    - a:b\n    - ftp://x\n", []string{
			`p.yml:2: etcd3.hosts: port of "a:b": not a number; write HOST:PORT`,
			"p.yml:2: etcd3.hosts: not a URL of etcd; write http://HOST:PORT or https://HOST:PORT"}},
		{"consul", "consul:\n  url: ftp://x\n  key: /k\n  port: 0\n  consistency: strong\n  service_check_interval: soon\n", []string{
			"p.yml:2: consul.url: not a URL of Consul; write http://HOST:PORT or https://HOST:PORT",
			"p.yml:3: consul.key: a key without cert; name the client certificate, too",
			"p.yml:4: consul.port: must be between 1 and 65535, and is the number 0",
			`p.yml:5: consul.consistency: must be one of default, consistent, stale, and is the text "strong"`,
			`p.yml:6: consul.service_check_interval: must be a duration of at least a second, and is the text "soon"; write it as 5s`}},
		{"consul without an agent", "consul: {scheme: https}\n", []string{"p.yml:1: consul: no agent is named; write host: HOST:PORT, or url: http://HOST:PORT"}},
		{"bootstrap", "bootstrap:\n  method: wal_g\n  wal_g: {command: x}\n  initdb:\n    - pwfile: /x\n    - {a: b, c: d}\n    - encoding: [x]\n  dcs:\n    ttl: often\n", []string{
			`p.yml:2: bootstrap.method: custom bootstrap ("wal_g") is not built yet in this release; remove it, so that initdb is used`,
			"p.yml:5: bootstrap.initdb[0].pwfile: the option pwfile is not allowed; the agent sets it itself",
			"p.yml:6: bootstrap.initdb[1]: has more than one key; begin each option with its own `- `",
			"p.yml:7: bootstrap.initdb[2].encoding: must be text, and is a list; put the value in quotes",
			`p.yml:9: bootstrap.dcs.ttl: must be a whole number of seconds, and is the text "often"; until it is corrected the settings in force stay`}},
		{"half a login", "restapi: {authentication: {username: a}}\n", []string{
			"p.yml:1: restapi.authentication: username and password belong together; set both, or neither"}},
		{"elections of embedded etcd", "name: n1\nembedetcd: {data_dir: /e, peer_listen: 10.0.0.1, heartbeat_interval: 200}\n", []string{
			"p.yml:2: embedetcd.election_timeout: 1000 ms is less than ten heartbeats of 200 ms; write 2000 or more"}},
		{"embedded etcd", "name: n1\nembedetcd:\n  client_listen: 0.0.0.0:2379\n  peer_listen: nowhere:x\n  protocol: https\n  initial_cluster: [n2=10.0.0.2, n3]\n", []string{
			"p.yml:2: embedetcd.client_advertise: is needed, as the listening address stands for all addresses; write the address that the other members connect to",
			"p.yml:2: embedetcd.data_dir: is missing; name a folder for etcd's own files",
			"p.yml:2: embedetcd: https needs cert and key",
			`p.yml:4: embedetcd.peer_listen: "nowhere:x" is not an address; write HOST:PORT, http://HOST:PORT or https://HOST:PORT`,
			`p.yml:6: embedetcd.initial_cluster: "n3" is not NAME=URL; write a mapping of names to addresses`,
			`p.yml:6: embedetcd.initial_cluster: does not contain this member, "n1"; add it, or set embedetcd.name`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := load(t, c.text)
			if err == nil {
				t.Fatal("was taken")
			}
			if d := cmp.Diff(c.want, strings.Split(err.Error(), "\n")); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestMissingAndUnreadableSources(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"nothing", Options{}, "there is no configuration; name a YAML file, or set PATRONI_* variables"},
		{"no such file", Options{Path: "/no/such.yml"}, "/no/such.yml: no such file or directory, and no PATRONI_* variable is set; check the path"},
		{"empty directory", Options{Path: dir}, dir + ": the directory holds no *.yml and no *.yaml file"},
		{"whole document", Options{Environ: []string{"PATRONI_CONFIGURATION=- a"}}, "PATRONI_CONFIGURATION:1: the top level is not a mapping but a list; write `key: value` pairs, for example `scope: mycluster`"},
		{"variable", Options{Environ: []string{"PATRONI_LOG_LOGGERS=]"}}, "environment: PATRONI_LOG_LOGGERS: must be a mapping, such as a: 1, b: 2"},
		{"typed variable", Options{Environ: []string{"PATRONI_RESTAPI_REQUEST_QUEUE_SIZE=many"}}, `environment: PATRONI_RESTAPI_REQUEST_QUEUE_SIZE: must be a whole number, and is the text "many"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := Load(c.o)
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestUnknownKeysAreWarnedAbout(t *testing.T) {
	_, warnings, err := load(t, minimal+`  wal_log_hints: on
  shared_buffers: 1GB
  data_dri: /x
  use_slots: false
  wal_e: {command: a}
  create_replica_method: [my_tool]
  my_tool: {a: b}
  parameters: {max_connections: 10, port: 1, work_mem: 4MB}
ttl: 30
max_connections: 3
synchronous_mode: on
restapy: {a: b}
bootstrap:
  dcs:
    tll: 3
    work_mem: 4MB
    postgresql: {data_dir: /x, parametres: {a: b}}
    tanist: {minimum_tll: 3}
tags: {datacenter: x}
`)
	if err != nil {
		t.Fatal(err)
	}
	edit := "change it with `tanistctl edit-config`; a new cluster takes it from bootstrap.dcs"
	want := []string{
		"p.yml:11: postgresql.wal_log_hints: does nothing here: it is a parameter of PostgreSQL; all members must agree on it: change it below postgresql.parameters with `tanistctl edit-config`; a new cluster takes it from bootstrap.dcs.postgresql.parameters",
		"p.yml:12: postgresql.shared_buffers: does nothing here: it is a parameter of PostgreSQL; write it below postgresql.parameters",
		"p.yml:13: postgresql.data_dri: unknown key, it does nothing; did you mean postgresql.data_dir?",
		"p.yml:14: postgresql.use_slots: does nothing here: it is one setting for the whole cluster; change it with `tanistctl edit-config`",
		"p.yml:18: postgresql.parameters.port: does nothing here: the agent sets it; it follows from postgresql.listen and scope",
		"p.yml:18: postgresql.parameters: all members must agree on max_connections, and the local file does not set them; change them with `tanistctl edit-config`; a new cluster takes them from bootstrap.dcs.postgresql.parameters",
		"p.yml:19: ttl: does nothing here: it is one setting for the whole cluster; " + edit,
		"p.yml:20: max_connections: does nothing here: it is a parameter of PostgreSQL; all members must agree on it: change it below postgresql.parameters with `tanistctl edit-config`; a new cluster takes it from bootstrap.dcs.postgresql.parameters",
		"p.yml:21: synchronous_mode: does nothing here: it is one setting for the whole cluster; " + edit,
		"p.yml:22: restapy: unknown key, it does nothing; did you mean restapi?",
		"p.yml:25: bootstrap.dcs.tll: unknown key, it does nothing; did you mean bootstrap.dcs.ttl?",
		"p.yml:26: bootstrap.dcs.work_mem: does nothing here: it is a parameter of PostgreSQL; write it below postgresql.parameters of this document",
		"p.yml:27: bootstrap.dcs.postgresql.data_dir: does nothing here: it is taken from the local file only; write it below postgresql",
		"p.yml:27: bootstrap.dcs.postgresql.parametres: unknown key, it does nothing; did you mean bootstrap.dcs.postgresql.parameters?",
		"p.yml:28: bootstrap.dcs.tanist.minimum_tll: unknown key, it does nothing; did you mean bootstrap.dcs.tanist.minimum_ttl?",
	}
	if d := cmp.Diff(want, texts(warnings)); d != "" {
		t.Error(d)
	}
}

func TestFilesOfADirectoryAreMergedInOrder(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"10.yml":    "scope: a\nname: n\ntags: {x: 1, y: 2}\nbootstrap: {dcs: {ttl: 40, loop_wait: 5}}\n",
		"20.yaml":   "scope: b\ntags: {x: null, z: 3}\nbootstrap: {dcs: {retry_timeout: 5, ttl: 50}}\nrestapi: {listen: bad}\n",
		"30.yml~":   "scope: c\n",
		"Ignore.md": "scope: d\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, _, err := Load(Options{Path: dir, Environ: []string{"PATRONI_NAME=env"}})
	if want := filepath.Join(dir, "20.yaml") + ":4: restapi.listen: must be HOST:PORT, and is the text \"bad\"; for example 10.0.0.1:8008"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	got := []any{c.Scope, c.Name, c.Tags.All, string(c.Bootstrap.DCS)}
	want := []any{"b", "env", map[string]any{"y": int64(2), "z": int64(3)}, `{"ttl":50,"loop_wait":5,"retry_timeout":5}`}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTags(t *testing.T) {
	for _, c := range []struct {
		yaml string
		want ha.Tags
		warn string
	}{
		{"{}", ha.Tags{FailoverPriority: 1, SyncPriority: 1}, ""},
		{"{nofailover: on}", ha.Tags{NoFailover: true, SyncPriority: 1, All: map[string]any{"nofailover": true}}, ""},
		{"{failover_priority: 0, sync_priority: 3}", ha.Tags{NoFailover: true, SyncPriority: 3, All: map[string]any{"failover_priority": int64(0), "sync_priority": int64(3)}}, ""},
		{"{nofailover: false, failover_priority: 5}", ha.Tags{FailoverPriority: 5, SyncPriority: 1, All: map[string]any{"nofailover": false, "failover_priority": int64(5)}}, ""},
		{"{nofailover: true, failover_priority: 5}", ha.Tags{NoFailover: true, SyncPriority: 1, All: map[string]any{"nofailover": true, "failover_priority": int64(5)}},
			"p.yml:1: tags.nofailover: Conflicting configuration between nofailover: True and failover_priority: 5. Defaulting to nofailover: True"},
		{"{nosync: false, sync_priority: 0}", ha.Tags{FailoverPriority: 1, SyncPriority: 1, All: map[string]any{"nosync": false, "sync_priority": int64(0)}},
			"p.yml:1: tags.nosync: Conflicting configuration between nosync: False and sync_priority: 0. Defaulting to nosync: False"},
		{"{clonefrom: yes, noloadbalance: 'off', replicatefrom: n2, dc: seoul, rack: 7}", ha.Tags{FailoverPriority: 1, SyncPriority: 1, CloneFrom: true, ReplicateFrom: "n2",
			All: map[string]any{"clonefrom": true, "replicatefrom": "n2", "dc": "seoul", "rack": int64(7)}}, ""},
	} {
		t.Run(c.yaml, func(t *testing.T) {
			cfg, warnings, err := load(t, "tags: "+c.yaml+"\nname: n\n")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, cfg.Tags); d != "" {
				t.Error(d)
			}
			if got := strings.Join(texts(warnings), "\n"); got != c.warn {
				t.Errorf("got  %s\nwant %s", got, c.warn)
			}
		})
	}
}

func TestOldLayouts(t *testing.T) {
	c := mustLoad(t, "scope: s\netcd: {host: a}\nrestapi: {listen: 'a:1', auth: 'u:p'}\npostgresql: {name: n, listen: 'a:2', data_dir: /d, superuser: {username: p}, replication: {username: r, password: '1'}, pg_rewind: {username: w}}\n")
	if _, err := c.Validate(Checks{}); err != nil {
		t.Error(err)
	}
	s, err := c.Dynamic(nil)
	if err != nil {
		t.Fatal(err)
	}
	a := c.PostgreSQL.Authentication
	got := []any{c.Name, c.RestAPI.Username, a.Superuser.Username, a.Replication.Username, a.Rewind.Username, s.Postgres.UsePgRewind}
	if d := cmp.Diff([]any{"n", "u", "p", "r", "w", true}, got); d != "" {
		t.Error(d)
	}
}
