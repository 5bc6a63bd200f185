package warden

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rehearse goes through what firing will need, on this very process and with signal 0, so that code, tables and buffers are in memory before
// they are locked there.
func (w *warden) rehearse() {
	w.proc.dry, w.looker.proc.dry = true, true
	channel := w.channel
	w.channel = -1 // nothing is said to the agent, and nothing is read yet
	defer func() { w.proc.dry, w.looker.proc.dry, w.channel, w.ended = false, false, channel, false }()
	me, errno := w.proc.stat(w.self)
	if errno != 0 {
		return
	}
	later := now() + never/4
	self := Request{PID: w.self, Start: me.start, Fast: later, Quit: later, Kill: later}
	for _, kind := range [...]Kind{KindHello, KindArm, KindQuery, KindArm, KindDisarm, KindArm} {
		w.request = self
		w.request.Kind = kind
		w.request.Encode((*[RequestBytes]byte)(w.in[:]))
		_ = w.request.Decode(w.in[:])
		w.handle(true)
		w.reply.Encode(&w.out)
	}
	if w.state == StateArmed {
		w.rehearseFiring()
	}
	w.proc.childrenByLooking(w.self)
	w.looker.pid.Store(0)
	w.idle()
	w.request = Request{Kind: KindArm, Fast: later, Quit: later, Kill: later}
	w.handle(true) // for a server that is about to be started
	w.fast = now() // its time has come, and nobody was attached
	w.wait()
	w.drain()
	w.act(now())
	w.idle()
	w.step, w.left, w.attachedNow, w.stuck = StepNone, 0, 0, [8]int32{}
}

// rehearseFiring climbs the whole ladder.
func (w *warden) rehearseFiring() {
	t := now()
	w.fast, w.quit, w.kill = t, t+time.Millisecond, t+2*time.Millisecond
	w.wait()
	w.drain()
	w.act(t)
	for w.lookAt != 0 {
		w.climb(w.lookAt)
	}
	for w.looker.finished.Load() == 0 && now() < t+lookApart {
		pause(time.Millisecond)
	}
	w.climb(w.quit)
	w.fillReply(KindQuery, 0, ResultFired)
	w.step = StepQuit
	w.climb(w.kill)
	w.target.shared = SharedMemory{Known: true, ID: -1}
	w.sweep(now())
	w.proc.killOrphan(&w.target, w.self, status{})
	fd := w.target.pidfd
	w.target.pidfd = -1 // as on a kernel without
	w.proc.alive(&w.target)
	w.proc.signal(&w.target, 0)
	w.target.pidfd = fd
}

// Bits of an entry of /proc/PID/pagemap (pagemap(5) of the kernel's documentation).
const (
	pagePresent  = 1 << 63
	pageFromFile = 1 << 61 // as it is in the file: nobody has written to it
)

// forgetCode gives back the pages of the program that were read on the way here: the kernel maps sixteen for each that is touched, and the
// initialisation of the runtime and of other packages touches megabytes that a guard has no use for. They stay in the page cache. A page
// that was written to (relocations of a program that is linked dynamically) exists nowhere else, and is kept.
func forgetCode() {
	forget := func(from, to uintptr) bool {
		_, _, errno := syscall.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
		return errno == 0
	}
	eachRun("r-x", pagePresent|pageFromFile, forget)
	eachRun("r--", pagePresent|pageFromFile, forget)
}

// lockMemory keeps in memory what is there, page by page: Go reserves far more address space than an ordinary user may lock, so mlockall
// is out of the question. Code comes first, as it would have to be read from a disk that may hang. It says whether everything was locked.
func lockMemory() bool {
	code := eachRun("r-x", pagePresent, lock)
	tables := eachRun("r--", pagePresent, lock)
	data := eachRun("rw-", pagePresent, lock)
	return code && tables && data
}

// eachRun calls f for each run of pages, of the mappings that have these permissions, whose entries have all bits of want. It says whether
// f always returned true.
func eachRun(permissions string, want uint64, f func(from, to uintptr) bool) bool {
	raw, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return false
	}
	fd, err := unix.Open("/proc/self/pagemap", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	all := true
	for line := range strings.Lines(string(raw)) {
		if from, to, ok := mapping(line, permissions); ok {
			all = eachRunOf(fd, from, to, want, f) && all
		}
	}
	return all
}

// mapping reads a line of /proc/PID/maps if its permissions begin with these. The kernel's own mappings are left out.
func mapping(line, permissions string) (from, to uintptr, ok bool) {
	span, rest, _ := strings.Cut(line, " ")
	if !strings.HasPrefix(rest, permissions) || strings.Contains(rest, "[v") {
		return 0, 0, false
	}
	first, last, _ := strings.Cut(span, "-")
	a, err1 := strconv.ParseUint(first, 16, 64)
	b, err2 := strconv.ParseUint(last, 16, 64)
	return uintptr(a), uintptr(b), err1 == nil && err2 == nil
}

func eachRunOf(pagemap int, from, to uintptr, want uint64, f func(from, to uintptr) bool) bool {
	size := uintptr(os.Getpagesize())
	var entries [512]uint64
	all, run := true, uintptr(0)
	for page := from; page < to; {
		count := min(uintptr(len(entries)), (to-page)/size)
		n, err := unix.Pread(pagemap, unsafe.Slice((*byte)(unsafe.Pointer(&entries)), count*8), int64(page/size*8))
		if err != nil || n < 8 {
			return false
		}
		for _, e := range entries[:n/8] {
			switch wanted := e&want == want; {
			case wanted && run == 0:
				run = page
			case !wanted && run != 0:
				all = f(run, page) && all
				run = 0
			}
			page += size
		}
	}
	if run != 0 {
		all = f(run, to) && all
	}
	return all
}

// lock locks pages without touching them: a page that is shared with the agent stays shared until somebody writes to it.
func lock(from, to uintptr) bool {
	_, _, errno := syscall.Syscall(unix.SYS_MLOCK2, from, to-from, unix.MLOCK_ONFAULT)
	return errno == 0
}

// touchCode reads a byte of each page of the code that a guard can come to: its own, and that of the runtime and of system calls.
func touchCode() {
	for _, f := range [...]uintptr{codeOf(Enter), codeOf(runtime.GC), codeOf(syscall.Getpid), codeOf(bytes.Count)} {
		touchPackage(f)
	}
}

func codeOf(f any) uintptr {
	return **(**uintptr)(unsafe.Add(unsafe.Pointer(&f), unsafe.Sizeof(uintptr(0))))
}

// touchPackage goes from function to function, both ways, while they are of the same package: the linker lays them out together.
func touchPackage(at uintptr) {
	name := packageOf(at)
	page := uintptr(os.Getpagesize())
	for _, step := range [...]uintptr{page, -page} {
		for p := at; packageOf(p) == name; p += step {
			touched.Store(*(*uint32)(unsafe.Add(unsafe.Pointer(nil), p&^3)))
		}
	}
}

// touched keeps the compiler from leaving out a read whose result nobody wants.
var touched atomic.Uint32

// packageOf is the package of the function at pc, "" if there is none.
func packageOf(pc uintptr) string {
	f := runtime.FuncForPC(pc)
	if f == nil {
		return ""
	}
	name := f.Name()
	slash := strings.LastIndexByte(name, '/')
	dot := strings.IndexByte(name[slash+1:], '.')
	if dot < 0 {
		return name
	}
	return name[:slash+1+dot]
}
