package warden

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// warden is the guard process: one thread that waits for the time, the agent, its successor and the end of the postmaster, all at once.
type warden struct {
	proc   proc
	looker looker
	self   int
	locked bool

	channel  int // to the agent that started it; -1 once that is gone
	timer    int
	listener int // for an agent that takes over; -1: none
	callers  [callersMax]int
	polls    [4 + callersMax]unix.PollFd

	state            State
	target           target
	fast, quit, kill time.Duration
	ended            bool

	// While it watches an attached start shim become a postmaster.
	refreshAt, refreshPause time.Duration

	// While it ends a server.
	step        Step
	next        time.Duration
	lookAt      time.Duration // when to begin looking at the children; 0: begun
	sweepPause  time.Duration
	left        int
	attachedNow int
	stuck       [8]int32

	request Request
	reply   Reply
	in      [2 * RequestBytes]byte
	out     [ReplyBytes]byte
	address address
	title   []byte // the process title, overwritten in place; nil: none
}

// callersMax bounds the agents that may ask at once over the listener; the oldest gives way.
const callersMax = 4

// acceptMax bounds the callers that are let in at once: anybody on the machine may knock.
const acceptMax = 64

const (
	never = time.Duration(math.MaxInt64)
	// blindLook is how often a postmaster is looked at that no pidfd can be had for.
	blindLook = 100 * time.Millisecond
	// drainMax bounds what is read at once, so that a stranger who may connect cannot keep the guard from its work.
	drainMax = 4096
)

// run returns when the guard has nothing left to do.
func (w *warden) run() {
	for !w.ended {
		w.wait()
		// Everything that waits to be read is read before the time is looked at: a guard that slept finds a due timer and a newer
		// deadline together, and must not kill a healthy server.
		w.drain()
		if !w.ended { // one that was dismissed leaves the server to its successor, also at the last moment
			w.act(now())
		}
	}
}

// due is when to act next without being told anything.
func (w *warden) due() time.Duration {
	switch w.state {
	case StateReserved:
		return w.fast
	case StateArmed:
		at := w.fast
		if !w.target.executed() {
			at = min(at, w.refreshAt)
		}
		if w.target.pidfd < 0 {
			at = min(at, now()+blindLook)
		}
		return at
	case StateSweeping:
		return w.next
	case StateFired:
		if w.target.pidfd < 0 && w.target.diedBefore == 0 {
			return min(w.next, now()+blindLook)
		}
		return w.next
	default:
		return never
	}
}

// wait returns when something has happened, or the time has come.
func (w *warden) wait() {
	var spec unix.ItimerSpec
	if at := w.due(); at != never {
		spec.Value = unix.NsecToTimespec(max(int64(at), 1)) // 0 would disarm it
	}
	_ = unix.TimerfdSettime(w.timer, unix.TFD_TIMER_ABSTIME, &spec, nil)
	n := 0
	add := func(fd int) {
		if fd >= 0 {
			w.polls[n] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
			n++
		}
	}
	add(w.timer)
	add(w.channel)
	add(w.listener)
	if w.target.pid != 0 && w.target.diedBefore == 0 {
		add(w.target.pidfd)
	}
	for _, c := range w.callers {
		add(c)
	}
	_, _ = unix.Poll(w.polls[:n], -1) // EINTR is as good as an event
}

// act does what is due at t.
func (w *warden) act(t time.Duration) {
	if w.watching() {
		if w.proc.alive(&w.target) {
			w.target.lastAlive = t
		} else {
			w.bury(t)
		}
	}
	switch w.state {
	case StateIdle:
		w.ended = w.ended || w.channel < 0
	case StateReserved:
		if t >= w.fast { // nobody was attached in time: there is nothing to end, and nothing may start on this order any more
			w.idle()
			w.tell()
			w.ended = w.channel < 0
		}
	case StateArmed:
		if t >= w.fast {
			w.fire(t)
			return
		}
		if !w.target.executed() && t >= w.refreshAt {
			w.refresh(t)
		}
	case StateSweeping:
		if t >= w.next {
			w.sweep(t)
		}
	case StateFired:
		switch {
		case t < w.next:
		case w.target.diedBefore != 0:
			w.sweep(t)
		default:
			w.climb(t)
		}
	}
}

// watching says whether there is a postmaster that was not seen dead.
func (w *warden) watching() bool {
	return w.target.pid != 0 && w.target.diedBefore == 0 && (w.state == StateArmed || w.state == StateFired)
}

// bury begins the sweep after a postmaster that has died by itself, or of the first steps of the ladder.
func (w *warden) bury(t time.Duration) {
	if w.state == StateArmed {
		w.state = StateSweeping
		w.tell()
	}
	w.buried(t)
}

// swept ends a sweep.
func (w *warden) swept() {
	if w.state == StateFired {
		w.tell()
		w.ended = true
		return
	}
	w.idle()
	w.tell()
	w.ended = w.channel < 0
}

// idle lets go of the postmaster.
func (w *warden) idle() {
	if w.target.pid != 0 {
		closePidfd(w.target.pidfd)
	}
	w.target.pid, w.target.start, w.target.pidfd, w.target.diedBefore = 0, 0, -1, 0
	w.target.shared = SharedMemory{}
	w.state, w.fast, w.quit, w.kill = StateIdle, 0, 0, 0
	w.unlisten()
	w.setTitle()
}

func (w *warden) refresh(t time.Duration) {
	w.proc.refresh(&w.target)
	w.refreshPause = min(max(2*w.refreshPause, 5*time.Millisecond), time.Second)
	w.refreshAt = t + w.refreshPause
}

// handle carries out w.request and fills w.reply.
func (w *warden) handle(fromAgent bool) {
	r := &w.request
	var result Result
	switch {
	case w.state == StateFired:
		result = ResultFired
	case r.Kind == KindHello, r.Kind == KindQuery:
	case r.Kind == KindDismiss:
		result = w.dismiss(r)
	case !fromAgent:
		result = ResultUnknown
	case r.Kind == KindArm:
		result = w.arm(r)
	case r.Kind == KindAttach:
		result = w.attach(r)
	case r.Kind == KindDisarm:
		result = w.disarm(r)
	default:
		result = ResultUnknown
	}
	w.fillReply(r.Kind, r.Seq, result)
}

func (w *warden) arm(r *Request) Result {
	t := now()
	if w.state == StateArmed && !w.proc.alive(&w.target) {
		w.bury(t)
	}
	r.Quit = max(r.Quit, r.Fast)
	r.Kill = max(r.Kill, r.Quit)
	switch {
	case w.state == StateSweeping:
		return ResultBusy
	case w.state == StateArmed && (r.PID == w.target.pid && r.Start == w.target.start || r.PID == 0 && w.target.announced):
		w.grow(r)
		if r.PID != 0 {
			w.target.announced = false
		}
		if r.SharedMemory.Known {
			w.target.shared = r.SharedMemory
		}
		w.proc.refresh(&w.target)
		return ResultOK
	case w.state == StateArmed:
		return ResultAlive
	case t >= r.Fast:
		return ResultPast
	}
	if r.PID != 0 {
		if result := w.open(r); result != ResultOK {
			return result
		}
	}
	if w.state == StateIdle {
		w.fast, w.quit, w.kill = 0, 0, 0
	}
	w.grow(r)
	w.state = StateReserved
	if r.PID != 0 {
		w.state = StateArmed
	}
	w.setTitle()
	return ResultOK
}

// grow takes later deadlines and never earlier ones.
func (w *warden) grow(r *Request) {
	w.fast, w.quit, w.kill = max(w.fast, r.Fast), max(w.quit, r.Quit), max(w.kill, r.Kill)
}

func (w *warden) open(r *Request) Result {
	result := w.proc.openTarget(&w.target, r, w.self)
	if result == ResultOK {
		w.refreshPause, w.refreshAt = 0, now()
		w.listen()
	}
	return result
}

func (w *warden) attach(r *Request) Result {
	switch {
	case w.state == StateArmed && r.PID == w.target.pid && r.Start == w.target.start:
		return ResultOK
	case w.state == StateSweeping:
		return ResultBusy
	case w.state != StateReserved:
		return ResultNotArmed
	case now() >= w.fast:
		return ResultPast
	}
	result := w.open(r)
	if result == ResultOK {
		w.state = StateArmed
		w.setTitle()
	}
	return result
}

// disarm lets go. The agent says which postmaster it has seen in recovery; without one it has seen the server down, and is told if that is
// not so.
func (w *warden) disarm(r *Request) Result {
	if w.state == StateArmed && !w.proc.alive(&w.target) {
		w.bury(now())
	}
	switch {
	case w.state == StateSweeping:
		return ResultBusy
	case w.state == StateArmed && (r.PID != w.target.pid || r.Start != w.target.start):
		return ResultAlive
	}
	w.idle()
	return ResultOK
}

func (w *warden) dismiss(r *Request) Result {
	switch {
	case w.state == StateSweeping:
		return ResultBusy
	case w.state != StateArmed || r.PID != w.target.pid || r.Start != w.target.start:
		return ResultMismatch
	}
	w.ended = true
	return ResultOK
}

func (w *warden) fillReply(kind Kind, seq uint64, result Result) {
	w.reply = Reply{
		Version: Version, Kind: kind, Seq: seq, Result: result, State: w.state,
		Locked: w.locked, NoPidfd: w.target.pid != 0 && w.target.pidfd < 0, Guard: w.self,
		PID: w.target.pid, Start: w.target.start, Fast: w.fast, Quit: w.quit, Kill: w.kill,
		Signalled: w.step, Left: w.left, Attached: w.attachedNow, Stuck: w.stuck,
	}
}

// tell sends the state to the agent unasked.
func (w *warden) tell() {
	w.fillReply(KindTold, 0, ResultOK)
	w.send(w.channel)
}
