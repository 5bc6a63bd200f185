package config

import (
	"slices"
	"strings"
	"time"
)

// ZooKeeper is the section zookeeper, or exhibitor, which names Exhibitor's hosts instead of ZooKeeper's.
type ZooKeeper struct {
	Hosts             []HostPort // empty where Exhibitor is asked
	Exhibitor         *Exhibitor // nil: Hosts counts
	UseSSL            bool
	Verify            bool   // the servers' certificates, with use_ssl
	CACert, Cert, Key string // PEM files, used with use_ssl
	KeyPassword       Secret
	ACLs              []ZooKeeperACL  // of each node that is created; empty: everybody may do everything
	Auth              []ZooKeeperAuth // shown to each server
	Tick              time.Duration   // ZooKeeper's tickTime, for servers that do not tell it; 0: not given
}

// Exhibitor is who knows the servers.
type Exhibitor struct {
	Hosts        []string
	Port         int
	PollInterval time.Duration
}

// ZooKeeperACL is one entry of an access list.
type ZooKeeperACL struct {
	Scheme, ID string
	Perms      []string // of aclPerms
}

// ZooKeeperAuth is a credential.
type ZooKeeperAuth struct {
	Scheme     string
	Credential Secret
}

var (
	aclPerms   = []string{"READ", "WRITE", "CREATE", "DELETE", "ADMIN", "ALL"}
	aclSchemes = []string{"digest", "x509", "ip", "world", "auth", "sasl"}
)

func readZooKeeper(s *section) *ZooKeeper {
	if !s.present() {
		return nil
	}
	if s.has("exhibitor") { // where Patroni 1 had it; the rest is not looked at, as there
		return readExhibitor(s.sub("exhibitor"))
	}
	z := readZooKeeperAccess(s)
	for _, h := range s.words("hosts") {
		hp, err := ParseHostPort(h, 2181)
		if err != nil {
			s.r.fail(s.at("hosts"), err.Error(), "write HOST:PORT")
			continue
		}
		z.Hosts = append(z.Hosts, hp)
	}
	if !s.has("hosts") {
		s.r.fail(s.path, "no server is named", "write hosts, a list of HOST:PORT")
	}
	s.done()
	return z
}

// readExhibitor reads the section exhibitor, which may hold all of zookeeper's settings beside its own.
func readExhibitor(s *section) *ZooKeeper {
	if !s.present() {
		return nil
	}
	z := readZooKeeperAccess(s)
	z.Exhibitor = &Exhibitor{
		Hosts:        s.words("hosts"),
		Port:         int(s.integer("port", 8181, 1, 65535, "")),
		PollInterval: time.Duration(s.integer("poll_interval", 300, 1, 86400, "s")) * time.Second,
	}
	if !s.has("hosts") {
		s.r.fail(s.path, "no host of Exhibitor is named", "write hosts, a list of names")
	}
	for _, h := range z.Exhibitor.Hosts {
		if hp, err := ParseHostPort(h, z.Exhibitor.Port); err != nil || hp.Port != z.Exhibitor.Port {
			s.r.fail(s.at("hosts"), "must be names without a port, and one is "+h, "write the port as port")
		}
	}
	s.done()
	return z
}

// readZooKeeperAccess reads what both sections share.
func readZooKeeperAccess(s *section) *ZooKeeper {
	z := &ZooKeeper{
		UseSSL:      s.boolean("use_ssl", false),
		Verify:      s.boolean("verify", true),
		CACert:      s.text("cacert", ""),
		Cert:        s.text("cert", ""),
		Key:         s.text("key", ""),
		KeyPassword: s.secret("key_password"),
		Tick:        time.Duration(s.integer("tick_time", 0, 1, 60000, "ms")) * time.Millisecond,
	}
	acls := s.sub("set_acls")
	for _, principal := range sortedKeys(acls.values) {
		z.readACL(acls, principal)
	}
	auth := s.sub("auth_data")
	for _, scheme := range sortedKeys(auth.values) {
		z.Auth = append(z.Auth, ZooKeeperAuth{Scheme: scheme, Credential: auth.secret(scheme)})
	}
	if !z.UseSSL && (z.CACert != "" || z.Cert != "") {
		s.r.warn(s.path, "certificates are given, and use_ssl is off: they are not used", "write use_ssl: true")
	}
	if z.Cert == "" && z.Key != "" {
		s.r.fail(s.at("key"), "a key without cert", "name the client certificate, too")
	}
	return z
}

// readACL reads the permissions of one principal. Patroni takes every principal for the name of a client certificate (x509); a known scheme
// before a colon says otherwise.
func (z *ZooKeeper) readACL(s *section, principal string) {
	a := ZooKeeperACL{Scheme: "x509", ID: principal}
	if scheme, id, ok := strings.Cut(principal, ":"); ok && slices.Contains(aclSchemes, scheme) {
		a.Scheme, a.ID = scheme, id
	}
	for _, p := range s.words(principal) {
		p = strings.ToUpper(p)
		if !slices.Contains(aclPerms, p) {
			s.r.fail(s.at(principal), "is not a permission of ZooKeeper: "+p, "use "+strings.Join(aclPerms, ", "))
			continue
		}
		a.Perms = append(a.Perms, p)
	}
	z.ACLs = append(z.ACLs, a)
}
