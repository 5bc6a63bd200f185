//go:build linux

// Package procs finds and ends processes by what they are (working directory, environment, network namespace) and not by
// whose children they are: a PostgreSQL backend is its own session and outlives its parent, so no group kill reaches it.
package procs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Match says whether a process is meant. It must not be true for the process that asks.
type Match func(pid int) bool

// InDir matches processes that work in dir or below it, also after dir was removed: every process of a PostgreSQL server
// works in its data directory.
func InDir(dir string) Match {
	return func(pid int) bool {
		cwd, err := os.Readlink(proc(pid, "cwd"))
		if err != nil {
			return false
		}
		cwd = strings.TrimSuffix(cwd, " (deleted)")
		return cwd == dir || strings.HasPrefix(cwd, dir+"/")
	}
}

// WithEnv matches processes that were started with the variable, given as NAME=VALUE. A process of PostgreSQL overwrites
// its environment with its title and is not found this way.
func WithEnv(variable string) Match {
	want := []byte(variable)
	return func(pid int) bool {
		env, err := os.ReadFile(proc(pid, "environ"))
		return err == nil && slices.ContainsFunc(bytes.Split(env, []byte{0}), func(v []byte) bool { return bytes.Equal(v, want) })
	}
}

// Runs matches processes whose program is the file at path, or lies below that folder, also after it was removed or replaced.
func Runs(path string) Match {
	return func(pid int) bool {
		exe, err := os.Readlink(proc(pid, "exe"))
		exe = strings.TrimSuffix(exe, " (deleted)")
		return err == nil && (exe == path || strings.HasPrefix(exe, path+"/"))
	}
}

// Titled matches processes that work in dir and whose title, as PostgreSQL sets it, contains text.
func Titled(dir, text string) Match {
	in := InDir(dir)
	return func(pid int) bool {
		title, err := os.ReadFile(proc(pid, "cmdline"))
		return err == nil && bytes.Contains(title, []byte(text)) && in(pid)
	}
}

// Any matches what one of ms matches.
func Any(ms ...Match) Match {
	return func(pid int) bool { return slices.ContainsFunc(ms, func(m Match) bool { return m(pid) }) }
}

// Find lists the processes that live (no zombies) and match, but never the caller.
func Find(m Match) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || !m(pid) {
			continue
		}
		if s, err := Stat(pid); err == nil && s.Alive() {
			found = append(found, pid)
		}
	}
	return found
}

// Signal sends sig to each process that still matches when its pidfd is held, so that a reused pid is never hit. It
// returns how many it told.
func Signal(pids []int, m Match, sig os.Signal) int {
	told := 0
	for _, pid := range pids {
		p, err := os.FindProcess(pid)
		if err != nil {
			continue
		}
		if m(pid) && p.Signal(sig) == nil {
			told++
		}
		_ = p.Release()
	}
	return told
}

// Freeze stops each process that matches as it is, and waits until it stands still. It returns how many it told.
func Freeze(m Match) (told int, err error) {
	pids := Find(m)
	told = Signal(pids, m, syscall.SIGSTOP)
	for _, pid := range pids {
		if m(pid) {
			err = errors.Join(err, AwaitStop(pid))
		}
	}
	return told, err
}

// AwaitStop waits until a process that was sent SIGSTOP stands still: the kernel stops its threads when one of them takes the signal, and on a
// busy machine the others go on until that one gets a processor.
func AwaitStop(pid int) error {
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !still(pid) {
		select {
		case <-tick.C:
		case <-limit.C:
			return fmt.Errorf("process %d does not stop", pid)
		}
	}
	return nil
}

// still says whether no thread of a process runs; one that has ended does not.
func still(pid int) bool {
	threads, _ := os.ReadDir(proc(pid, "task"))
	for _, thread := range threads {
		if s, err := stat(pid, proc(pid, "task/"+thread.Name()+"/stat")); err == nil && s.Alive() && s.State != 'T' {
			return false
		}
	}
	return true
}

// Kill ends all processes that match with SIGKILL, again and again until none is found.
func Kill(ctx context.Context, m Match) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		pids := Find(m)
		if len(pids) == 0 {
			return nil
		}
		Signal(pids, m, syscall.SIGKILL)
		select {
		case <-ctx.Done():
			return fmt.Errorf("kill processes %v: %w", pids, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// State is what /proc/PID/stat tells.
type State struct {
	PID, Parent int
	State       byte   // R, S, D, T, Z, X
	CPU         uint64 // user and system time, in clock ticks (1/100 s on Linux)
	Start       uint64 // clock ticks since boot
}

// Alive says that the process can still do something.
func (s State) Alive() bool { return s.State != 'Z' && s.State != 'X' }

// Stat reads /proc/PID/stat.
func Stat(pid int) (State, error) { return stat(pid, proc(pid, "stat")) }

func stat(pid int, file string) (State, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return State{}, err
	}
	// The name is in brackets and may contain blanks and brackets; fields are numbered as in proc(5), from the state (3).
	end := bytes.LastIndexByte(raw, ')')
	f := strings.Fields(string(raw[end+1:]))
	if end < 0 || len(f) < 20 {
		return State{}, fmt.Errorf("read %s: %d fields", file, len(f))
	}
	num := func(field int) uint64 {
		n, _ := strconv.ParseUint(f[field-3], 10, 64)
		return n
	}
	return State{PID: pid, State: f[0][0], Parent: int(num(4)), CPU: num(14) + num(15), Start: num(22)}, nil
}

// Postmaster reads the process id in dir's postmaster.pid and says whether that process works there now.
func Postmaster(dir string) (pid int, alive bool) {
	raw, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return 0, false
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	pid, err = strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return 0, false
	}
	s, err := Stat(pid)
	return pid, err == nil && s.Alive() && InDir(dir)(pid)
}

// SharedMemory is the id of the System V segment that dir's postmaster.pid names; ok is false where it names none.
func SharedMemory(dir string) (id int, ok bool) {
	raw, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return 0, false
	}
	lines := strings.Split(string(raw), "\n")
	if len(lines) < 7 {
		return 0, false
	}
	f := strings.Fields(lines[6]) // key and id
	if len(f) != 2 {
		return 0, false
	}
	id, err = strconv.Atoi(f[1])
	return id, err == nil
}

func proc(pid int, file string) string { return "/proc/" + strconv.Itoa(pid) + "/" + file }
