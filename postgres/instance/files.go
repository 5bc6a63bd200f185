package instance

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// writeFile replaces a file so that a crash leaves the old content or the new: temporary file, fsync, rename, fsync of
// the folder.
func writeFile(path string, content []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails after the rename, as it should
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// writeIfChanged is writeFile, but leaves an equal file alone. It says whether it wrote.
func writeIfChanged(path string, content []byte, mode fs.FileMode) (bool, error) {
	old, err := os.ReadFile(path)
	if err == nil && bytes.Equal(old, content) {
		return false, nil
	}
	return true, writeFile(path, content, mode)
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// copyFile copies a small file atomically. A missing source is no error and changes nothing.
func copyFile(from, to string, mode fs.FileMode) error {
	content, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = writeIfChanged(to, content, mode)
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// fileMode is the mode for files that belong to the cluster: readable by the group if the data directory is (initdb's
// option --allow-group-access).
func (i *Instance) fileMode() fs.FileMode {
	if info, err := os.Stat(i.cfg.DataDir); err == nil && info.Mode().Perm()&0o050 == 0o050 {
		return 0o640
	}
	return 0o600
}

// touch makes an empty file in the data directory, durably.
func (i *Instance) touch(name string) error {
	path := filepath.Join(i.cfg.DataDir, name)
	if exists(path) {
		return nil
	}
	return writeFile(path, nil, i.fileMode())
}

// remove deletes files in the data directory, durably; those that are missing are fine.
func (i *Instance) remove(names ...string) error {
	gone := false
	for _, name := range names {
		err := os.Remove(filepath.Join(i.cfg.DataDir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		gone = gone || err == nil
	}
	if !gone {
		return nil
	}
	return syncFolder(i.cfg.DataDir)
}

// syncAll makes the data directory durable after a program that was told not to flush: one request for each file system
// instead of one for each of some thousand files. Since Linux 5.8 it reports write errors.
func (i *Instance) syncAll() error {
	folders := []string{i.cfg.DataDir}
	for _, l := range i.linkedFolders() {
		folders = append(folders, l.path)
	}
	for _, path := range folders {
		d, err := os.Open(path)
		if err != nil {
			return err
		}
		err = unix.Syncfs(int(d.Fd()))
		if err := errors.Join(err, d.Close()); err != nil {
			return fmt.Errorf("flush %s to disk: %w", path, err)
		}
	}
	return syncFolder(filepath.Dir(i.cfg.DataDir))
}
