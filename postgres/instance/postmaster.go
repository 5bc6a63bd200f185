package instance

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/postgres"
)

const unixENOTDIR = unix.ENOTDIR

// run is one life of a postmaster that this Instance watches, whoever started it.
type run struct {
	id     postgres.Postmaster
	handle *processHandle
	child  *os.Process   // we are its parent
	ended  chan struct{} // closed when it has ended and, if it is our child, was reaped

	mu     sync.Mutex
	astray error    // why it must not be promoted before it was restarted
	status string   // how it ended; set before ended is closed
	file   *pidFile // as last read while it ran: postmaster.pid goes with an orderly end
}

// alive says whether the end has been seen; the process itself may be a moment ahead.
func (r *run) alive() bool {
	select {
	case <-r.ended:
		return false
	default:
		return true
	}
}

func (r *run) remember(f *pidFile) {
	if f != nil && f.pid == r.id.PID {
		r.mu.Lock()
		r.file = f
		r.mu.Unlock()
	}
}

func (r *run) remembered() *pidFile {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.file
}

func (r *run) exitStatus() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// postmaster returns the running postmaster, adopting it if somebody else started it; nil if none runs.
func (i *Instance) postmaster() *run {
	if r := i.current.Load(); r != nil && r.alive() && r.handle.alive() {
		return r
	}
	f, err := i.readPidFile()
	if err != nil || f == nil || f.standalone {
		return nil
	}
	i.adoptMu.Lock()
	defer i.adoptMu.Unlock()
	if r := i.current.Load(); r != nil && r.id.PID == f.pid && r.alive() && r.handle.alive() {
		return r
	}
	h := i.provenPostmaster(f.pid)
	if h == nil {
		return nil
	}
	i.log.Info("adopted a running postmaster", "pid", f.pid)
	r := i.watch(h, nil)
	r.remember(f)
	i.recoverState()
	return r
}

// provenPostmaster opens pid if that process is the postmaster of our data directory, and not another program that got
// the same pid, nor a child of an earlier postmaster: those have a title instead of a command line.
func (i *Instance) provenPostmaster(pid int) *processHandle {
	h, err := openProcess(pid)
	if err != nil {
		return nil
	}
	if !i.ours(pid) || isChildTitle(arguments(pid)) || !h.alive() {
		h.close()
		return nil
	}
	return h
}

// ours says whether a process runs the PostgreSQL server with our data directory as its working directory, as a
// postmaster and all its children do.
func (i *Instance) ours(pid int) bool {
	return filepath.Base(executable(pid)) == i.programName(progPostgres) && workingDir(pid) == i.realDataDir()
}

func isChildTitle(args []string) bool {
	return len(args) > 0 && strings.HasPrefix(args[0], "postgres: ")
}

// realDataDir is the data directory as the kernel names it. It is looked up once: Kill must not ask a disk that hangs.
func (i *Instance) realDataDir() string {
	if known := i.realDir.Load(); known != nil {
		return *known
	}
	real, err := filepath.EvalSymlinks(i.cfg.DataDir)
	if err != nil {
		return i.cfg.DataDir
	}
	i.realDir.Store(&real)
	return real
}

// serverFile is postmaster.pid of the server that runs: as remembered, else as it is on disk; nil if there is none.
func (i *Instance) serverFile() *pidFile {
	r := i.current.Load()
	if r != nil && r.alive() {
		if f := r.remembered(); f != nil && f.port != 0 && f.status != "" {
			return f
		}
	}
	f, err := i.readPidFile()
	if err != nil {
		return nil
	}
	if r != nil {
		r.remember(f)
	}
	return f
}

// watch makes h the current postmaster and tells its end through Exits. child is nil for an adopted one.
func (i *Instance) watch(h *processHandle, child *os.Process) *run {
	r := &run{
		id:     postgres.Postmaster{PID: h.pid, Start: h.start},
		handle: h,
		child:  child,
		ended:  make(chan struct{}),
	}
	i.current.Store(r)
	i.goroutines.Add(1)
	go func() {
		defer i.goroutines.Done()
		defer h.close()
		if err := h.wait(i.life); err != nil {
			return // the Instance was closed; the server goes on
		}
		status := reap(h.pid, child)
		r.mu.Lock()
		r.status = status
		r.mu.Unlock()
		close(r.ended)
		i.log.Info("postmaster ended", "pid", h.pid, "status", status)
		i.tellExit(postgres.Exit{Postmaster: r.id, Status: status})
	}()
	return r
}

// reap collects an ended child, so that no zombie blocks the next start. An adopted postmaster can be our child too: when
// the agent is process 1.
func reap(pid int, child *os.Process) string {
	if child != nil {
		state, err := child.Wait()
		if err != nil {
			return ""
		}
		return state.String()
	}
	var ws unix.WaitStatus
	if got, err := unix.Wait4(pid, &ws, unix.WNOHANG, nil); err != nil || got != pid {
		return ""
	}
	if ws.Signaled() {
		return "signal: " + ws.Signal().String()
	}
	return "exit status " + itoa(ws.ExitStatus())
}

// tellExit never blocks: of more ends than anybody reads, the oldest is dropped.
func (i *Instance) tellExit(e postgres.Exit) {
	for {
		select {
		case i.exits <- e:
			return
		default:
		}
		select {
		case <-i.exits:
		default:
		}
	}
}

// Exits tells the end of each postmaster, whoever started it, as it happens.
func (i *Instance) Exits() <-chan postgres.Exit { return i.exits }

// signalPostmaster sends sig to r. A process that is gone is no error: its end is told elsewhere.
func signalPostmaster(r *run, sig unix.Signal) error {
	err := r.handle.signal(sig)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// awaitEnd waits for the end of r.
func awaitEnd(ctx context.Context, r *run) error {
	select {
	case <-r.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
