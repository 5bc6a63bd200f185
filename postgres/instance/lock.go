package instance

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another agent manages this data directory.
var ErrLocked = errors.New("another agent manages this data directory")

// Lock keeps a second agent off the data directory until Close. The lock is a file beside the directory, as a clone
// replaces the directory. Where no file can be made there, the directory itself is locked: then it cannot be replaced
// either, only its content. The lock ends with the process and is not inherited by PostgreSQL.
func (i *Instance) Lock() error {
	if i.lock != nil {
		return nil
	}
	_ = os.MkdirAll(i.cfg.StateDir, 0o700) // a failure shows in the next line
	path := i.cfg.beside(".lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		path = i.cfg.DataDir
		if f, err = os.Open(path); err != nil {
			return fmt.Errorf("lock the data directory: %w (hint: the agent must be able to write to %s)", err, i.cfg.StateDir)
		}
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w (hint: two agents run on %s; stop one)", path, ErrLocked, i.cfg.DataDir)
		}
		return fmt.Errorf("lock %s: %w", path, err)
	}
	i.lock = f
	return nil
}
