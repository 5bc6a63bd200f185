package instance

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// killPatience bounds the steps of Kill: a process that does not stop or die within it hangs in the kernel.
const killPatience = 2 * time.Second

// Kill ends the server now, without SQL, locks or waiting for a running task: the postmaster is stopped first, so that it
// neither starts nor reaps children while they are killed; then it is killed, and what is left is swept. A start that is
// under way ends, too. A server that was told to stop and only writes its last checkpoint answers nobody, and is left to it.
func (i *Instance) Kill(cause string) error {
	ctx, cancel := context.WithTimeout(context.Background(), killPatience)
	defer cancel()
	i.kills.Add(1)
	r := i.current.Load()
	if r == nil || !r.alive() {
		f, err := i.readPidFile()
		if err != nil || f == nil {
			return i.sweep(ctx, nil)
		}
		h := i.provenPostmaster(f.pid)
		if h == nil {
			return i.sweep(ctx, f)
		}
		defer h.close()
		i.log.Warn("killing the server", "pid", h.pid, "cause", cause)
		killTree(ctx, h)
		return i.awaitDeath(ctx, h, f)
	}
	if int(i.stopping.Load()) == r.id.PID && i.harmless(ctx, r) {
		i.log.Info("the server only finishes its shutdown: it is not killed", "pid", r.id.PID, "cause", cause)
		return nil
	}
	i.log.Warn("killing the server", "pid", r.id.PID, "cause", cause)
	killTree(ctx, r.handle)
	last := r.remembered() // the disk comes after the kill: it may hang
	if last == nil {
		last, _ = i.readPidFile()
	}
	return i.awaitDeath(ctx, r.handle, last)
}

// killTree sends SIGKILL to the postmaster and all its children.
func killTree(ctx context.Context, h *processHandle) {
	if h.signal(unix.SIGSTOP) == nil {
		look := pace{next: 200 * time.Microsecond, limit: 5 * time.Millisecond}
		for stopped := false; !stopped; {
			p, err := readProcess(h.pid)
			stopped = err != nil || p.start != h.start || p.zombie() || p.state == 'T' || p.state == 't'
			if !stopped && !look.wait(ctx, nil) {
				break
			}
		}
		if h.alive() {
			for _, pid := range children(h.pid) {
				_ = unix.Kill(pid, unix.SIGKILL) // a stopped parent reaps none, so no pid is given away
			}
		}
	}
	_ = h.signal(unix.SIGKILL)
}

// awaitDeath waits until the postmaster is gone and sweeps.
func (i *Instance) awaitDeath(ctx context.Context, h *processHandle, last *pidFile) error {
	look := pace{next: time.Millisecond, limit: 20 * time.Millisecond}
	for h.alive() {
		if !look.wait(ctx, nil) {
			return fmt.Errorf("kill: the postmaster cannot be ended: %s", describe([]int{h.pid}))
		}
	}
	return i.sweep(ctx, last)
}
