package warden

import (
	"bytes"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// proc reads /proc without allocating. It opens files of /proc and reads links there; it never follows one, as a stat of
// /proc/PID/exe would hang with the disk that the program lies on. It is for one thread.
type proc struct {
	dry  bool // rehearsal: every signal is signal 0
	path [64]byte
	text [4096]byte
	dir  [32 << 10]byte
	kids [kidsMax]int32
}

// kidsMax bounds the children that are listed at once. A sweep finds those beyond.
const kidsMax = 16 << 10

// status is what /proc/PID/stat tells.
type status struct {
	state  byte // R, S, D, T, t, Z, X, ...
	parent int
	start  uint64 // clock ticks since boot
}

func (s status) zombie() bool  { return s.state == 'Z' || s.state == 'X' }
func (s status) stopped() bool { return s.state == 'T' || s.state == 't' }

// at writes the name of a file of pid, with a zero at its end, and returns its first byte.
func (p *proc) at(pid int, file string) *byte {
	b := append(p.path[:0], "/proc/"...)
	b = appendInt(b, pid)
	b = append(b, '/')
	b = append(b, file...)
	_ = append(b, 0)
	return &p.path[0]
}

func appendInt(b []byte, n int) []byte {
	var digits [20]byte
	i := len(digits)
	for {
		i--
		digits[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return append(b, digits[i:]...)
		}
	}
}

func open(path *byte, flags int) (int, syscall.Errno) {
	for {
		fd, _, errno := syscall.Syscall6(unix.SYS_OPENAT, atCurrent, uintptr(unsafe.Pointer(path)), uintptr(flags|unix.O_CLOEXEC), 0, 0, 0)
		if errno != unix.EINTR {
			return int(fd), errno
		}
	}
}

// atCurrent is AT_FDCWD as a system call takes it. The names here are absolute.
const atCurrent = ^uintptr(99)

func read(fd int, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.Syscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

func closeFile(fd int) { _, _, _ = syscall.Syscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// read returns the beginning of a file of pid. It is valid until the next call.
func (p *proc) read(pid int, file string) ([]byte, syscall.Errno) {
	fd, errno := open(p.at(pid, file), unix.O_RDONLY)
	if errno != 0 {
		return nil, errno
	}
	n, errno := read(fd, p.text[:])
	closeFile(fd)
	if errno != 0 {
		return nil, errno
	}
	return p.text[:n], 0
}

// stat looks at pid.
func (p *proc) stat(pid int) (status, syscall.Errno) {
	text, errno := p.read(pid, "stat")
	if errno != 0 {
		return status{}, errno
	}
	s, ok := parseStat(text)
	if !ok {
		return status{}, unix.ESRCH
	}
	return s, 0
}

// parseStat reads /proc/PID/stat (proc_pid_stat(5)): the name in parentheses may hold anything, so fields count from the last ")".
func parseStat(text []byte) (status, bool) {
	i := bytes.LastIndexByte(text, ')')
	if i < 0 {
		return status{}, false
	}
	var s status
	rest := text[i+1:]
	for field := 3; field <= 22; field++ {
		rest = bytes.TrimLeft(rest, " ")
		word := rest
		if end := bytes.IndexByte(rest, ' '); end >= 0 {
			word, rest = rest[:end], rest[end:]
		} else {
			rest = nil
		}
		if len(word) == 0 {
			return status{}, false
		}
		switch field {
		case 3:
			s.state = word[0]
		case 4:
			s.parent = int(number(word))
		case 22:
			s.start = number(word)
		}
	}
	return s, true
}

// number reads the digits at the beginning of b.
func number(b []byte) (n uint64) {
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

// link reads a link of pid into b and returns its length.
func (p *proc) link(pid int, file string, b []byte) (int, syscall.Errno) {
	path := p.at(pid, file)
	n, _, errno := syscall.Syscall6(unix.SYS_READLINKAT, atCurrent, uintptr(unsafe.Pointer(path)),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// owner returns the effective user of pid, and in how many nested pid namespaces it has an id, this process's among them.
func (p *proc) owner(pid int) (uid, depth int, errno syscall.Errno) {
	text, errno := p.read(pid, "status")
	if errno != 0 {
		return 0, 0, errno
	}
	uid, depth = -1, 1
	for len(text) > 0 {
		line := text
		if end := bytes.IndexByte(text, '\n'); end >= 0 {
			line, text = text[:end], text[end+1:]
		} else {
			text = nil
		}
		switch {
		case bytes.HasPrefix(line, uidTag): // real, effective, saved, file system
			if real := bytes.IndexByte(line[len(uidTag):], '\t'); real >= 0 {
				uid = int(number(line[len(uidTag)+real+1:]))
			}
		case bytes.HasPrefix(line, spaceTag): // one id for each namespace
			depth = 1 + bytes.Count(line[len(spaceTag):], tab)
		}
	}
	return uid, depth, 0
}

var (
	uidTag   = []byte("Uid:\t")
	spaceTag = []byte("NSpid:\t")
	tab      = []byte("\t")
	procDir  = []byte("/proc\x00")
)

// children lists the children of pid: from the kernel's list, else (a kernel without it) by looking at each process.
func (p *proc) children(pid int) []int32 {
	var name [48]byte
	b := append(name[:0], "task/"...)
	b = appendInt(b, pid)
	b = append(b, "/children"...)
	fd, errno := open(p.at(pid, unsafe.String(&name[0], len(b))), unix.O_RDONLY)
	if errno != 0 {
		return p.childrenByLooking(pid)
	}
	kids, current := p.kids[:0], int32(0)
	for {
		n, errno := read(fd, p.dir[:])
		if errno != 0 || n == 0 {
			break
		}
		for _, c := range p.dir[:n] {
			if c >= '0' && c <= '9' {
				current = current*10 + int32(c-'0')
				continue
			}
			if current != 0 && len(kids) < kidsMax {
				kids = append(kids, current)
			}
			current = 0
		}
	}
	closeFile(fd)
	return kids
}

func (p *proc) childrenByLooking(pid int) []int32 {
	kids := p.kids[:0]
	all := p.processes()
	for {
		child := all.next()
		if child == 0 {
			return kids
		}
		if s, errno := p.stat(child); errno == 0 && s.parent == pid && len(kids) < kidsMax {
			kids = append(kids, int32(child))
		}
	}
}

// processList goes through /proc. Its errno tells why it could not, 0 after a whole round.
type processList struct {
	p       *proc
	fd      int
	entries []byte
	errno   syscall.Errno
	done    bool
	seen    int
}

// rehearsed is how many processes a rehearsal looks at: a machine may have thousands, and an agent waits for its guard.
const rehearsed = 16

func (p *proc) processes() processList {
	fd, errno := open(&procDir[0], unix.O_RDONLY|unix.O_DIRECTORY)
	return processList{p: p, fd: fd, errno: errno}
}

// next returns the next process, 0 at the end.
func (l *processList) next() int {
	for l.errno == 0 && !l.done {
		for len(l.entries) >= 19 {
			size := int(l.entries[16]) | int(l.entries[17])<<8 // struct linux_dirent64: inode, offset, size, type, name
			name := l.entries[19:size]
			l.entries = l.entries[size:]
			if name[0] < '1' || name[0] > '9' {
				continue
			}
			if l.seen++; l.p.dry && l.seen > rehearsed {
				l.end(0)
				return 0
			}
			return int(number(name))
		}
		n, _, errno := syscall.Syscall(unix.SYS_GETDENTS64, uintptr(l.fd), uintptr(unsafe.Pointer(&l.p.dir[0])), uintptr(len(l.p.dir)))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 || n == 0 {
			l.end(errno)
			return 0
		}
		l.entries = l.p.dir[:n]
	}
	return 0
}

func (l *processList) end(errno syscall.Errno) {
	closeFile(l.fd)
	l.errno, l.done = errno, true
}
