package config

import (
	"net/url"
	"path/filepath"
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// Config is what one agent or tool reads from its file and environment. It stays as it is until the file is read again;
// what the cluster's dynamic configuration says comes from Dynamic.
type Config struct {
	Path      string // as it was given to Load; "" for the environment alone
	Scope     string // name of the cluster
	Namespace string // prefix of the keys in the store, without slashes around: "service" unless set
	Name      string // of this member; unique in the cluster

	RestAPI    RestAPI
	Ctl        Ctl
	Etcd3      *Etcd3     // from etcd3: or etcd:; nil if neither is there
	Consul     *Consul    // nil if the section is not there
	ZooKeeper  *ZooKeeper // nil if neither zookeeper nor exhibitor is there
	EmbedEtcd  *EmbedEtcd // nil if the agent runs no etcd of its own
	Log        Log
	Bootstrap  Bootstrap
	PostgreSQL PostgreSQL
	Tags       ha.Tags
	Watchdog   Watchdog

	tree *tree
}

// RestAPI is the section restapi: the server that HAProxy, tools and peers ask.
type RestAPI struct {
	Listen                  HostPort
	ConnectAddress          HostPort // published to the others; Listen unless set
	Username                string   // of basic authentication, "" for none; it guards the unsafe methods
	Password                Secret
	CertFile, KeyFile       string // CertFile set: https
	KeyFilePassword         Secret
	CAFile                  string
	Ciphers                 string // OpenSSL's notation; not honoured
	VerifyClient            string // none, optional or required
	Allowlist               []string
	AllowlistIncludeMembers bool
	HTTPExtraHeaders        map[string]string
	HTTPSExtraHeaders       map[string]string
	RequestQueueSize        int
	ServerTokens            string // original, minimal or productonly
}

// Scheme is https if there is a certificate, else http.
func (r RestAPI) Scheme() string {
	if r.CertFile != "" {
		return "https"
	}
	return "http"
}

// Ctl is the section ctl: how this program speaks to REST APIs. What it leaves out is taken from restapi.
type Ctl struct {
	Insecure          bool // do not verify the server's certificate
	CACert            string
	CertFile, KeyFile string
	KeyFilePassword   Secret
	Username          string
	Password          Secret
}

// Log is the section log.
type Log struct {
	Type           string // plain or json
	Level          string // DEBUG, INFO, WARNING, ERROR or CRITICAL
	TracebackLevel string
	Format         string
	FormatFields   []any // the list form of log.format, for json
	DateFormat     string
	StaticFields   map[string]string
	MaxQueueSize   int
	Dir            string // "": standard error; else DIR/patroni.log
	FileNum        int    // files kept
	FileSize       int64  // bytes before the file is turned over
	Mode           int    // of the file, 0: by umask
	Loggers        map[string]string
	Deduplicate    bool
}

// Watchdog is the section watchdog.
type Watchdog struct {
	Mode         string // off, automatic or required
	Device       string
	SafetyMargin int    // seconds; -1: the device counts half of the ttl
	Driver       string // default or testing
}

// settings are what a node is told of it.
func (w *Watchdog) settings() ha.WatchdogSettings {
	s := ha.WatchdogSettings{SafetyMargin: time.Duration(w.SafetyMargin) * time.Second}
	switch w.Mode {
	case "automatic":
		s.Mode = ha.WatchdogAutomatic
	case "required":
		s.Mode = ha.WatchdogRequired
	}
	return s
}

// Bootstrap is the section bootstrap: how a cluster is founded. It has no effect on one that exists.
type Bootstrap struct {
	DCS           []byte   // bootstrap.dcs as JSON, keys in the order of the file; never nil
	InitDB        []string // options of initdb, in the form --name=value
	HBA           []string // lines for pg_hba.conf, where postgresql.pg_hba has none
	Users         []User
	PostBootstrap string // command, run with a connection string as last argument
}

// User is a role to create when the cluster is founded. Patroni 4 dropped it.
type User struct {
	Name     string
	Password Secret
	Options  []string // as CREATE ROLE takes them: createdb, createrole
}

// PostgreSQL is what is fixed about the local server while the agent runs; the rest of the section postgresql is part of
// what Dynamic returns.
type PostgreSQL struct {
	ListenHosts    []string // "*" stands alone
	ListenPort     int
	ConnectAddress HostPort // published; the first of ListenHosts unless set
	ProxyAddress   HostPort // published if set
	DataDir        string
	ConfigDir      string            // DataDir unless set
	ConfigBaseName string            // "postgresql" unless set
	CustomConf     string            // included instead of the base configuration, "" for none
	BinDir         string            // "": search PATH
	BinName        map[string]string // other names of programs: pg_ctl, initdb, …
	Database       string            // for maintenance; "postgres" unless set
	PgPass         string            // path of the password file; "" for the agent's choice
	KrbSrvName     string
	// UseUnixSocket: the agent's own connections go through a socket; UseUnixSocketRepl: those for replication, too.
	UseUnixSocket, UseUnixSocketRepl bool
	Authentication                   Authentication
}

// Authentication holds the roles that the agents use. Rewind is empty where pg_rewind runs as the superuser.
type Authentication struct {
	Superuser, Replication, Rewind Credentials
}

// Credentials are a role, its password, and libpq's settings for its connections: sslmode, sslcert and so on.
type Credentials struct {
	Username string
	Password Secret
	Options  postgres.Conninfo // hides its secrets when printed
}

// Program is the path of one of PostgreSQL's programs, by its usual name: "pg_ctl". Without bin_dir it is a bare name,
// to be searched on PATH.
func (p PostgreSQL) Program(name string) string {
	if other := p.BinName[name]; other != "" {
		name = other
	}
	if p.BinDir == "" {
		return name
	}
	return filepath.Join(p.BinDir, name)
}

// HasStore reports whether a store is named that this release can use.
func (c *Config) HasStore() bool {
	return c.Etcd3 != nil || c.Consul != nil || c.ZooKeeper != nil || c.EmbedEtcd != nil
}

// ConnURL is published as conn_url: postgres://HOST:PORT/DATABASE, without credentials.
func (c *Config) ConnURL() string { return c.postgresURL(c.PostgreSQL.ConnectAddress) }

// ProxyURL is published as proxy_url; "" without proxy_address.
func (c *Config) ProxyURL() string { return c.postgresURL(c.PostgreSQL.ProxyAddress) }

func (c *Config) postgresURL(a HostPort) string {
	if a == (HostPort{}) {
		return ""
	}
	return (&url.URL{Scheme: "postgres", Host: a.String(), Path: "/" + c.PostgreSQL.Database}).String()
}

// APIURL is published as api_url: http(s)://HOST:PORT/patroni.
func (c *Config) APIURL() string {
	if c.RestAPI.ConnectAddress == (HostPort{}) {
		return ""
	}
	return c.RestAPI.Scheme() + "://" + c.RestAPI.ConnectAddress.String() + "/patroni"
}
