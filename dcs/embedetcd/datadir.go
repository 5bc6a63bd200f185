package embedetcd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dataDir is a member's data directory, locked against a second process.
type dataDir struct {
	path string
	lock *os.File
}

// lockName is a file in the data directory. Only this package knows it; etcd looks at its own folder, member, alone.
const lockName = "tanist.lock"

// openDataDir makes the directory if it is missing, refuses one that others may change, and takes the lock. It may hang as long as the
// disk does.
func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("look at the data directory: %w", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() && os.Geteuid() != 0 {
		return nil, fmt.Errorf("the data directory %s belongs to user %d, and this process runs as %d: change its owner", path, st.Uid, os.Geteuid())
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("the data directory %s may be written by others (mode %04o): chmod 700 it", path, info.Mode().Perm())
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the data directory: %w", err)
	}
	d := &dataDir{path, lock}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another process runs an etcd member on the data directory %s", path)
		}
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if err := d.refuseForeignEtcd(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// refuseForeignEtcd says at once what etcd would wait for: that a stand-alone etcd has the database open.
func (d *dataDir) refuseForeignEtcd() error {
	db, err := os.OpenFile(filepath.Join(d.path, "member", "snap", "db"), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open etcd's database: %w", err)
	}
	defer db.Close() // gives the lock back
	if err := unix.Flock(int(db.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("another etcd has the database in %s open", d.path)
	}
	return nil
}

// started says whether a member has ever run on this directory: whether it has a log. It is what etcd asks, too.
func (d *dataDir) started() (bool, error) {
	logs, err := filepath.Glob(filepath.Join(d.path, "member", "wal", "*.wal"))
	return len(logs) > 0, err
}

// clear puts away what a start has left that did not come as far as a log. What has no log has never voted.
func (d *dataDir) clear() error {
	from := filepath.Join(d.path, "member")
	err := os.Rename(from, fmt.Sprintf("%s.unfinished-%d", from, time.Now().UnixNano()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d *dataDir) close() { d.lock.Close() }
