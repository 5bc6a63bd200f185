package demo

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// host stands for one machine: an agent with its etcd member, and a PostgreSQL server.
type host struct {
	name, dir, program         string
	rest, postgres, etcd, peer string // HOST:PORT
	password                   string

	cmd  *exec.Cmd     // nil: never started
	done chan struct{} // closed when cmd has ended
	dead bool          // it was killed on purpose
}

func (h *host) configFile() string { return filepath.Join(h.dir, "patroni.yml") }
func (h *host) logFile() string    { return filepath.Join(h.dir, "tanist.log") }
func (h *host) apiURL() string     { return "http://" + h.rest + "/patroni" }

// pid is the agent's.
func (h *host) pid() int { return h.cmd.Process.Pid }

// start starts the agent, which does the rest.
func (h *host) start() error {
	log, err := os.OpenFile(h.logFile(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(h.program, h.configFile())
	cmd.Args[0] = "tanist"
	cmd.Dir, cmd.Stdout, cmd.Stderr = h.dir, log, log
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { // settings of some other cluster
		return strings.HasPrefix(v, "PATRONI_") || strings.HasPrefix(v, "PG")
	})
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for the demo, which ends the agents in order
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the agent of %s: %w", h.name, err)
	}
	done := make(chan struct{})
	h.cmd, h.done, h.dead = cmd, done, false
	go func() { // ends with the process
		defer close(done)
		_ = cmd.Wait() // how it ended is in its log
	}()
	return nil
}

// ended says whether the agent has ended by itself.
func (h *host) ended() bool {
	if h.cmd == nil || h.dead {
		return false
	}
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}

// kill ends all processes of the host at once, as if it had lost its power.
func (h *host) kill() error {
	h.dead = true
	victims := slices.Concat([]int{h.pid()}, children(h.pid()), h.server()) // among the children is the guard
	var errs []error
	for _, pid := range victims {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("kill process %d of %s: %w", pid, h.name, err))
		}
	}
	<-h.done
	return errors.Join(errs...)
}

// children lists the processes that a process has started.
func children(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is well formed
	for _, list := range lists {
		raw, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(raw)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// server lists the processes of PostgreSQL, the postmaster first: those that work in the data directory.
func (h *host) server() []int {
	data := filepath.Join(h.dir, "data")
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cwd, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		if err == nil && (cwd == data || strings.HasPrefix(cwd, data+"/")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// stopAll ends the agents, which stop their servers in order, and kills whatever is left after a while.
func (d *demo) stopAll() {
	for _, h := range d.hosts {
		if h.cmd != nil && !h.dead {
			_ = h.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		}
	}
	patience := time.NewTimer(30 * time.Second)
	defer patience.Stop()
	for _, h := range d.hosts {
		if h.cmd == nil {
			continue
		}
		select {
		case <-h.done:
		case <-patience.C:
			patience.Reset(0)
		}
		if len(h.server()) > 0 || !isClosed(h.done) {
			d.say("%s does not end in order: it is killed", h.name)
			if err := h.kill(); err != nil {
				d.say("%v", err)
			}
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
