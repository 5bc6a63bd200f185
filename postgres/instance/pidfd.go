package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// processHandle refers to one process and no later one of the same pid, so that a signal never hits a stranger.
type processHandle struct {
	pid   int
	start uint64
	fd    *os.File // pidfd, watched by the runtime's poller; nil: the kernel has none
}

// openProcess opens the process that has this pid now. It fails if the process does not exist or is a zombie.
func openProcess(pid int) (*processHandle, error) {
	h, err := openChild(pid)
	if err == nil && !h.alive() {
		h.close()
		return nil, fmt.Errorf("open process %d: %w", pid, unix.ESRCH)
	}
	return h, err
}

// openChild is openProcess for a child of ours, which may have ended already and waits to be reaped.
func openChild(pid int) (*processHandle, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	var file *os.File
	switch {
	case err == nil:
		file = os.NewFile(uintptr(fd), fmt.Sprintf("pidfd %d", pid))
	case errors.Is(err, unix.ESRCH):
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	p, err := readProcess(pid)
	if err != nil {
		if file != nil {
			_ = file.Close()
		}
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return &processHandle{pid: pid, start: p.start, fd: file}, nil
}

// signal sends sig to this very process.
func (h *processHandle) signal(sig unix.Signal) error {
	if h.fd != nil {
		conn, err := h.fd.SyscallConn()
		if err != nil {
			return err
		}
		sent := error(nil)
		err = conn.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
		return errors.Join(err, sent)
	}
	if !h.alive() {
		return unix.ESRCH
	}
	return unix.Kill(h.pid, sig)
}

// alive says whether the process runs; a zombie does not. What cannot be seen (no file descriptor is left) is no proof of its end.
func (h *processHandle) alive() bool {
	if ended, known := h.hasEnded(); known {
		return !ended
	}
	p, err := readProcess(h.pid)
	if err != nil {
		return !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESRCH)
	}
	return p.start == h.start && !p.zombie()
}

// hasEnded asks the pidfd, which takes no new file descriptor; it is unknown where there is none, or where it is closed.
func (h *processHandle) hasEnded() (ended, known bool) {
	if h.fd == nil {
		return false, false
	}
	conn, err := h.fd.SyscallConn()
	if err != nil {
		return false, false
	}
	err = conn.Control(func(fd uintptr) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		ended, known = n > 0, err == nil
	})
	return ended, known && err == nil
}

// wait returns nil when the process has ended, or the context's error when that ends first.
func (h *processHandle) wait(ctx context.Context) error {
	if h.fd == nil {
		return h.waitByLooking(ctx)
	}
	stop := context.AfterFunc(ctx, func() { _ = h.fd.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := h.fd.SyscallConn()
	if err != nil {
		return h.waitByLooking(ctx)
	}
	err = conn.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		return err == nil && n > 0
	})
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return h.waitByLooking(ctx)
}

// waitByLooking serves kernels without pidfd_open, and seccomp profiles that forbid it.
func (h *processHandle) waitByLooking(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for h.alive() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

func (h *processHandle) close() {
	if h.fd != nil {
		_ = h.fd.Close()
	}
}
