package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/postgres"
)

// bootstrap carries out TaskBootstrap. The server that it leaves running is closed: nobody but the superuser on this
// machine can log in until TaskOpen. Until then the marker says that the cluster is unfinished.
func (i *Instance) bootstrap(ctx context.Context, phase func(postgres.Phase)) (postgres.Outcome, error) {
	var out postgres.Outcome
	kills := i.kills.Load()
	if c, problem := i.condition(); c != postgres.DataDirEmpty {
		return out, fmt.Errorf("the data directory is not empty but %s: %s", c, problem)
	}
	if err := i.writeMarker(marker{Work: postgres.TaskBootstrap}); err != nil {
		return out, err
	}
	if err := i.initDB(ctx); err != nil {
		return out, err
	}
	if err := i.prepareFirstStart(); err != nil {
		return out, err
	}
	s, _ := i.currentSettings()
	if _, err := i.launch(ctx, launch{args: i.serverArguments(s, nil, false), kills: kills}, phase); err != nil {
		return out, err
	}
	if err := i.populate(ctx); err != nil {
		return out, err
	}
	control, err := i.readControl(ctx)
	if err != nil {
		return out, err
	}
	i.startedWell()
	out.SystemID = control.SystemID
	phase(postgres.Phase{Name: postgres.PhaseReady})
	return out, nil
}

func (i *Instance) initDB(ctx context.Context) error {
	args := []string{"--pgdata=" + i.cfg.DataDir, "--username=" + i.cfg.Superuser.Username, "--no-sync"}
	if p := i.cfg.Superuser.Password; p != "" {
		file := i.cfg.beside(".pwfile")
		if err := writeFile(file, []byte(p+"\n"), 0o600); err != nil {
			return err
		}
		defer os.Remove(file)
		args = append(args, "--pwfile="+file)
	}
	if err := os.MkdirAll(i.cfg.DataDir, 0o700); err != nil {
		return err
	}
	c := command{path: i.program(progInitDB), args: append(args, i.cfg.InitDB...), env: environment()}
	if err := c.run(ctx); err != nil {
		return fmt.Errorf("make a new cluster: %w", err)
	}
	return i.syncAll()
}

// prepareFirstStart writes the configuration, and closes the server.
func (i *Instance) prepareFirstStart() error {
	if i.cfg.ConfigDir != i.cfg.DataDir {
		if err := os.MkdirAll(i.cfg.ConfigDir, 0o700); err != nil {
			return err
		}
	}
	if err := i.ensureAccessFiles(); err != nil {
		return err
	}
	s, _ := i.currentSettings()
	if !i.ownsHBA(s) {
		return errors.New("hba_file names another file than the agent's, so the new server cannot be kept closed (hint: give the lines as pg_hba, or remove hba_file until the cluster is founded)")
	}
	if len(s.HBA) == 0 {
		raw, err := os.ReadFile(i.hbaPath())
		if err != nil {
			return err
		}
		lines := string(raw) + "\n" + strings.Join(i.cfg.BootstrapHBA, "\n") + "\n"
		if err := writeFile(i.hbaPath(), []byte(lines), i.fileMode()); err != nil {
			return err
		}
	}
	if err := i.closeAccess(); err != nil {
		return err
	}
	i.closed.Store(true)
	return i.writeRole(nil)
}

// quiet keeps passwords out of the server's log.
var quiet = []string{
	"SET log_statement = 'none'", "SET log_min_duration_statement = -1", "SET log_min_error_statement = 'log'",
	"SET log_duration = off", "SET pgaudit.log = 'none'",
}

// populate makes the roles and runs the user's script.
func (i *Instance) populate(ctx context.Context) error {
	conn, err := i.connect(ctx, longSession)
	if err != nil {
		return fmt.Errorf("connect to the new server: %w", err)
	}
	defer closeConn(conn)
	for _, q := range quiet {
		if err := conn.Exec(ctx, q); err != nil && !strings.Contains(q, "pgaudit") {
			return err
		}
	}
	if i.cfg.PostBootstrap != "" {
		if err := i.postBootstrap(ctx); err != nil {
			return err
		}
	}
	if err := makeRole(ctx, conn, i.cfg.Replication, "LOGIN", "REPLICATION"); err != nil {
		return err
	}
	if err := i.makeRewindRole(ctx, conn); err != nil {
		return err
	}
	return i.makeUsers(ctx, conn)
}

// rewindFunctions are what pg_rewind calls on its source (PostgreSQL documentation, pg_rewind).
var rewindFunctions = []string{
	"pg_ls_dir(text, boolean, boolean)", "pg_stat_file(text, boolean)", "pg_read_binary_file(text)",
	"pg_read_binary_file(text, bigint, bigint, boolean)",
}

func (i *Instance) makeRewindRole(ctx context.Context, conn postgres.Conn) error {
	c := i.cfg.Rewind
	if c.Username == i.cfg.Superuser.Username {
		return nil
	}
	if err := makeRole(ctx, conn, c, "LOGIN"); err != nil {
		return err
	}
	for _, f := range rewindFunctions {
		if err := conn.Exec(ctx, "GRANT EXECUTE ON FUNCTION pg_catalog."+f+" TO "+postgres.QuoteIdent(c.Username)); err != nil {
			return fmt.Errorf("grant what pg_rewind needs: %w", err)
		}
	}
	return nil
}

// makeUsers makes the roles of bootstrap.users.
func (i *Instance) makeUsers(ctx context.Context, conn postgres.Conn) error {
	if len(i.cfg.BootstrapUsers) > 0 {
		i.log.Warn("bootstrap.users is honoured, but Patroni dropped it in version 4: move these roles to post_bootstrap")
	}
	for _, u := range i.cfg.BootstrapUsers {
		options := []string{"LOGIN"}
		for _, o := range u.Options {
			if strings.EqualFold(o, "nologin") {
				options = slices.DeleteFunc(options, func(x string) bool { return x == "LOGIN" })
			}
			if strings.ContainsAny(o, ";'\"") {
				return fmt.Errorf("bootstrap.users: option %q of %s is not a role option", o, u.Name)
			}
			options = append(options, strings.ToUpper(o))
		}
		if err := makeRole(ctx, conn, Credentials{Username: u.Name, Password: u.Password}, options...); err != nil {
			return err
		}
	}
	return nil
}

// makeRole creates a role, or alters it if a script has created it before.
func makeRole(ctx context.Context, conn postgres.Conn, c Credentials, options ...string) error {
	rest := postgres.QuoteIdent(c.Username) + " WITH " + strings.Join(options, " ")
	if c.Password != "" {
		rest += " PASSWORD " + postgres.QuoteLiteral(c.Password)
	}
	err := conn.Exec(ctx, "CREATE ROLE "+rest)
	if serverCode(err) == postgres.CodeDuplicateObject {
		err = conn.Exec(ctx, "ALTER ROLE "+rest)
	}
	if err != nil {
		return fmt.Errorf("make role %s: %w", c.Username, err)
	}
	return nil
}

// postBootstrap runs the user's script against the closed server: over the socket, where the account that runs it is let
// in as the superuser.
func (i *Instance) postBootstrap(ctx context.Context) error {
	host := i.localAddresses(true)[0]
	ci := i.cfg.Superuser.conninfo(host, i.localPort(), i.cfg.Database)
	delete(ci, "password")
	if err := i.writePassFile(host, i.localPort()); err != nil {
		return err
	}
	env := []string{"PGPASSFILE=" + i.cfg.PgPass, "PGOPTIONS=-c synchronous_commit=local -c statement_timeout=0"}
	if err := i.script(ctx, i.cfg.PostBootstrap, []string{ci.Format()}, env); err != nil {
		return fmt.Errorf("post_bootstrap: %w", err)
	}
	return nil
}

// open carries out TaskOpen: the real pg_hba.conf is put in place, and the server is seen to have taken it.
func (i *Instance) open(ctx context.Context) error {
	r := i.postmaster()
	if r == nil {
		return errors.New("no server runs")
	}
	if !i.closed.Load() {
		return nil
	}
	before, err := i.loadTime(ctx)
	if err != nil {
		return err
	}
	s, _ := i.currentSettings()
	if err := i.openAccess(s); err != nil {
		return err
	}
	if err := i.reloadOpen(ctx, r, before); err != nil {
		return err
	}
	i.closed.Store(false)
	_ = os.Remove(i.hbaPath() + openSuffix)
	i.backUpConf()
	i.log.Info("opened the server for clients", "hba", filepath.Base(i.hbaPath()))
	return nil
}

// reloadOpen reloads and looks for errors in pg_hba.conf: with one the server keeps the rules that it had.
func (i *Instance) reloadOpen(ctx context.Context, r *run, before string) error {
	if problem, err := i.hbaProblem(ctx); err == nil && problem != "" {
		return errors.Join(fmt.Errorf("pg_hba.conf has an error: %s", problem), i.closeAccess())
	}
	if err := signalPostmaster(r, unix.SIGHUP); err != nil {
		return err
	}
	if err := i.awaitReload(ctx, r, before); err != nil {
		return fmt.Errorf("%w (hint: pg_hba.conf must let %s in from this machine)", err, i.cfg.Superuser.Username)
	}
	return nil
}

// hbaProblem asks the server what it thinks of the file as it is now.
func (i *Instance) hbaProblem(ctx context.Context) (string, error) {
	conn, err := i.connect(ctx, session)
	if err != nil {
		return "", err
	}
	defer closeConn(conn)
	// A hostssl line on a server without TLS (hostgssenc without GSSAPI) is shown as an error here, but the server only says
	// so in its log and takes the file (PostgreSQL source, parse_hba_line). Users have such lines.
	rows, err := conn.Query(ctx, "SELECT line_number, error FROM pg_hba_file_rules"+
		" WHERE error IS NOT NULL AND error NOT LIKE '%record cannot match because%' LIMIT 1")
	if err != nil || len(rows) == 0 {
		return "", err
	}
	v := &row{cols: rows[0]}
	return "line " + v.text() + ": " + v.text(), nil
}
