package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/tanist-ha/tanist/postgres"
)

// condition looks at the data directory. problem says for people why it is foreign or unreadable.
func (i *Instance) condition() (c postgres.DataDir, problem string) {
	dir := i.cfg.DataDir
	empty, err := isEmpty(dir)
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		return postgres.DataDirForeign, fmt.Sprintf("%s is not a directory", dir)
	case err != nil:
		return postgres.DataDirUnreadable, fmt.Sprintf("the data directory cannot be read: %v (hint: it must belong to the user that runs the agent)", err)
	case empty:
		return postgres.DataDirEmpty, ""
	}
	if problem := i.foreignOwner(); problem != "" {
		return postgres.DataDirForeign, problem
	}
	if m := i.readMarker(); m != nil && !m.Whole {
		return postgres.DataDirUnfinished, fmt.Sprintf("%s of the data directory was interrupted", m.Work)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return postgres.DataDirForeign, fmt.Sprintf("%s is not empty and holds no PostgreSQL cluster (hint: is postgresql.data_dir right? Nothing was changed in it)", dir)
	case err != nil:
		return postgres.DataDirUnreadable, fmt.Sprintf("the data directory cannot be read: %v", err)
	}
	if v := strings.TrimSpace(string(raw)); v != itoa(i.major) {
		return postgres.DataDirForeign, fmt.Sprintf("%s holds a cluster of PostgreSQL %s, but the programs in use are of version %d (hint: postgresql.bin_dir)", dir, v, i.major)
	}
	if !exists(i.controlPath()) {
		return postgres.DataDirForeign, fmt.Sprintf("%s has no global/pg_control: it is not a whole cluster (hint: an interrupted copy? Empty the directory to have it cloned)", dir)
	}
	return postgres.DataDirReady, ""
}

// foreignOwner is a sentence if another user owns the data directory: PostgreSQL would refuse to start.
func (i *Instance) foreignOwner() string {
	info, err := os.Stat(i.cfg.DataDir)
	if err != nil {
		return ""
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Sprintf("%s belongs to user %d, but the agent runs as user %d", i.cfg.DataDir, st.Uid, os.Geteuid())
	}
	return ""
}

// isEmpty says whether a directory is absent or holds nothing but hidden files and a file system's lost+found.
func isEmpty(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && e.Name() != "lost+found" {
			return false, nil
		}
	}
	return true, nil
}
