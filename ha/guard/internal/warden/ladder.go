package warden

import (
	"time"

	"golang.org/x/sys/unix"
)

// The ladder ends a server in steps, each due at its time, and then sweeps up what is left. It never waits for longer than
// stopPatience, so that the guard goes on answering (refusing) while it works.

// stopPatience bounds the wait for a postmaster to stop before its children are killed. One that is in the kernel all this time
// neither starts nor reaps a child.
const stopPatience = 100 * time.Millisecond

const (
	sweepSoonest = time.Millisecond
	sweepLatest  = 50 * time.Millisecond
)

// fire begins the ladder: the time has come. A guard that slept past a step takes only the last one that is due.
func (w *warden) fire(at time.Duration) {
	w.state, w.step = StateFired, StepNone
	w.proc.refresh(&w.target)
	w.lookAt = max(at, w.quit-lookLead)
	if at < w.quit {
		w.step = StepFast
		w.proc.signal(&w.target, unix.SIGINT)
	}
	w.climb(at)
	w.tell()
}

// climb takes the steps that are due and sets when it wants to be called next. The postmaster lives.
func (w *warden) climb(at time.Duration) {
	switch {
	case w.step == StepNone && at >= w.kill: // the guard slept: nothing is known of a server that was asked in order
		w.killAll()
		return
	case at >= w.kill && (w.step == StepQuit || !w.looker.harmless()):
		w.killAll()
		return
	case at >= w.kill:
		w.next = at + lookEvery
		return
	case at >= w.quit && w.step == StepQuit:
		w.next = w.kill
		return
	case at >= w.quit && (w.step == StepNone || !w.looker.harmless()):
		w.step = StepQuit
		w.proc.signal(&w.target, unix.SIGQUIT)
		w.next = w.kill
		w.tell()
		return
	case at >= w.quit:
		w.next = w.kill
		return
	case w.lookAt != 0 && at >= w.lookAt:
		w.lookAt = 0
		w.looker.begin(w.target.pid)
	}
	w.next = w.quit
	if w.lookAt != 0 {
		w.next = w.lookAt
	}
}

// killAll is T_kill: the postmaster is stopped, so that it neither starts nor reaps a child; its children are killed, then itself.
func (w *warden) killAll() {
	t := &w.target
	w.step = StepKill
	w.proc.signal(t, unix.SIGSTOP)
	if w.proc.awaitStop(t) {
		for _, kid := range w.proc.children(t.pid) {
			_ = unix.Kill(int(kid), w.proc.really(unix.SIGKILL)) // a stopped parent reaps none, so its pid is still its own
		}
	}
	w.proc.signal(t, unix.SIGKILL)
	w.buried(now())
	w.tell()
}

func (p *proc) awaitStop(t *target) bool {
	for end := now() + stopPatience; ; pause(time.Millisecond) {
		s, errno := p.stat(t.pid)
		if errno != 0 || s.start != t.start || s.zombie() {
			return false
		}
		if s.stopped() {
			return true
		}
		if now() > end || p.dry {
			return false
		}
	}
}

// buried begins the sweep: the postmaster is dead, or was killed, at the latest at t.
func (w *warden) buried(t time.Duration) {
	w.target.diedBefore = t
	w.sweepPause = sweepSoonest
	w.sweep(t)
}

// sweep looks once for what the postmaster left, ends it, and sets when to look again, or finishes.
func (w *warden) sweep(at time.Duration) {
	w.left = w.proc.sweep(&w.target, &w.stuck)
	w.attachedNow = w.target.shared.attached()
	if w.left == 0 && w.attachedNow == 0 {
		w.swept()
		return
	}
	w.next = at + w.sweepPause
	w.sweepPause = min(2*w.sweepPause, sweepLatest)
}

// sweep kills every process that t left and returns how many there were. Those that hang in the kernel are put into stuck.
func (p *proc) sweep(t *target, stuck *[8]int32) (left int) {
	*stuck = [8]int32{}
	named := 0
	all := p.processes()
	for {
		pid := all.next()
		if pid == 0 {
			break
		}
		if !p.belongs(t, pid) {
			continue
		}
		left++
		s, errno := p.stat(pid)
		if errno == 0 && s.state == 'D' && named < len(stuck) {
			stuck[named] = int32(pid)
			named++
		}
		p.killOrphan(t, pid, s)
	}
	if all.errno != 0 {
		left++ // /proc cannot be read: nobody knows
	}
	if !p.alive(t) {
		return left
	}
	if s, errno := p.stat(t.pid); errno == 0 && s.state == 'D' && named < len(stuck) {
		stuck[named] = int32(t.pid)
	}
	return left + 1
}

// killOrphan kills pid, unless it was given to another process since it was seen.
func (p *proc) killOrphan(t *target, pid int, seen status) {
	fd, errno := openPidfd(pid)
	if errno == 0 {
		if p.belongs(t, pid) {
			_ = signalPidfd(fd, p.really(unix.SIGKILL))
		}
		closeFile(fd)
		return
	}
	if s, errno := p.stat(pid); errno == 0 && s.start == seen.start {
		_ = unix.Kill(pid, p.really(unix.SIGKILL))
	}
}

// belongs says whether pid is a process of the dead postmaster t: of the same user, executable and working directory, and not of a
// server that was started since. A process is older than the postmaster's death if it started before the postmaster was last seen alive;
// one that started between that and the moment when the death was noticed (long, if the guard was frozen) is judged by what it is.
func (p *proc) belongs(t *target, pid int) bool {
	if pid == t.pid || t.exe.n == 0 || !p.fromSamePlace(t, pid) {
		return false
	}
	uid, _, errno := p.owner(pid)
	if errno != 0 || uid != unix.Geteuid() {
		return false
	}
	s, errno := p.stat(pid)
	switch {
	case errno != 0 || s.zombie() || s.start > ticks(t.diedBefore):
		return false
	case s.start < ticks(t.lastAlive):
		return true
	}
	title, errno := p.read(pid, "cmdline")
	if errno != 0 || !hasPrefix(title, titlePrefix) {
		return false // it looks like a postmaster, a newer one; a child that has no title yet gets one, and is seen by the next look
	}
	parent := s.parent
	if parent == t.pid || !p.fromSamePlace(t, parent) {
		return true
	}
	title, errno = p.read(parent, "cmdline")
	return errno != 0 || hasPrefix(title, titlePrefix) // its parent is no newer postmaster
}

// fromSamePlace says whether pid runs the executable of t in the working directory of t.
func (p *proc) fromSamePlace(t *target, pid int) bool {
	n, errno := p.link(pid, "exe", p.text[:])
	if errno != 0 || !same(p.text[:n], t.exe.bytes()) {
		return false
	}
	n, errno = p.link(pid, "cwd", p.text[:])
	return errno == 0 && same(p.text[:n], t.dir.bytes())
}

func hasPrefix(b, prefix []byte) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == string(prefix)
}
