package instance

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/postgres"
)

// Config is what an Instance is made of. It stays for the life of the Instance; what may change is postgres.Settings.
type Config struct {
	Name  string // of the member: application_name of its WAL receiver
	Scope string // of the cluster: becomes cluster_name, and the last argument of callbacks

	DataDir        string // required, absolute
	ConfigDir      string // where postgresql.conf and pg_hba.conf live; DataDir unless set
	ConfigBaseName string // "postgresql" unless set
	CustomConf     string // included instead of ConfigBaseName.base.conf
	BinDir         string // folder of the PostgreSQL programs; "" searches PATH
	BinNames       map[string]string

	// StateDir holds three files that must not be in the data directory, named after it: a lock against a second agent,
	// a marker of an unfinished clone, rewind or wipe, and the log. The parent of DataDir unless set.
	StateDir string
	// LogFile takes what PostgreSQL writes to standard error; StateDir/NAME.log unless set. "inherit" passes the agent's
	// own standard error on: the server must be able to write there after the agent's death.
	LogFile string

	ListenAddresses string // comma separated, or "*"
	Port            int    // 5432 unless set
	Database        string // for the agent's own connections; "postgres" unless set

	Superuser   Credentials // Username is "postgres" unless set
	Replication Credentials // required
	Rewind      Credentials // the superuser's unless set

	PgPass            string // password file for replication and pg_rewind; NAME.pgpass in StateDir unless set
	UseUnixSocket     bool
	UseUnixSocketRepl bool
	KrbSrvName        string

	InitDB         []string // options for initdb, as --name or --name=value
	BootstrapHBA   []string // lines added to the pg_hba.conf that initdb makes
	BootstrapUsers []User
	PostBootstrap  string // command, run with a connection string as its last argument

	Connector postgres.Connector // required
	Logger    *slog.Logger       // required
	Settings  postgres.Settings  // in force until the first Configure
	// Now is the clock that postgres.Task.By is told in; time.Now unless set.
	Now func() time.Time
	// Launcher guards starts that make the server writable at once (postgres.Task.AsPrimary); nil: there is no guard. Other
	// servers become writable by a promotion, or by TaskOpen, before which the guard is told of them.
	Launcher Launcher
}

// Credentials name a role and how it logs in.
type Credentials struct {
	Username string
	Password string
	// Options are libpq keywords: sslmode, sslcert, sslkey, sslpassword, sslrootcert, sslcrl, sslcrldir, gssencmode,
	// channel_binding, sslnegotiation.
	Options postgres.Conninfo
}

// LogValue hides the password.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.Username) }

// User is a role that bootstrap.users asks for. Patroni dropped that section in version 4; it is kept, with a notice.
type User struct {
	Name     string
	Password string
	Options  []string // role options as in CREATE ROLE: createdb, createrole, nologin, …
}

// Programs that an Instance runs. BinNames may give others.
const (
	progPostgres    = "postgres"
	progInitDB      = "initdb"
	progControlData = "pg_controldata"
	progBaseBackup  = "pg_basebackup"
	progRewind      = "pg_rewind"
)

// forbiddenInitDB would defeat what the agent does itself.
var forbiddenInitDB = []string{"pgdata", "nosync", "no-sync", "pwfile", "sync-only", "version"}

func (c *Config) setDefaults() {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	c.DataDir = filepath.Clean(c.DataDir)
	set(&c.ConfigDir, c.DataDir)
	c.ConfigDir = filepath.Clean(c.ConfigDir)
	set(&c.ConfigBaseName, "postgresql")
	set(&c.StateDir, filepath.Dir(c.DataDir))
	set(&c.ListenAddresses, "localhost")
	set(&c.Database, "postgres")
	set(&c.Superuser.Username, "postgres")
	set(&c.LogFile, c.beside(".log"))
	set(&c.PgPass, c.beside(".pgpass"))
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Port == 0 {
		c.Port = 5432
	}
	if c.Rewind.Username == "" {
		c.Rewind = c.Superuser
	}
}

// beside names a file next to the data directory.
func (c *Config) beside(suffix string) string {
	return filepath.Join(c.StateDir, filepath.Base(c.DataDir)+suffix)
}

func (c *Config) validate() error {
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	need(os.Geteuid() != 0, "PostgreSQL refuses to run as root: start the agent as the user that owns %s "+
		"(hint: on Debian and Red Hat that user is called postgres)", c.DataDir)
	need(filepath.IsAbs(c.DataDir), "data directory %q is not an absolute path", c.DataDir)
	need(c.Name != "", "Name is empty")
	need(c.Scope != "", "Scope is empty")
	need(c.Replication.Username != "", "Replication.Username is empty")
	need(c.Connector != nil, "Connector is nil")
	need(c.Logger != nil, "Logger is nil")
	need(c.Port > 0 && c.Port < 65536, "port %d is not between 1 and 65535", c.Port)
	for _, o := range c.InitDB {
		name, _, _ := strings.Cut(strings.TrimLeft(o, "-"), "=")
		for _, f := range forbiddenInitDB {
			need(name != f, "initdb option %q is not allowed: the agent sets it itself", f)
		}
	}
	return errors.Join(errs...)
}
