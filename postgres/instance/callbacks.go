package instance

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Callbacks runs the user's commands on events: one at a time, and a newer one ends a running one with its children.
// Nothing waits for them. Close it.
type Callbacks struct {
	scope string
	log   *slog.Logger

	mu      sync.Mutex
	closed  bool
	running *exec.Cmd     // nil: none
	done    chan struct{} // closed when running was reaped
	latest  uint64        // number of the newest order: older ones that have not begun are dropped
	wg      sync.WaitGroup
}

// NewCallbacks makes a runner for the cluster scope.
func NewCallbacks(scope string, log *slog.Logger) *Callbacks {
	return &Callbacks{scope: scope, log: log}
}

// Run starts command with the arguments action, role and scope, after ending the one that runs. It returns at once.
func (c *Callbacks) Run(command, action, role string) {
	words, err := splitCommand(command)
	if err != nil || len(words) == 0 {
		c.log.Warn("callback cannot be run", "action", action, "command", command, "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.killRunning()
	previous := c.done
	c.done = make(chan struct{})
	c.latest++
	c.wg.Add(1)
	go c.runNext(c.latest, previous, c.done, append(words, action, role, c.scope))
}

// runNext waits for the end of the command before it and then runs argv, unless a newer order has come.
func (c *Callbacks) runNext(order uint64, previous <-chan struct{}, done chan<- struct{}, argv []string) {
	defer c.wg.Done()
	defer close(done)
	if previous != nil {
		<-previous
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = environment()
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr // files: no goroutine waits for grandchildren that keep them open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.mu.Lock()
	if c.closed || c.latest != order {
		c.mu.Unlock()
		return
	}
	err := cmd.Start()
	if err == nil {
		c.running = cmd
	}
	c.mu.Unlock()
	if err != nil {
		c.log.Warn("callback cannot be run", "command", argv, "error", err)
		return
	}
	err = cmd.Wait()
	c.mu.Lock()
	c.running = nil
	c.mu.Unlock()
	if err != nil {
		c.log.Warn("callback failed", "command", argv, "error", err)
		return
	}
	c.log.Debug("callback ended", "command", argv)
}

// killRunning ends the running command with its process group. c.mu is held.
func (c *Callbacks) killRunning() {
	if c.running != nil && c.running.Process != nil {
		_ = unix.Kill(-c.running.Process.Pid, unix.SIGKILL)
	}
}

// Wait returns when no command runs or waits to be run, or when ctx ends. Before Close it gives the last command, on_stop
// as a rule, the time to do its work.
func (c *Callbacks) Wait(ctx context.Context) {
	c.mu.Lock()
	done := c.done
	c.mu.Unlock()
	if done == nil {
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Close ends a running command and waits for it.
func (c *Callbacks) Close() {
	c.mu.Lock()
	c.closed = true
	c.killRunning()
	c.mu.Unlock()
	c.wg.Wait()
}
