package warden

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SocketPrefix begins the abstract name under which a guard can be asked about its postmaster; PID-START/GUARD.N follows. The name is
// seen in /proc/net/unix with "@" for its first byte, which is zero.
const SocketPrefix = "tanist-guard/"

// address is a sockaddr_un with its length.
type address struct {
	raw unix.RawSockaddrUnix
	n   uint32
}

// listen opens the socket for the postmaster that is guarded now. That it cannot be had stops nothing: an agent that takes over then finds
// the guard by its title.
func (w *warden) listen() {
	w.unlisten()
	fd, _, errno := syscall.Syscall(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errno != 0 {
		return
	}
	for try := range 10 { // a name may be taken by somebody who wants to be in the way
		w.address.name(w.target.pid, w.target.start, w.self, try)
		_, _, errno = syscall.Syscall(unix.SYS_BIND, fd, uintptr(unsafe.Pointer(&w.address.raw)), uintptr(w.address.n))
		if errno != 0 {
			continue
		}
		if _, _, errno = syscall.Syscall(unix.SYS_LISTEN, fd, callersMax, 0); errno == 0 {
			w.listener = int(fd)
			return
		}
		break
	}
	closeFile(int(fd))
}

func (a *address) name(pid int, start uint64, guard, try int) {
	var b [100]byte
	text := append(b[:0], SocketPrefix...)
	text = appendInt(text, pid)
	text = append(text, '-')
	text = appendInt(text, int(start))
	text = append(text, '/')
	text = appendInt(text, guard)
	text = append(text, '.')
	text = appendInt(text, try)
	a.raw.Family = unix.AF_UNIX
	a.raw.Path[0] = 0 // abstract
	for i, c := range text {
		a.raw.Path[1+i] = int8(c)
	}
	a.n = uint32(unsafe.Offsetof(a.raw.Path)) + 1 + uint32(len(text))
}

// unlisten closes the socket and all who wait there.
func (w *warden) unlisten() {
	if w.listener >= 0 {
		closeFile(w.listener)
		w.listener = -1
	}
	for i := range w.callers {
		w.hangUp(i)
	}
}

func (w *warden) hangUp(i int) {
	if w.callers[i] >= 0 {
		closeFile(w.callers[i])
		w.callers[i] = -1
	}
}

// drain answers all requests that wait.
func (w *warden) drain() {
	for range drainMax {
		if w.channel < 0 {
			break
		}
		n, errno := receive(w.channel, w.in[:])
		if errno == unix.EAGAIN {
			break
		}
		if errno != 0 || n == 0 { // the agent is gone: nothing changes for its server
			closeFile(w.channel)
			w.channel = -1
			break
		}
		if w.request.Decode(w.in[:n]) == nil {
			w.handle(true)
			w.send(w.channel)
		}
	}
	for n := 0; n < acceptMax && w.listener >= 0 && w.accept(); n++ {
	}
	for i := range w.callers {
		w.serve(i)
	}
}

// accept lets one caller in, if there is one.
func (w *warden) accept() bool {
	fd, _, errno := syscall.Syscall6(unix.SYS_ACCEPT4, uintptr(w.listener), 0, 0, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0, 0)
	if errno != 0 {
		return errno == unix.ECONNABORTED
	}
	if !mayAsk(int(fd)) {
		closeFile(int(fd))
		return true
	}
	w.hangUp(callersMax - 1)
	copy(w.callers[1:], w.callers[:callersMax-1])
	w.callers[0] = int(fd)
	return true
}

// mayAsk says whether the peer is of the guard's own user, or root.
func mayAsk(fd int) bool {
	var cred unix.Ucred
	size := uint32(unix.SizeofUcred)
	_, _, errno := syscall.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERCRED,
		uintptr(unsafe.Pointer(&cred)), uintptr(unsafe.Pointer(&size)), 0)
	return errno == 0 && (cred.Uid == 0 || int(cred.Uid) == unix.Geteuid())
}

// serve answers what one caller has asked.
func (w *warden) serve(i int) {
	for range 16 {
		if w.callers[i] < 0 {
			return
		}
		n, errno := receive(w.callers[i], w.in[:])
		if errno == unix.EAGAIN {
			return
		}
		if errno != 0 || n == 0 || w.request.Decode(w.in[:n]) != nil {
			w.hangUp(i)
			return
		}
		w.handle(false)
		w.send(w.callers[i])
	}
}

func receive(fd int, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// send writes w.reply. A peer that does not read gets nothing: the guard waits for nobody.
func (w *warden) send(fd int) {
	if fd < 0 {
		return
	}
	w.reply.Encode(&w.out)
	_, _, _ = syscall.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&w.out[0])), ReplyBytes,
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
}
