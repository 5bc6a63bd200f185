package instance

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/postgres"
)

// Configure makes s the settings. If the server runs, files that differ are written and it is reloaded; what needs a
// restart is then told by Observe. Otherwise the next start writes them.
func (i *Instance) Configure(ctx context.Context, s postgres.Settings) error {
	i.mu.Lock()
	i.settings = s
	i.mu.Unlock()
	r := i.postmaster()
	if r == nil {
		return nil
	}
	changed, err := i.rewrite(s)
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	if changed {
		if err := i.reload(ctx, r); err != nil {
			return fmt.Errorf("configure: %w", err)
		}
		i.backUpConf()
	}
	i.learnPending(ctx, r, s)
	return nil
}

// rewrite writes the files for the role that the server has. It says whether something changed.
func (i *Instance) rewrite(s postgres.Settings) (bool, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var st *stream
	if i.isStandby() {
		follows := i.follows
		st = &follows
	}
	conf, err := i.writeConf(s, st)
	if err != nil {
		return false, err
	}
	access, err := i.writeAccess(s)
	return conf || access, err
}

// isStandby says whether the server was started as a standby and not promoted since: a promotion removes the file.
func (i *Instance) isStandby() bool {
	return exists(filepath.Join(i.cfg.DataDir, "standby.signal"))
}

// reload sends SIGHUP and waits until the postmaster has read its files. Only a session that begins afterwards can tell:
// it has the postmaster's load time. If nobody can be asked, the reload goes on unwatched.
func (i *Instance) reload(ctx context.Context, r *run) error {
	before, err := i.loadTime(ctx)
	if err != nil {
		return signalPostmaster(r, unix.SIGHUP)
	}
	if err := signalPostmaster(r, unix.SIGHUP); err != nil {
		return err
	}
	return i.awaitReload(ctx, r, before)
}

func (i *Instance) awaitReload(ctx context.Context, r *run, before string) error {
	look := pace{next: 2 * time.Millisecond, limit: 50 * time.Millisecond}
	var lastErr error
	for look.wait(ctx, r.ended) {
		now, err := i.loadTime(ctx)
		if err == nil && now != before {
			return nil
		}
		lastErr = err
	}
	if lastErr != nil {
		return fmt.Errorf("reload: %w", lastErr)
	}
	return fmt.Errorf("reload: the server has not read its configuration: %w", context.Cause(ctx))
}

// loadTime asks over a fresh connection when the postmaster read its configuration.
func (i *Instance) loadTime(ctx context.Context) (string, error) {
	conn, err := i.connect(ctx, session)
	if err != nil {
		return "", err
	}
	defer closeConn(conn)
	rows, err := conn.Query(ctx, "SELECT extract(epoch FROM pg_conf_load_time())")
	if err != nil {
		return "", err
	}
	r := &row{cols: rows[0]}
	return r.text(), nil
}

// learnPending finds the settings that the running server does not have yet: those of files by asking it, those of the
// command line by comparing.
func (i *Instance) learnPending(ctx context.Context, r *run, s postgres.Settings) {
	pending := map[string][2]string{}
	running := commandLineSettings(arguments(r.id.PID))
	for name, want := range i.controlled(s, nil, false) {
		if have, ok := running[name]; ok && have != want {
			pending[name] = [2]string{have, want}
		}
	}
	conn, err := i.connect(ctx, session)
	if err == nil {
		defer closeConn(conn)
		rows, err := conn.Query(ctx, `SELECT s.name, s.setting, coalesce(
 (SELECT f.setting FROM pg_file_settings f WHERE f.name = s.name ORDER BY f.seqno DESC LIMIT 1), '?')
FROM pg_settings s WHERE s.pending_restart`)
		if err != nil {
			i.log.Debug("ask for settings that wait for a restart", "error", err)
		}
		for _, cols := range rows {
			v := &row{cols: cols}
			pending[v.text()] = [2]string{v.text(), v.text()}
		}
	}
	if len(pending) == 0 {
		pending = nil
	}
	i.eye.setPending(pending)
}

// commandLineSettings reads --name=value arguments of a postmaster.
func commandLineSettings(args []string) map[string]string {
	m := map[string]string{}
	for _, a := range args {
		if rest, ok := strings.CutPrefix(a, "--"); ok {
			if name, value, ok := strings.Cut(rest, "="); ok {
				m[strings.ReplaceAll(name, "-", "_")] = value
			}
		}
	}
	return m
}
