package config

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Checks chooses what Validate looks at beside the file itself.
type Checks struct {
	Programs bool // the programs of bin_dir, or of PATH, exist
	Files    bool // certificates and keys can be read
	Ports    bool // nobody listens on the ports yet; not for an agent that takes over a running server
}

// programs are those that an agent runs.
var programs = []string{"postgres", "initdb", "pg_controldata", "pg_basebackup", "pg_rewind"}

// nobodysName is taken by Patroni for its own use.
const nobodysName = "__patroni_strict_sync_replica_placeholder__"

// Validate says what an agent lacks. The error joins everything that keeps it from running.
func (c *Config) Validate(checks Checks) ([]Warning, error) {
	r := &reader{tree: c.tree}
	c.required(r)
	c.addresses(r)
	c.directories(r)
	if checks.Programs {
		c.checkPrograms(r)
	}
	if checks.Files {
		c.checkFiles(r)
	}
	if checks.Ports {
		c.checkPorts(r)
	}
	return inOrder(r.warnings, func(w Warning) Where { return w.Where }), joinProblems(r.problems)
}

// ValidateWitness says what a witness lacks: it runs a member of the store and no PostgreSQL, so it needs no more than scope and embedetcd.
// Other sections are as welcome as useless: a file may be shared with the agents.
func (c *Config) ValidateWitness(checks Checks) ([]Warning, error) {
	of := &Config{Scope: c.Scope, Name: c.Name, EmbedEtcd: c.EmbedEtcd, PostgreSQL: PostgreSQL{DataDir: c.PostgreSQL.DataDir}, tree: c.tree}
	r := &reader{tree: c.tree}
	if c.Scope == "" {
		r.fail(path("scope"), "is missing", "name the cluster, the same on all members")
	}
	if c.EmbedEtcd == nil && !c.written(path("embedetcd")) {
		r.fail(nil, "embedetcd is missing: a witness is a member of an embedded etcd", "write the section as on the other machines")
	}
	if e := c.EmbedEtcd; e != nil && e.Name == "" {
		r.fail(path("name"), "is missing", "name this member, different on each")
	}
	of.etcdApart(r)
	if checks.Files {
		of.checkFiles(r)
	}
	if checks.Ports {
		of.checkPorts(r)
	}
	return inOrder(r.warnings, func(w Warning) Where { return w.Where }), joinProblems(r.problems)
}

func path(dotted string) []string { return strings.Split(dotted, ".") }

// written says whether the sources have something at path, so that what Load has refused is not reported as missing,
// too.
func (c *Config) written(p []string) bool {
	var v any = c.tree.values
	for _, k := range p {
		m, _ := v.(map[string]any)
		if v = m[k]; v == nil {
			return false
		}
	}
	return true
}

func (c *Config) required(r *reader) {
	for _, need := range []struct{ key, hint string }{
		{"scope", "name the cluster, the same on all members"},
		{"name", "name this member, different on each"},
		{"restapi.listen", "write HOST:PORT, for example 0.0.0.0:8008"},
		{"postgresql.listen", "write HOST:PORT, for example 0.0.0.0:5432"},
		{"postgresql.data_dir", "name the data directory of PostgreSQL"},
		{"postgresql.authentication.superuser.username", "name the role that the agent administers with, usually postgres"},
		{"postgresql.authentication.replication.username", "name the role that standbys stream with"},
	} {
		if c.written(path(need.key)) || need.key == "name" && c.Name != "" || c.PostgreSQL.oldLayout(need.key) {
			continue
		}
		r.fail(path(need.key), "is missing", need.hint)
	}
	if c.Name == nobodysName {
		r.fail(path("name"), "this name is reserved", "choose another")
	}
	for key, v := range map[string]string{"name": c.Name, "scope": c.Scope} {
		if strings.ContainsAny(v, "/ \t\n\x00") {
			r.fail(path(key), fmt.Sprintf("%q holds a slash or a blank", v), "it becomes part of keys in the store: use letters, digits, - and _")
		}
	}
	if !c.namesStore() {
		r.fail(nil, "no store is named", "write an etcd3 section with hosts, or embedetcd for an etcd inside the agent")
	}
}

// oldLayout says whether the role that key asks for was given as Patroni 1 has it.
func (p PostgreSQL) oldLayout(key string) bool {
	return strings.HasSuffix(key, "superuser.username") && p.Authentication.Superuser.Username != "" ||
		strings.HasSuffix(key, "replication.username") && p.Authentication.Replication.Username != ""
}

// namesStore says whether there is a section of a store, usable or not.
func (c *Config) namesStore() bool {
	for name := range refusedStores {
		if c.written([]string{name}) {
			return true
		}
	}
	for _, store := range storeReaders {
		if c.written([]string{store.section}) {
			return true
		}
	}
	return false
}

func (c *Config) addresses(r *reader) {
	for _, a := range []struct {
		key  string
		addr HostPort
		from bool // the address that it would be taken from was given
	}{
		{"restapi.connect_address", c.RestAPI.ConnectAddress, c.RestAPI.Listen != (HostPort{})},
		{"postgresql.connect_address", c.PostgreSQL.ConnectAddress, len(c.PostgreSQL.ListenHosts) > 0},
	} {
		p := path(a.key)
		switch {
		case a.addr == (HostPort{}):
			if a.from && !c.written(p) {
				r.fail(p, "is missing, and listen stands for all addresses", "write the HOST:PORT that other machines connect to")
			}
		case a.addr.Wildcard():
			r.fail(p, a.addr.Host+" stands for all addresses", "write the HOST:PORT that other machines connect to")
		case a.addr.Loopback():
			r.warn(p, a.addr.String()+" reaches this machine only", "good for a trial; members on other machines need an address that they reach")
		}
	}
	if (c.RestAPI.VerifyClient == "required" || c.RestAPI.VerifyClient == "optional") && (c.RestAPI.CertFile == "" || c.RestAPI.CAFile == "") {
		r.fail(path("restapi.verify_client"), "needs certfile and cafile", "without them no client can be verified")
	}
}

// inside says whether p is dir or lies in it.
func inside(dir, p string) bool {
	rel, err := filepath.Rel(dir, p)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func (c *Config) directories(r *reader) {
	pg := c.PostgreSQL
	if pg.DataDir != "" && !filepath.IsAbs(pg.DataDir) {
		r.fail(path("postgresql.data_dir"), fmt.Sprintf("%q is not absolute", pg.DataDir), "begin it with /")
	}
	c.etcdApart(r)
	if info, err := os.Stat(pg.PgPass); pg.PgPass != "" && err == nil && info.IsDir() {
		r.fail(path("postgresql.pgpass"), pg.PgPass+" is a directory", "name a file")
	}
}

// etcdApart refuses data directories of etcd and PostgreSQL in each other, by whatever path they are named.
func (c *Config) etcdApart(r *reader) {
	e, pg := c.EmbedEtcd, real(c.PostgreSQL.DataDir)
	if e == nil || e.DataDir == "" {
		return
	}
	if !filepath.IsAbs(e.DataDir) {
		r.fail(path("embedetcd.data_dir"), fmt.Sprintf("%q is not absolute", e.DataDir), "begin it with /")
	}
	switch etcd := real(e.DataDir); {
	case pg == "":
	case inside(pg, etcd):
		r.fail(path("embedetcd.data_dir"), "lies in PostgreSQL's data directory", "a clone of PostgreSQL would delete it: choose a folder beside")
	case inside(etcd, pg):
		r.fail(path("postgresql.data_dir"), "lies in etcd's data directory", "who empties that one to replace a member would delete the database: choose a folder beside")
	}
}

// real is p without symbolic links, as far as it exists.
func real(p string) string {
	if p == "" || p == "/" || p == "." {
		return p
	}
	if r, err := filepath.EvalSymlinks(p); err == nil {
		return r
	}
	return filepath.Join(real(filepath.Dir(filepath.Clean(p))), filepath.Base(p))
}

func (c *Config) checkPrograms(r *reader) {
	var missing []string
	for _, name := range programs {
		if _, err := exec.LookPath(c.PostgreSQL.Program(name)); err != nil {
			missing = append(missing, c.PostgreSQL.Program(name))
		}
	}
	if len(missing) == 0 {
		return
	}
	if c.PostgreSQL.BinDir == "" {
		r.fail(path("postgresql.bin_dir"), "is missing, and PATH has no "+strings.Join(missing, ", "), "name the folder of PostgreSQL's programs, for example /usr/lib/postgresql/17/bin")
		return
	}
	r.fail(path("postgresql.bin_dir"), "has no "+strings.Join(missing, ", "), "install PostgreSQL's server, or name the folder of its programs")
}

func (c *Config) checkFiles(r *reader) {
	files := map[string]string{
		"restapi.certfile": c.RestAPI.CertFile, "restapi.keyfile": c.RestAPI.KeyFile, "restapi.cafile": c.RestAPI.CAFile,
		"ctl.certfile": c.Ctl.CertFile, "ctl.keyfile": c.Ctl.KeyFile, "ctl.cacert": c.Ctl.CACert,
	}
	if c.Ctl.CACert == c.RestAPI.CAFile {
		delete(files, "ctl.cacert")
	}
	if e := c.Etcd3; e != nil && (e.Protocol == "https" || e.SRV != "") {
		files[e.Section+".cacert"], files[e.Section+".cert"], files[e.Section+".key"] = e.CACert, e.Cert, e.Key
	}
	if e := c.Consul; e != nil && e.Scheme == "https" {
		files["consul.cacert"], files["consul.cert"], files["consul.key"] = e.CACert, e.Cert, e.Key
	}
	if e := c.EmbedEtcd; e != nil {
		files["embedetcd.cacert"], files["embedetcd.cert"], files["embedetcd.key"] = e.CACert, e.Cert, e.Key
	}
	for _, key := range sortedKeys(files) {
		name := files[key]
		if name == "" {
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			r.fail(path(key), fmt.Sprintf("%s cannot be read: %s", name, reason(err)), "check the path and its owner")
			continue
		}
		f.Close()
	}
}

func (c *Config) checkPorts(r *reader) {
	check := func(key, host string, port int) {
		if port == 0 {
			return
		}
		if host == "*" {
			host = ""
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, itoa(port)))
		if err != nil {
			r.fail(path(key), fmt.Sprintf("port %d cannot be used: %s", port, reason(err)), "stop what listens there, or choose another port")
			return
		}
		l.Close()
	}
	if e := c.EmbedEtcd; e != nil {
		for key, urls := range map[string][]string{"embedetcd.client_listen": e.ClientListen, "embedetcd.peer_listen": e.PeerListen} {
			for _, u := range urls {
				if hp, err := ParseHostPort(u[strings.Index(u, "://")+3:], 0); err == nil {
					check(key, hp.Host, hp.Port)
				}
			}
		}
	}
	check("restapi.listen", c.RestAPI.Listen.Host, c.RestAPI.Listen.Port)
	for _, h := range c.PostgreSQL.ListenHosts {
		check("postgresql.listen", h, c.PostgreSQL.ListenPort)
	}
}
