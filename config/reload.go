package config

import "reflect"

// RestartNeeded names the keys in which next, read again from the same place, differs from c and that a running agent
// cannot change: it goes on with the old values until it is started anew.
func (c *Config) RestartNeeded(next *Config) []string {
	var keys []string
	for _, k := range []struct {
		name     string
		old, new any
	}{
		{"name", c.Name, next.Name},
		{"scope", c.Scope, next.Scope},
		{"namespace", c.Namespace, next.Namespace},
		{"etcd3", c.Etcd3.place(), next.Etcd3.place()},
		{"consul", c.Consul.place(), next.Consul.place()},
		{"zookeeper", c.ZooKeeper, next.ZooKeeper},
		{"embedetcd", c.EmbedEtcd, next.EmbedEtcd},
		{"watchdog.device", c.Watchdog.Device, next.Watchdog.Device},
		{"watchdog.driver", c.Watchdog.Driver, next.Watchdog.Driver},
		{"restapi.request_queue_size", c.RestAPI.RequestQueueSize, next.RestAPI.RequestQueueSize},
		{"postgresql.listen", c.PostgreSQL.ListenAddresses() + ":" + itoa(c.PostgreSQL.ListenPort), next.PostgreSQL.ListenAddresses() + ":" + itoa(next.PostgreSQL.ListenPort)},
		{"postgresql.data_dir", c.PostgreSQL.DataDir, next.PostgreSQL.DataDir},
		{"postgresql.bin_dir", c.PostgreSQL.BinDir, next.PostgreSQL.BinDir},
		{"postgresql.config_dir", c.PostgreSQL.ConfigDir, next.PostgreSQL.ConfigDir},
		{"postgresql.pgpass", c.PostgreSQL.PgPass, next.PostgreSQL.PgPass},
	} {
		if !reflect.DeepEqual(k.old, k.new) {
			keys = append(keys, k.name)
		}
	}
	return keys
}
