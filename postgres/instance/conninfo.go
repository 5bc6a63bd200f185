package instance

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tanist-ha/tanist/postgres"
)

// heartbeat is the application name of the agent's own connections, as Patroni's users filter it.
const heartbeat = "Patroni heartbeat"

// session are the settings of the agent's own SQL connections: short statements, no surprises by a user's search_path.
var session = map[string]string{
	"application_name":  heartbeat,
	"search_path":       "pg_catalog",
	"statement_timeout": "2000",
	// It is idle between two looks, and its end means something.
	"idle_session_timeout": "0",
}

// longSession is for statements that may take their time; the context bounds them.
var longSession = map[string]string{
	"application_name":  heartbeat,
	"search_path":       "pg_catalog",
	"statement_timeout": "0",
	// A synchronous standby that is not there yet must not block the agent.
	"synchronous_commit": "local",
}

// conninfo combines an address with credentials. The password is in it.
func (c Credentials) conninfo(host string, port int, database string) postgres.Conninfo {
	ci := postgres.Conninfo{}
	maps.Copy(ci, c.Options)
	ci["host"], ci["port"], ci["user"], ci["dbname"], ci["password"] = host, itoa(port), c.Username, database, c.Password
	ci["connect_timeout"] = "3"
	return ci
}

// localAddresses are the ways to the own server, best first.
func (i *Instance) localAddresses(preferSocket bool) []string {
	tcp := "localhost"
	first := ""
	for _, a := range strings.Split(i.cfg.ListenAddresses, ",") {
		a = strings.TrimSpace(a)
		if a == "*" || a == "localhost" || a == "0.0.0.0" || a == "127.0.0.1" {
			first = tcp
			break
		}
		if first == "" {
			first = a
		}
	}
	if first != "" {
		tcp = first
	}
	socket := i.socketDir()
	switch {
	case socket == "":
		return []string{tcp}
	case preferSocket:
		return []string{socket, tcp}
	}
	return []string{tcp, socket}
}

// socketDir is the folder of the running server's socket, absolute; "" if it has none.
func (i *Instance) socketDir() string {
	f := i.serverFile()
	if f == nil || f.socketDir == "" {
		return ""
	}
	if filepath.IsAbs(f.socketDir) {
		return f.socketDir
	}
	return filepath.Join(i.cfg.DataDir, f.socketDir)
}

// primaryConninfo is what the WAL receiver connects with. The password is in the password file.
func (i *Instance) primaryConninfo(u *postgres.Upstream) string {
	if u == nil {
		return ""
	}
	ci := postgres.Conninfo{
		"host": u.Host, "port": itoa(u.Port), "user": i.cfg.Replication.Username, "application_name": i.cfg.Name,
		"sslmode": "prefer", "gssencmode": "prefer", "channel_binding": "prefer",
	}
	maps.Copy(ci, i.cfg.Replication.Options)
	if i.cfg.Replication.Password != "" {
		ci["passfile"] = i.cfg.PgPass
	}
	if i.cfg.KrbSrvName != "" {
		ci["krbsrvname"] = i.cfg.KrbSrvName
	}
	if u.Primary {
		ci["target_session_attrs"] = "primary"
	}
	if i.major >= 17 {
		ci["dbname"] = i.cfg.Database // slot synchronization logs in to it
	}
	return ci.Format()
}

// toolConninfo is for a program that reads the password file.
func (i *Instance) toolConninfo(c Credentials, u *postgres.Upstream, database string) postgres.Conninfo {
	ci := c.conninfo(u.Host, u.Port, database)
	delete(ci, "password")
	if i.cfg.KrbSrvName != "" {
		ci["krbsrvname"] = i.cfg.KrbSrvName
	}
	return ci
}

// writePassFile writes the password file for the roles that connect to host.
func (i *Instance) writePassFile(host string, port int) error {
	var b bytes.Buffer
	var done []string
	hosts := strings.Split(host, ",")
	if slices.ContainsFunc(hosts, func(h string) bool { return strings.HasPrefix(h, "/") }) {
		hosts = append(hosts, "localhost") // libpq looks a socket up under that name
	}
	for _, c := range []Credentials{i.cfg.Replication, i.cfg.Rewind, i.cfg.Superuser} {
		if c.Password == "" || slices.Contains(done, c.Username) {
			continue
		}
		done = append(done, c.Username)
		for _, h := range hosts {
			fmt.Fprintf(&b, "%s:%d:*:%s:%s\n", escapePass(h), port, escapePass(c.Username), escapePass(c.Password))
		}
	}
	if _, err := writeIfChanged(i.cfg.PgPass, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the password file: %w (hint: postgresql.pgpass must name a file in a folder that the agent may write to)", err)
	}
	return os.Chmod(i.cfg.PgPass, 0o600) // libpq ignores a file that others may read
}

func escapePass(s string) string { return strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(s) }

func hostPort(host string, port int) string { return net.JoinHostPort(host, itoa(port)) }
