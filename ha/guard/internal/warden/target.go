package warden

import (
	"bytes"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// target is the postmaster that is guarded, and what its processes are known by once it is dead.
type target struct {
	pid    int
	start  uint64
	pidfd  int // -1: this kernel has none
	shared SharedMemory

	exe, dir   link // as last read while it lived
	first      link // its executable when it was attached: the start shim's own
	announced  bool // it was attached as "the one that is about to be started", and orders still call it so
	lastAlive  time.Duration
	diedBefore time.Duration // 0: it lives
}

// link is the text of a symbolic link of /proc.
type link struct {
	n    int
	text [4096]byte
}

func (l *link) bytes() []byte { return l.text[:l.n] }

var deletedMark = []byte(" (deleted)")

// same says whether two links name the same file, one of them perhaps from before an upgrade of the package removed it.
func same(a, b []byte) bool {
	return bytes.Equal(bytes.TrimSuffix(a, deletedMark), bytes.TrimSuffix(b, deletedMark))
}

// openTarget fills t with the process that r names, or says why it cannot be guarded. It leaves t alone then.
func (p *proc) openTarget(t *target, r *Request, self int) Result {
	s, errno := p.stat(r.PID)
	switch {
	case errno != 0 && unix.Kill(r.PID, 0) != unix.ESRCH: // it exists, and we may not look
		return ResultUnreadable
	case errno != 0 || s.start != r.Start || s.zombie():
		return ResultGone
	}
	uid, depth, errno := p.owner(r.PID)
	_, own, ownErrno := p.owner(self)
	switch {
	case errno != 0 || ownErrno != 0:
		return ResultUnreadable
	case depth != own:
		return ResultNamespace
	case uid != unix.Geteuid():
		return ResultOtherUser
	}
	fd, errno := openPidfd(r.PID)
	if errno != 0 && errno != unix.ENOSYS && errno != unix.EPERM {
		return ResultGone
	}
	if errno != 0 {
		fd = -1
	}
	if result := p.provable(r, fd); result != ResultOK {
		closePidfd(fd)
		return result
	}
	if t.pid != 0 {
		closePidfd(t.pidfd)
	}
	t.pid, t.start, t.pidfd, t.shared = r.PID, r.Start, fd, r.SharedMemory
	t.exe.n, t.dir.n, t.first.n, t.diedBefore = 0, 0, 0, 0
	t.announced, t.lastAlive = r.Kind == KindAttach, now()
	p.refresh(t)
	if t.announced {
		t.first.n = copy(t.first.text[:], t.exe.bytes())
	}
	return ResultOK
}

// provable tries what firing will need: to see where the process comes from, and to signal it. The process is held by fd or, without
// one, looked at again.
func (p *proc) provable(r *Request, fd int) Result {
	var b [1]byte
	for _, file := range [...]string{"exe", "cwd"} {
		if _, errno := p.link(r.PID, file, b[:]); errno == unix.EACCES || errno == unix.EPERM {
			return ResultUnreadable
		}
	}
	var errno syscall.Errno
	if fd >= 0 {
		errno = signalPidfd(fd, 0)
	} else if err := unix.Kill(r.PID, 0); err != nil {
		errno, _ = err.(syscall.Errno)
	}
	if errno == unix.EPERM {
		return ResultPermission
	}
	if s, lost := p.stat(r.PID); errno != 0 || lost != 0 || s.start != r.Start { // the pid was given away meanwhile
		return ResultGone
	}
	return ResultOK
}

// refresh reads what t's processes are known by. A package upgrade changes it, and so does the exec of a start shim.
func (p *proc) refresh(t *target) {
	var fresh [2]int
	for i, l := range [...]*link{&t.exe, &t.dir} {
		n, errno := p.link(t.pid, [...]string{"exe", "cwd"}[i], p.text[:])
		if errno != 0 || n == len(p.text) {
			return // dying, or dead: what was read before stands
		}
		fresh[i] = copy(l.text[:], p.text[:n])
	}
	if s, errno := p.stat(t.pid); errno == 0 && s.start == t.start {
		t.exe.n, t.dir.n = fresh[0], fresh[1]
	}
}

// executed says whether the process that was attached has become another program since.
func (t *target) executed() bool {
	return t.first.n == 0 || !same(t.exe.bytes(), t.first.bytes())
}

// alive says whether the postmaster runs; a zombie does not.
func (p *proc) alive(t *target) bool {
	if t.pidfd >= 0 {
		fds := [1]unix.PollFd{{Fd: int32(t.pidfd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds[:], 0)
		return err != nil || n == 0
	}
	s, errno := p.stat(t.pid)
	return errno == 0 && s.start == t.start && !s.zombie()
}

// signal sends sig to the postmaster and to no other process. Without a pidfd it is stopped first: then its pid cannot be given away
// between the look at its start time and the signal.
func (p *proc) signal(t *target, sig unix.Signal) {
	if t.pidfd >= 0 {
		_ = signalPidfd(t.pidfd, p.really(sig))
		return
	}
	if s, errno := p.stat(t.pid); errno != 0 || s.start != t.start {
		return
	}
	if unix.Kill(t.pid, p.really(unix.SIGSTOP)) != nil {
		return
	}
	s, errno := p.stat(t.pid)
	if errno == 0 && s.start == t.start {
		_ = unix.Kill(t.pid, p.really(sig))
	}
	if sig != unix.SIGSTOP && sig != unix.SIGKILL {
		_ = unix.Kill(t.pid, p.really(unix.SIGCONT))
	}
}

// really is sig, and 0 in a rehearsal.
func (p *proc) really(sig unix.Signal) unix.Signal {
	if p.dry {
		return 0
	}
	return sig
}

func openPidfd(pid int) (int, syscall.Errno) {
	fd, _, errno := syscall.Syscall(unix.SYS_PIDFD_OPEN, uintptr(pid), 0, 0)
	return int(fd), errno
}

func signalPidfd(fd int, sig unix.Signal) syscall.Errno {
	_, _, errno := syscall.Syscall6(unix.SYS_PIDFD_SEND_SIGNAL, uintptr(fd), uintptr(sig), 0, 0, 0, 0)
	return errno
}

func closePidfd(fd int) {
	if fd >= 0 {
		closeFile(fd)
	}
}

// attached is the number of processes that hold the shared memory; 0 if it is gone, or was given to another server.
func (m SharedMemory) attached() int {
	if !m.Known {
		return 0
	}
	var d unix.SysvShmDesc
	_, _, errno := syscall.Syscall(unix.SYS_SHMCTL, uintptr(m.ID), unix.IPC_STAT, uintptr(unsafe.Pointer(&d)))
	if errno != 0 || d.Perm.Key != m.Key {
		return 0
	}
	return int(d.Nattch)
}
