package demo

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/internal/freeport"
)

// ttl is the lease of the leader. It is short so that the story is: below 20 s a cluster must allow it by minimum_ttl.
const ttl = 5 * time.Second

// configuration is a member's file. What it uses is what patroni.yml has, but for embedetcd and minimum_ttl.
const configuration = `scope: demo
name: %[1]s
watchdog: {mode: off} # the story kills and freezes; it is not to reset this machine
restapi:
  listen: %[2]s
  connect_address: %[2]s
embedetcd: # in place of etcd3: the agents run the store themselves
  data_dir: %[3]s/etcd
  client_listen: %[4]s
  peer_listen: %[5]s
  initial_cluster:
%[6]s
bootstrap:
  dcs:
    tanist: {minimum_ttl: 5}
    ttl: 5
    loop_wait: 1
    retry_timeout: 2
    maximum_lag_on_failover: 1048576
    postgresql:
      use_pg_rewind: true
      parameters: {wal_log_hints: "on", max_connections: 50, shared_buffers: 32MB}
  initdb:
  - encoding: UTF8
  - data-checksums
  pg_hba:
  - host replication all 127.0.0.1/32 scram-sha-256
  - host all all 127.0.0.1/32 scram-sha-256
postgresql:
  listen: %[7]s
  connect_address: %[7]s
  data_dir: %[3]s/data
  bin_dir: %[8]s
  pgpass: %[3]s/pgpass
  authentication:
    superuser: {username: postgres, password: %[9]s}
    replication: {username: replicator, password: %[9]s}
  parameters:
    unix_socket_directories: %[3]s
`

// names of the members.
var names = []string{"anna", "bert", "carl"}

// setUp makes the hosts' folders and files.
func (d *demo) setUp() error {
	bin, err := findPostgres()
	if err != nil {
		return err
	}
	ports, err := freeport.Get(4 * len(names))
	if err != nil {
		return err
	}
	password := rand.Text()
	var cluster []string
	for i, name := range names {
		at := func(n int) string { return "127.0.0.1:" + strconv.Itoa(ports[4*i+n]) }
		h := &host{name: name, dir: d.path(name), program: d.Tanist, rest: at(0), postgres: at(1), etcd: at(2), peer: at(3), password: password}
		d.hosts = append(d.hosts, h)
		cluster = append(cluster, fmt.Sprintf("    %s: %s", name, h.peer))
	}
	for _, h := range d.hosts {
		if err := os.Mkdir(h.dir, 0o755); err != nil {
			return err
		}
		text := fmt.Sprintf(configuration, h.name, h.rest, h.dir, h.etcd, h.peer, strings.Join(cluster, "\n"), h.postgres, bin, password)
		if err := os.WriteFile(h.configFile(), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := os.WriteFile(d.path("pgpass"), []byte("*:*:*:postgres:"+password+"\n"), 0o600); err != nil {
		return err
	}
	d.view, err = newView(d.Out, d.hosts)
	return err
}

// psql is how a user connects to the primary, wherever it is.
func (d *demo) psql() string {
	var hosts, ports []string
	for _, h := range d.hosts {
		address, port, _ := net.SplitHostPort(h.postgres)
		hosts, ports = append(hosts, address), append(ports, port)
	}
	return fmt.Sprintf(`psql "host=%s port=%s user=postgres dbname=postgres passfile=%s target_session_attrs=read-write"`,
		strings.Join(hosts, ","), strings.Join(ports, ","), d.path("pgpass"))
}

// findPostgres returns the program folder of the newest server of a supported version.
func findPostgres() (string, error) {
	for major := 18; major >= 14; major-- {
		for _, pattern := range []string{"/usr/lib/postgresql/%d/bin", "/usr/pgsql-%d/bin"} {
			dir := fmt.Sprintf(pattern, major)
			if _, err := os.Stat(filepath.Join(dir, "postgres")); err == nil {
				return dir, nil
			}
		}
	}
	if program, err := exec.LookPath("postgres"); err == nil {
		if program, err = filepath.EvalSymlinks(program); err == nil {
			return filepath.Dir(program), nil
		}
	}
	return "", errors.New("no PostgreSQL server of version 14 to 18 is installed; install your system's package postgresql")
}
