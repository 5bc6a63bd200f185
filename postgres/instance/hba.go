package instance

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/tanist-ha/tanist/postgres"
)

const (
	// closedMark is the first line of a pg_hba.conf that keeps ordinary clients out.
	closedMark = "# Closed by tanist until the cluster has been founded."
	identMap   = "tanist"
	// openSuffix names the pg_hba.conf that is put in place when a closed server is opened.
	openSuffix = ".open"
)

func (i *Instance) hbaPath() string   { return filepath.Join(i.cfg.ConfigDir, "pg_hba.conf") }
func (i *Instance) identPath() string { return filepath.Join(i.cfg.ConfigDir, "pg_ident.conf") }

// ownsHBA says whether pg_hba.conf is ours to write: not if the user named another file.
func (i *Instance) ownsHBA(s postgres.Settings) bool {
	f := s.Parameters["hba_file"]
	return f == "" || i.inConfigDir(f) == i.hbaPath()
}

func (i *Instance) ownsIdent(s postgres.Settings) bool {
	f := s.Parameters["ident_file"]
	return f == "" || i.inConfigDir(f) == i.identPath()
}

func (i *Instance) inConfigDir(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(i.cfg.ConfigDir, path)
}

func renderLines(lines []string) []byte {
	return []byte(confMark + "\n" + strings.Join(lines, "\n") + "\n")
}

// writeAccess writes pg_hba.conf and pg_ident.conf where they are ours and the settings have lines for them. A closed
// server stays closed: what it is opened with changes. It says whether something changed.
func (i *Instance) writeAccess(s postgres.Settings) (bool, error) {
	hba := i.hbaPath()
	if i.closed.Load() {
		hba += openSuffix
	}
	changed := false
	if len(s.HBA) > 0 && i.ownsHBA(s) {
		c, err := writeIfChanged(hba, renderLines(s.HBA), i.fileMode())
		if err != nil {
			return false, fmt.Errorf("write %s: %w", hba, err)
		}
		changed = c
	}
	if len(s.Ident) > 0 && i.ownsIdent(s) && !i.closed.Load() {
		c, err := writeIfChanged(i.identPath(), renderLines(s.Ident), i.fileMode())
		if err != nil {
			return false, fmt.Errorf("write %s: %w", i.identPath(), err)
		}
		changed = changed || c
	}
	return changed, i.ensureAccessFiles()
}

// ensureAccessFiles brings back pg_hba.conf and pg_ident.conf where a clone of a server that keeps its configuration
// elsewhere has none: without them the server does not start.
func (i *Instance) ensureAccessFiles() error {
	for _, path := range []string{i.hbaPath(), i.identPath()} {
		if exists(path) {
			continue
		}
		name := filepath.Base(path)
		for _, from := range []string{filepath.Join(i.cfg.DataDir, name), filepath.Join(i.cfg.DataDir, name+".backup")} {
			if err := copyFile(from, path, i.fileMode()); err != nil {
				return err
			}
			if exists(path) {
				break
			}
		}
		if !exists(path) && path == i.identPath() {
			if err := writeFile(path, nil, i.fileMode()); err != nil {
				return err
			}
		}
	}
	return nil
}

// closeAccess replaces pg_hba.conf and pg_ident.conf so that nobody can log in but the superuser, over the Unix socket,
// from the account that owns the server. What was there becomes what the server is opened with.
func (i *Instance) closeAccess() error {
	me, err := user.Current()
	if err != nil {
		return fmt.Errorf("find the name of the account that runs the agent: %w", err)
	}
	raw, err := os.ReadFile(i.hbaPath())
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(raw), closedMark) {
		if err := writeFile(i.hbaPath()+openSuffix, raw, i.fileMode()); err != nil {
			return err
		}
	}
	super := `"` + i.cfg.Superuser.Username + `"`
	lines := closedMark + "\nlocal all " + super + " peer map=" + identMap + "\nlocal replication " + super + " peer map=" + identMap + "\n"
	ident := confMark + "\n" + identMap + ` "` + me.Username + `" ` + super + "\n"
	if err := writeFile(i.identPath(), []byte(ident), i.fileMode()); err != nil {
		return err
	}
	return writeFile(i.hbaPath(), []byte(lines), i.fileMode())
}

// accessIsClosed looks at pg_hba.conf: for an agent that was started anew over a closed server.
func (i *Instance) accessIsClosed() bool {
	raw, err := os.ReadFile(i.hbaPath())
	return err == nil && strings.HasPrefix(string(raw), closedMark)
}

// openAccess puts the real files in place.
func (i *Instance) openAccess(s postgres.Settings) error {
	if len(s.Ident) > 0 && i.ownsIdent(s) {
		if err := writeFile(i.identPath(), renderLines(s.Ident), i.fileMode()); err != nil {
			return err
		}
	} else if err := writeFile(i.identPath(), nil, i.fileMode()); err != nil {
		return err
	}
	if len(s.HBA) > 0 && i.ownsHBA(s) {
		return writeFile(i.hbaPath(), renderLines(s.HBA), i.fileMode())
	}
	raw, err := os.ReadFile(i.hbaPath() + openSuffix)
	if err != nil {
		return err
	}
	return writeFile(i.hbaPath(), raw, i.fileMode())
}
