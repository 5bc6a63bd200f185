package instance

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sweep ends what a dead postmaster left: its children go on answering clients, and their shared memory blocks the next
// start. It returns when no process is left and the shared memory has no user; a process that cannot die (state D, a disk
// that hangs) is named in the error when ctx ends. No postmaster may run.
func (i *Instance) sweep(ctx context.Context, last *pidFile) error {
	if last == nil {
		last, _ = i.readPidFile() // left by a crash
	}
	look := pace{next: time.Millisecond, limit: 50 * time.Millisecond}
	for {
		left, err := i.orphans()
		if err != nil && !look.wait(ctx, nil) {
			return fmt.Errorf("sweep: look for processes of the last postmaster: %w", err)
		}
		if err != nil {
			continue // nobody knows
		}
		for _, pid := range left {
			if args := arguments(pid); slices.Contains(args, "--single") && !slices.Contains(args, singleMark) {
				return fmt.Errorf("somebody works on the data directory in single-user mode, as process %d (hint: end it)", pid)
			}
			i.killOrphan(pid)
		}
		attached := sharedMemoryUsers(last)
		if len(left) == 0 && attached == 0 {
			return nil
		}
		if !look.wait(ctx, nil) {
			if len(left) == 0 {
				return fmt.Errorf("sweep: %d processes still use the shared memory segment %d of the last postmaster: %w",
					attached, last.shmID, context.Cause(ctx))
			}
			return fmt.Errorf("sweep: processes of the last postmaster cannot be ended: %s: %w", describe(left), context.Cause(ctx))
		}
	}
}

// orphans lists the PostgreSQL server processes whose working directory is our data directory, and those that a dead agent
// had let go to become one.
func (i *Instance) orphans() ([]int, error) {
	pids, err := processes()
	if err != nil {
		return nil, err
	}
	dir, name := i.realDataDir(), i.programName(progPostgres)
	return slices.DeleteFunc(pids, func(pid int) bool {
		return workingDir(pid) != dir || filepath.Base(executable(pid)) != name && !i.held(pid)
	}), nil
}

// killOrphan kills pid if it still is one of ours once it is held by a handle.
func (i *Instance) killOrphan(pid int) {
	h, err := openProcess(pid)
	if err != nil {
		return
	}
	defer h.close()
	if i.ours(pid) || i.held(pid) {
		_ = h.signal(unix.SIGKILL)
	}
}

// sharedMemoryUsers is the attach count of the segment that a postmaster.pid names; 0 if it is gone.
func sharedMemoryUsers(f *pidFile) int {
	if f == nil || f.shmID < 0 {
		return 0
	}
	var desc unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(f.shmID, unix.IPC_STAT, &desc); err != nil {
		return 0
	}
	if desc.Perm.Key != f.shmKey {
		return 0 // the id was given to another segment
	}
	return int(desc.Nattch)
}

// sweepTools ends programs that a dead agent left working on the data directory.
func (i *Instance) sweepTools() {
	var names []string
	for _, p := range []string{progInitDB, progBaseBackup, progRewind} {
		names = append(names, i.programName(p))
	}
	pids, err := processes()
	if err != nil {
		return
	}
	for _, pid := range pids {
		if !slices.Contains(names, filepath.Base(executable(pid))) {
			continue
		}
		touchesUs := slices.ContainsFunc(arguments(pid), func(a string) bool {
			_, value, ok := strings.Cut(a, "=")
			return a == i.cfg.DataDir || ok && value == i.cfg.DataDir
		})
		if h, err := openProcess(pid); err == nil {
			if touchesUs {
				i.log.Warn("ended a program that an earlier agent had left", "pid", pid, "program", executable(pid))
				_ = h.signal(unix.SIGKILL)
			}
			h.close()
		}
	}
}

func describe(pids []int) string {
	var parts []string
	for _, pid := range pids {
		s := itoa(pid)
		if p, err := readProcess(pid); err == nil {
			s += " (state " + string(p.state) + ")"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, ", ")
}
