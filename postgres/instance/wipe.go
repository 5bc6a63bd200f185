package instance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tanist-ha/tanist/postgres"
)

// wipe carries out TaskWipe. Once the first file may be gone, nobody starts the rest: the marker says so, and stays until all of it is
// gone, whatever interrupts us.
func (i *Instance) wipe(ctx context.Context, t postgres.Task) error {
	if r := i.postmaster(); r != nil {
		return fmt.Errorf("a server runs on the data directory, as process %d", r.id.PID)
	}
	if err := i.sweep(ctx, nil); err != nil {
		return err
	}
	if t.Rename { // one step, so it needs no marker
		err := i.putAside()
		if err == nil {
			return i.removeMarker()
		}
		i.log.Warn("keep the old data directory; it is emptied instead", "error", err)
	}
	if m := i.readMarker(); m == nil || m.Whole { // else it tells already what the directory was meant to become
		if err := i.writeMarker(marker{Work: postgres.TaskWipe}); err != nil {
			return err
		}
	}
	if err := i.emptyDataDir(); err != nil {
		return err
	}
	return i.removeMarker()
}

// putAside renames the data directory to NAME.failed; an older one of that name is deleted.
func (i *Instance) putAside() error {
	to := i.cfg.DataDir + ".failed"
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	err := os.Rename(i.cfg.DataDir, to)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(i.cfg.DataDir))
}

// emptyDataDir deletes what is in the data directory, and in folders elsewhere that it links to as pg_wal and
// tablespaces. The directory itself stays: it may be a mount point. The links go last, so that whoever is interrupted finds them again.
func (i *Instance) emptyDataDir() error {
	for _, target := range i.linkedFolders() {
		err := removeContents(target.path, target.only)
		if err == nil {
			err = syncFolder(target.path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	err := removeContents(i.cfg.DataDir, "")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncFolder(i.cfg.DataDir)
}

// linkedFolder is a folder outside of the data directory that belongs to it.
type linkedFolder struct {
	path string
	only string // delete only entries that begin so
}

// linkedFolders finds a pg_wal that is a link, and tablespaces; in those, only our major's folder is ours (PostgreSQL
// documentation, "Database File Layout").
func (i *Instance) linkedFolders() []linkedFolder {
	var found []linkedFolder
	if to, err := os.Readlink(filepath.Join(i.cfg.DataDir, "pg_wal")); err == nil {
		found = append(found, linkedFolder{path: i.inDataDir(to)})
	}
	links, _ := filepath.Glob(filepath.Join(i.cfg.DataDir, "pg_tblspc", "*")) // the pattern is well formed
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil {
			found = append(found, linkedFolder{path: i.inDataDir(to), only: fmt.Sprintf("PG_%d_", i.major)})
		}
	}
	return found
}

func (i *Instance) inDataDir(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(i.cfg.DataDir, path)
}

func removeContents(dir, prefix string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.Name() != "lost+found" && strings.HasPrefix(e.Name(), prefix) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
