package warden

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How a process is told what it is: by the first word of its command line. Programs that link this package become that process before
// their own main, and before most of their packages are initialised: Go initialises in the order of import paths among what is ready, and
// this package waits for little. So the guard never holds what the program's tables and registries take.
const (
	GuardTitle = "tanist: guard" // the rest of the word is overwritten with what is guarded
	ShimTitle  = "tanist: start"
)

// GuardName is the name of a guard's thread: /proc/PID/comm.
const GuardName = "tanist-guard"

// TitleBytes is the length of the first word of a guard's command line, padded with spaces: room for its title.
const TitleBytes = 80

// channelFile is the descriptor that a guard or a shim inherits.
const channelFile = 3

// Exit codes of a shim that did not execute the server.
const (
	ExitNoByte = 125 // its starter went away, or changed its mind
	ExitNoExec = 127
)

func init() { Enter() }

// Enter runs the guard process or the start shim if this process was started as one, and does not return then.
func Enter() {
	if len(os.Args) == 0 {
		return
	}
	switch name := os.Args[0]; {
	case len(name) == TitleBytes && hasPrefix([]byte(name), []byte(GuardTitle)):
		guard()
	case name == ShimTitle:
		shim(os.Args[1:])
	}
}

// shim waits for one byte and becomes argv under its own pid.
func shim(argv []string) {
	var b [1]byte
	n, errno := read(channelFile, b[:])
	if errno != 0 || n == 0 || len(argv) == 0 {
		os.Exit(ExitNoByte)
	}
	closeFile(channelFile)
	err := syscall.Exec(argv[0], argv, os.Environ())
	_, _ = os.Stderr.WriteString("tanist: run " + argv[0] + ": " + err.Error() + "\n")
	os.Exit(ExitNoExec)
}

// guard is the life of a guard process.
func guard() {
	runtime.LockOSThread()
	ignoreSignals()
	_, _ = unix.Setsid() // its starter has done so already, unless somebody started it by hand
	if unix.Chdir("/") != nil {
		os.Exit(1)
	}
	name := append([]byte(GuardName), 0)
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
	w, err := newWarden(channelFile)
	if err != nil {
		os.Exit(1)
	}
	w.title = unsafe.Slice(unsafe.StringData(os.Args[0]), TitleBytes) // the kernel's own copy: what ps shows
	w.setTitle()
	forgetCode()
	touchCode()
	w.rehearse()
	w.locked = lockMemory()
	w.run()
	os.Exit(0)
}

func newWarden(channel int) (*warden, error) {
	w := new(warden)
	w.self, w.channel, w.listener, w.target.pidfd = os.Getpid(), channel, -1, -1
	for i := range w.callers {
		w.callers[i] = -1
	}
	unix.CloseOnExec(channel)
	var err error
	if w.timer, err = unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return nil, err
	}
	if w.looker.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	go func() { // lives as long as the process
		runtime.LockOSThread()
		close(ready)
		w.looker.run()
	}()
	<-ready
	return w, nil
}

// ignoreSignals ignores whatever can be ignored: a service manager that stops the agent signals its whole group. The runtime's own
// handlers go, too; it needs none here.
func ignoreSignals() {
	const ignore = 1 // SIG_IGN
	action := [4]uintptr{ignore}
	for sig := 1; sig <= 64; sig++ {
		_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	}
}

// setTitle shows what is guarded in place of the command line. An agent that cannot reach the guard's socket finds it by this.
func (w *warden) setTitle() {
	if w.title == nil {
		return
	}
	b := append(w.title[:0], GuardTitle...)
	switch w.state {
	case StateReserved:
		b = append(b, " of the server that is being started"...)
	case StateArmed:
		b = append(b, " of postmaster "...)
		b = appendInt(b, w.target.pid)
		b = append(b, '-')
		b = appendInt(b, int(w.target.start))
	default:
		b = append(b, ", idle"...)
	}
	for i := len(b); i < len(w.title); i++ {
		w.title[i] = 0
	}
}
