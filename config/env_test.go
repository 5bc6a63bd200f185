package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnvironmentIsTyped(t *testing.T) {
	tree, warnings, err := readEnv([]string{
		"PATH=/bin", "PATRONI_NAME=n1", "PATRONI_SCOPE=123", "PATRONI_THREAD_POOL_SIZE=7",
		"PATRONI_RESTAPI_ALLOWLIST=10.0.0.1,db2", "PATRONI_RESTAPI_ALLOWLIST_INCLUDE_MEMBERS=on",
		"PATRONI_RESTAPI_USERNAME=admin", "PATRONI_RESTAPI_PASSWORD=0123", "PATRONI_RESTAPI_HTTP_EXTRA_HEADERS=X-A: b, X-C: 'd'",
		"PATRONI_CTL_INSECURE=yes", "PATRONI_LOGLEVEL=DEBUG", "PATRONI_LOG_LOGGERS={a.b: WARNING}", "PATRONI_LOG_FILE_SIZE=1000",
		"PATRONI_ETCD3_HOSTS='a:2379','b:2379'", "PATRONI_ETCD3_PROTOCOL=https", "PATRONI_ETCD3_PORT=4001", "PATRONI_ETCD3_USERNAME=root",
		"PATRONI_CONSUL_REGISTER_SERVICE=true", "PATRONI_ZOOKEEPER_SET_ACLS=CN=x: [ALL]", "PATRONI_ZOOKEEPER_AUTH_DATA=",
		"PATRONI_POSTGRESQL_BIN_PG_CTL=pg_ctl17", "PATRONI_SUPERUSER_USERNAME=postgres", "PATRONI_REWIND_SSLMODE=require",
		"PATRONI_EMBEDETCD_INITIAL_CLUSTER=n1: 10.0.0.1:2380, n2: http://10.0.0.2:2380", "PATRONI_KUBERNETES_PORTS=- name: postgresql\n  port: 5432",
		"PATRONI_POSTGRES_LISTEN=x",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"name": "n1", "scope": "123", "thread_pool_size": int64(7),
		"restapi": map[string]any{
			"allowlist": []any{"10.0.0.1", "db2"}, "allowlist_include_members": true,
			"authentication": map[string]any{"username": "admin", "password": "0123"}, "http_extra_headers": map[string]any{"X-A": "b", "X-C": "d"},
		},
		"ctl":        map[string]any{"insecure": true},
		"log":        map[string]any{"level": "DEBUG", "loggers": map[string]any{"a.b": "WARNING"}, "file_size": int64(1000)},
		"etcd3":      map[string]any{"hosts": []any{"a:2379", "b:2379"}, "protocol": "https", "port": int64(4001), "username": "root"},
		"consul":     map[string]any{"register_service": true},
		"zookeeper":  map[string]any{"set_acls": map[string]any{"CN=x": []any{"ALL"}}},
		"embedetcd":  map[string]any{"initial_cluster": map[string]any{"n1": "10.0.0.1:2380", "n2": "http://10.0.0.2:2380"}},
		"kubernetes": map[string]any{"ports": []any{map[string]any{"name": "postgresql", "port": int64(5432)}}},
		"postgresql": map[string]any{
			"bin_name":       map[string]any{"pg_ctl": "pg_ctl17"},
			"authentication": map[string]any{"superuser": map[string]any{"username": "postgres"}, "rewind": map[string]any{"sslmode": "require"}},
		},
	}
	if d := cmp.Diff(want, tree.values); d != "" {
		t.Error(d)
	}
	hint := "environment: PATRONI_POSTGRES_LISTEN: unknown variable, it does nothing; did you mean PATRONI_POSTGRESQL_LISTEN?"
	if d := cmp.Diff([]string{hint}, texts(warnings)); d != "" {
		t.Error(d)
	}
}

func TestScrubLeavesNoSecretsToChildren(t *testing.T) {
	got := Scrub([]string{"PATH=/bin", "PATRONI_SUPERUSER_PASSWORD=x", "KUBERNETES_PORT=1", "NOTIFY_SOCKET=/run/x", "PG_MALLOC_ARENA_MAX=1", "PGTZ=a=b"})
	if d := cmp.Diff([]string{"PATH=/bin", "MALLOC_ARENA_MAX=1", "PGTZ=a=b"}, got); d != "" {
		t.Error(d)
	}
}

func TestAnAgentRunsFromTheEnvironmentAlone(t *testing.T) {
	c, warnings, err := Load(Options{Environ: []string{
		"PATRONI_SCOPE=batman", "PATRONI_NAME=n1", "PATRONI_NAMESPACE=/db/", "PATRONI_ETCD3_HOSTS=10.0.0.1:2379,10.0.0.2",
		"PATRONI_ETCD3_CACERT=/ca.pem", "PATRONI_ETCD3_PROTOCOL=https", "PATRONI_RESTAPI_LISTEN=0.0.0.0:8008", "PATRONI_RESTAPI_CONNECT_ADDRESS=10.0.0.1:8008",
		"PATRONI_RESTAPI_CERTFILE=/rest.pem", "PATRONI_RESTAPI_USERNAME=admin", "PATRONI_RESTAPI_PASSWORD=secret", "PATRONI_RESTAPI_VERIFY_CLIENT=optional", "PATRONI_RESTAPI_CAFILE=/ca.pem",
		"PATRONI_POSTGRESQL_LISTEN=10.0.0.1,127.0.0.1:5433", "PATRONI_POSTGRESQL_DATA_DIR=/data", "PATRONI_SUPERUSER_USERNAME=postgres",
		"PATRONI_SUPERUSER_PASSWORD=s", "PATRONI_REPLICATION_USERNAME=repl", "PATRONI_REPLICATION_PASSWORD=r", "PATRONI_REPLICATION_SSLMODE=require",
		"PATRONI_LOG_LEVEL=warn", "PATRONI_LOG_MODE=0640",
	}})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if warnings, err := c.Validate(Checks{}); err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if d := cmp.Diff([]string{"https://10.0.0.1:2379", "https://10.0.0.2:2379"}, c.Etcd3.Endpoints()); d != "" {
		t.Error(d)
	}
	got := []any{c.Scope, c.Namespace, c.APIURL(), c.ConnURL(), c.ProxyURL(), c.PostgreSQL.ListenAddresses(), c.Log.Level, c.Log.Mode,
		string(c.Ctl.Password), c.Ctl.CACert, c.PostgreSQL.Authentication.Replication.Options["sslmode"], c.PostgreSQL.Program("pg_ctl")}
	want := []any{"batman", "db", "https://10.0.0.1:8008/patroni", "postgres://10.0.0.1:5433/postgres", "", "10.0.0.1,127.0.0.1", "WARNING", 0o640,
		"secret", "/ca.pem", "require", "pg_ctl"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
