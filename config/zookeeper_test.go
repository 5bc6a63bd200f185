package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestZooKeeperSection(t *testing.T) {
	a := HostPort{Host: "a", Port: 2181}
	for name, tc := range map[string]struct {
		yaml string
		want ZooKeeper
	}{
		"list":   {"zookeeper: {hosts: [a, 'b:1']}\n", ZooKeeper{Hosts: []HostPort{a, {Host: "b", Port: 1}}, Verify: true}},
		"commas": {"zookeeper: {hosts: 'a, [::1]:1'}\n", ZooKeeper{Hosts: []HostPort{a, {Host: "::1", Port: 1}}, Verify: true}},
		"all": {"zookeeper: {hosts: a, use_ssl: on, verify: off, cacert: ca, cert: c, key: k, key_password: p, tick_time: 500, " +
			"set_acls: {'CN=x': [ALL], 'digest:u:h': [read, WRITE]}, auth_data: {digest: 'u:p'}}\n",
			ZooKeeper{Hosts: []HostPort{a}, UseSSL: true, CACert: "ca", Cert: "c", Key: "k", KeyPassword: "p", Tick: 500 * time.Millisecond,
				ACLs: []ZooKeeperACL{{"x509", "CN=x", []string{"ALL"}}, {"digest", "u:h", []string{"READ", "WRITE"}}},
				Auth: []ZooKeeperAuth{{"digest", "u:p"}}}},
		"exhibitor": {"exhibitor: {hosts: [a, b], port: 80, poll_interval: 10, auth_data: {digest: 'u:p'}}\n",
			ZooKeeper{Exhibitor: &Exhibitor{[]string{"a", "b"}, 80, 10 * time.Second}, Verify: true, Auth: []ZooKeeperAuth{{"digest", "u:p"}}}},
		"exhibitor of old": {"zookeeper: {exhibitor: {hosts: a, port: 80}}\n", ZooKeeper{Exhibitor: &Exhibitor{[]string{"a"}, 80, 5 * time.Minute}, Verify: true}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, *mustLoad(t, tc.yaml).ZooKeeper); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}
