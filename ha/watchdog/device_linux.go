package watchdog

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// device is one way to talk to a watchdog. Its methods are called one at a time, open first. (Machines without a watchdog test against a
// scripted one.)
type device interface {
	check() error
	open() error                 // starts the device
	endless() bool               // it cannot be stopped; asked while it is open
	set(t time.Duration) error   // errUnsettable: it has a timeout of its own
	get() (time.Duration, error) // what it counts
	keepAlive() error
	close(stop bool) error // without stop it runs on; with it, it stays open where it could not be told to stop
}

// errUnsettable says that a device does not take the timeout.
var errUnsettable = errors.New("the timeout cannot be set")

// kernel is a device of the kernel's watchdog interface (Documentation/watchdog/watchdog-api.rst of the Linux sources).
type kernel struct {
	path string
	fd   int
	info unix.WatchdogInfo
}

func (k *kernel) check() error {
	info, err := os.Stat(k.path)
	switch {
	case err != nil:
		return err
	case info.Mode()&os.ModeCharDevice == 0:
		return fmt.Errorf("%s is not a device", k.path)
	}
	return writable(k.path)
}

// writable says whether this process may write to path.
func writable(path string) error {
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("%s must be writable for the agent's user: %w", path, err)
	}
	return nil
}

func (k *kernel) open() error {
	if err := k.check(); err != nil {
		return err
	}
	fd, err := unix.Open(k.path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("open %s: another process has it: %w", k.path, err)
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", k.path, err)
	}
	info, err := unix.IoctlGetWatchdogInfo(fd)
	if err != nil {
		unix.Write(fd, []byte(magic)) // it may be none at all: nothing more can be done
		unix.Close(fd)
		return fmt.Errorf("ask %s what it can do: %w", k.path, err)
	}
	k.fd, k.info = fd, *info
	return nil
}

// magic stops a device that is closed after it.
const magic = "V"

func (k *kernel) endless() bool { return k.info.Options&unix.WDIOF_MAGICCLOSE == 0 || k.nowayout() }

// nowayout reads from sysfs whether the driver refuses to be stopped. Where sysfs does not say, the driver is believed, which says that it
// can be stopped.
func (k *kernel) nowayout() bool {
	var st unix.Stat_t
	if unix.Fstat(k.fd, &st) != nil {
		return false
	}
	name := fmt.Sprintf("/sys/dev/char/%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	if unix.Major(st.Rdev) == 10 && unix.Minor(st.Rdev) == 130 { // the old name of the first device
		name = "/sys/class/watchdog/watchdog0"
	}
	says, err := os.ReadFile(name + "/nowayout")
	return err == nil && strings.TrimSpace(string(says)) == "1"
}

func (k *kernel) set(t time.Duration) error {
	if k.info.Options&unix.WDIOF_SETTIMEOUT == 0 {
		return errUnsettable
	}
	err := unix.IoctlSetPointerInt(k.fd, unix.WDIOC_SETTIMEOUT, int(t/time.Second))
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) {
		return errUnsettable // too short or too long for it, or it never can
	}
	return err
}

func (k *kernel) get() (time.Duration, error) {
	s, err := unix.IoctlGetUint32(k.fd, unix.WDIOC_GETTIMEOUT)
	return time.Duration(s) * time.Second, err
}

func (k *kernel) keepAlive() error {
	err := unix.IoctlWatchdogKeepalive(k.fd)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) {
		_, err = unix.Write(k.fd, []byte("1")) // the oldest drivers know writes only
	}
	return err
}

func (k *kernel) close(stop bool) error { return closeFile(k.fd, stop) }

func closeFile(fd int, stop bool) error {
	if stop {
		if _, err := unix.Write(fd, []byte(magic)); err != nil {
			return err
		}
	}
	unix.Close(fd) // the descriptor is gone, whatever it says
	return nil
}

// pipe writes to a named pipe what a test wants to see.
type pipe struct {
	path  string
	fd    int
	count time.Duration
}

func (p *pipe) check() error { return writable(p.path) }

// open never waits for a reader: without one there is nobody who would reset anything.
func (p *pipe) open() error {
	fd, err := unix.Open(p.path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("open %s: nobody reads it: %w", p.path, err)
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", p.path, err)
	}
	p.fd = fd
	return nil
}

func (p *pipe) endless() bool { return false }

func (p *pipe) set(t time.Duration) error {
	p.count = t
	return p.write(fmt.Sprintf("Ctimeout=%d\n", t/time.Second))
}

func (p *pipe) get() (time.Duration, error) { return p.count, nil }

func (p *pipe) keepAlive() error { return p.write("1") }

func (p *pipe) close(stop bool) error { return closeFile(p.fd, stop) }

func (p *pipe) write(s string) error {
	_, err := unix.Write(p.fd, []byte(s))
	return err
}
