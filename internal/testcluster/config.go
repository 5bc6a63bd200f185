//go:build linux

package testcluster

import (
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Passwords of the clusters that BaseConfig describes.
const (
	SuperuserPassword   = "superuser-secret"
	ReplicationPassword = "replication-secret"
)

// BaseConfig is the configuration of a plain cluster, in the form that users write. Clients on this machine are trusted,
// so that benchmarks measure no password hashes.
func BaseConfig(c *Cluster, n *Node) (map[string]any, error) {
	dcs := map[string]any{
		"ttl": 30, "loop_wait": 10, "retry_timeout": 10, "maximum_lag_on_failover": 1048576,
		"postgresql": map[string]any{
			"use_pg_rewind": true,
			"parameters":    map[string]any{"max_connections": 100, "wal_log_hints": "on"},
		},
	}
	for k, v := range c.Dynamic {
		dcs[k] = v
	}
	network := "127.0.0.0/8"
	if c.Layout == Namespaces {
		network = nodeAddress + "0/24"
	}
	store, section := c.Store.Section(n, c.StoreHosts(n))
	return map[string]any{
		"scope": c.Scope,
		"name":  n.Name,
		"restapi": map[string]any{
			"listen": n.RESTAddress(), "connect_address": n.RESTAddress(),
		},
		// A test kills and freezes agents on a machine that may well have a watchdog.
		"watchdog": map[string]any{"mode": "off"},
		store:      section,
		"bootstrap": map[string]any{
			"dcs":    dcs,
			"initdb": []any{map[string]any{"encoding": "UTF8"}, "data-checksums"},
			"pg_hba": []any{
				"host replication all " + network + " trust",
				"host all all " + network + " trust",
			},
		},
		"postgresql": map[string]any{
			"listen": n.PGAddress(), "connect_address": n.PGAddress(),
			"data_dir": n.DataDir, "bin_dir": c.PGBin, "pgpass": n.Dir + "/pgpass",
			"authentication": map[string]any{
				"superuser":   map[string]any{"username": "postgres", "password": SuperuserPassword},
				"replication": map[string]any{"username": "replicator", "password": ReplicationPassword},
			},
			"parameters": map[string]any{
				"unix_socket_directories": n.SocketDir, "shared_buffers": "32MB",
			},
		},
	}, nil
}

// Set changes the value at a dotted path of a configuration, making maps as needed; nil removes it.
func Set(cfg map[string]any, path string, value any) {
	keys := strings.Split(path, ".")
	for _, k := range keys[:len(keys)-1] {
		next, ok := cfg[k].(map[string]any)
		if !ok {
			next = map[string]any{}
			cfg[k] = next
		}
		cfg = next
	}
	last := keys[len(keys)-1]
	if value == nil {
		delete(cfg, last)
		return
	}
	cfg[last] = value
}

// Key is the store key of the cluster, for example Key("leader").
func (c *Cluster) Key(name string) string { return "/service/" + c.Scope + "/" + name }

func address(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func toJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}
