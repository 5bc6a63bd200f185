package hatest

import (
	"errors"
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// job is a task under way on a simulated server.
type job struct {
	a    *agent
	r    ha.Request
	task postgres.Task
	over bool
}

// run begins a task. It goes on if the agent dies, as far as a real one's child processes would; its events then reach nobody.
func (a *agent) run(r ha.Request, t postgres.Task) {
	j := &job{a: a, r: r, task: t}
	a.task = r.ID
	a.cancel = func() { j.fail(errors.New("cancelled")) }
	switch t.Kind {
	case postgres.TaskBootstrap:
		j.bootstrap()
	case postgres.TaskOpen:
		j.after(2*time.Millisecond, 50*time.Millisecond, func() { j.server().closed = false; j.done(postgres.Outcome{}) })
	case postgres.TaskClone:
		j.clone()
	case postgres.TaskStart:
		j.start()
	case postgres.TaskStop:
		j.stop()
	case postgres.TaskPromote:
		j.promote()
	case postgres.TaskFollow:
		j.follow()
	case postgres.TaskLineage:
		j.lineage()
	case postgres.TaskRecover:
		j.recoverLog()
	case postgres.TaskRewind:
		j.rewind()
	case postgres.TaskWipe:
		j.wipe()
	case postgres.TaskCheckpoint:
		j.after(10*time.Millisecond, 300*time.Millisecond, func() { j.finish(postgres.Outcome{}, j.server().checkpointNow()) })
	}
}

func upstreamName(t postgres.Task) string {
	if t.Upstream == nil {
		return ""
	}
	return t.Upstream.Host
}

func (j *job) server() *server { return j.a.n.server }

// after lets f happen within bounds, unless the job is over by then, or the agent that drives it is dead; later if that is frozen.
func (j *job) after(lo, hi time.Duration, f func()) {
	w := j.a.n.w
	j.a.at(w.eng.now.Add(w.bounded(lo, hi)), func() {
		if !j.over {
			f()
		}
	})
}

// ifGone ends the job in its own way as soon as the postmaster that it waits for has died, whoever killed that.
func (j *job) ifGone(f func()) {
	s := j.server()
	s.gone = append(s.gone, func() {
		if !j.over {
			f()
		}
	})
}

func (j *job) done(o postgres.Outcome) { j.end(ha.TaskDone{ID: j.r.ID, Outcome: o}) }

// finish ends the job, by failure if err is not nil.
func (j *job) finish(o postgres.Outcome, err error) {
	if err != nil {
		j.fail(err)
		return
	}
	j.done(o)
}

func (j *job) fail(err error) {
	j.end(ha.TaskDone{ID: j.r.ID, Fault: &ha.Fault{Kind: ha.FaultOther, Text: err.Error()}})
}

func (j *job) end(e ha.Event) {
	if j.over {
		return
	}
	j.over = true
	if j.a.task == j.r.ID {
		j.a.task, j.a.cancel = 0, nil
	}
	w := j.a.n.w
	w.eng.after(time.Millisecond, func() { j.a.deliver(e) })
	if w.opts.Profile == Freezes && w.rng.IntN(6) == 0 { // told twice: whoever believes the second takes it for the end of another task
		w.eng.after(w.bounded(2*time.Millisecond, 3*time.Second), func() { j.a.deliver(e) })
	}
}

func (j *job) phase(p postgres.Phase) {
	j.a.n.w.eng.after(100*time.Microsecond, func() { j.a.deliver(ha.TaskPhase{ID: j.r.ID, Phase: p}) })
}

func (j *job) bootstrap() {
	s := j.server()
	if s.dir != postgres.DataDirEmpty {
		j.fail(errors.New("the data directory is not empty"))
		return
	}
	s.dir, s.unfinished = postgres.DataDirUnfinished, postgres.TaskBootstrap
	j.after(500*time.Millisecond, 3*time.Second, func() {
		s.bootstrap()
		j.done(postgres.Outcome{SystemID: s.sysid})
	})
}

// wipe is not whole until it ends, as a clone is not; a rename is.
func (j *job) wipe() {
	s := j.server()
	if !j.task.Rename && s.dir == postgres.DataDirReady {
		s.dir, s.unfinished = postgres.DataDirUnfinished, postgres.TaskWipe
	}
	j.after(10*time.Millisecond, 100*time.Millisecond, func() { s.wipe(); j.done(postgres.Outcome{}) })
}

func (j *job) clone() {
	s := j.server()
	s.wipe()
	s.dir, s.unfinished = postgres.DataDirUnfinished, postgres.TaskClone
	j.after(500*time.Millisecond, 5*time.Second+j.a.n.slow, func() {
		if up := j.source(); up == nil {
			j.fail(errors.New("no route to the source"))
		} else if err := s.clone(up); err != nil {
			j.fail(err)
		} else {
			j.done(postgres.Outcome{})
		}
	})
}

// source is the upstream's server, if it can be reached.
func (j *job) source() *server {
	up := j.a.n.w.node(upstreamName(j.task))
	if up == nil || j.a.n.cut[up.name] || up.cut[j.a.n.name] || up.frozen {
		return nil
	}
	return up.server
}

func (j *job) start() {
	s, n := j.server(), j.a.n
	if s.pid != 0 {
		j.fail(errors.New("a postmaster runs already"))
		return
	}
	if n.badStarts > 0 {
		n.badStarts--
		j.after(10*time.Millisecond, time.Second, func() { j.fail(errors.New("could not start")) })
		return
	}
	s.sweep()
	err := s.start(j.task.AsPrimary, j.task.Upstream)
	pid := s.pid
	if pid == 0 {
		j.fail(err)
		return
	}
	if g := j.a.fence.guard; j.task.AsPrimary && !n.w.opts.NoFence && !g.attach(pid) {
		s.die()
		j.fail(errors.New("the guard does not take the server"))
		return
	}
	j.a.cancel = func() {
		if s.pid == pid && !s.ready {
			s.die()
		}
		j.fail(errors.New("cancelled"))
	}
	j.ifGone(func() { j.fail(errors.New("the postmaster ended")) })
	n.later(n.w.bounded(30*time.Millisecond, 800*time.Millisecond)+n.slow, func() {
		// The postmaster goes on by itself, whatever becomes of the agent.
		switch {
		case s.pid != pid || s.stopping:
			j.fail(errors.New("the postmaster ended"))
		case err != nil:
			s.die()
			j.fail(err)
		case j.task.AsPrimary:
			s.started(true)
			j.done(postgres.Outcome{})
		default:
			s.awaited = func() { s.started(false); j.done(postgres.Outcome{}) }
			s.proceed()
		}
	})
}

func (j *job) stop() {
	s, n := j.server(), j.a.n
	if s.pid == 0 {
		s.sweep()
		j.after(time.Millisecond, 10*time.Millisecond, func() { j.done(postgres.Outcome{}) })
		return
	}
	if j.stuck() {
		return
	}
	if n.badStops > 0 && j.task.By.IsZero() {
		n.badStops--
		j.after(10*time.Millisecond, 2*time.Second, func() { j.fail(errors.New("the server does not stop")) })
		return
	}
	pid := s.pid
	if j.task.Stop == postgres.StopImmediate {
		j.after(5*time.Millisecond, 50*time.Millisecond, func() { s.die(); j.done(postgres.Outcome{}) })
		return
	}
	if !j.task.By.IsZero() {
		j.a.at(j.a.machineTime(j.task.By), func() {
			if s.pid == pid {
				s.die()
				j.done(postgres.Outcome{})
			}
		})
	}
	lo := time.Millisecond
	if j.task.Checkpoint {
		lo = 20*time.Millisecond + n.checkpoint/4
	}
	j.after(lo, 4*lo, func() { j.signalled(pid) })
}

// signalled is the moment in which the clients end; the rest happens whether the agent lives or not.
func (j *job) signalled(pid int) {
	s, n := j.server(), j.a.n
	if j.over {
		return
	}
	if s.pid != pid {
		j.done(postgres.Outcome{}) // it died while it made its checkpoint
		return
	}
	if !s.ready {
		s.die() // a server that starts ends at once
		j.done(postgres.Outcome{})
		return
	}
	s.stopping = true
	j.a.cancel = nil // too late for that
	j.phase(postgres.Phase{Name: postgres.PhaseSignalled})
	var ended postgres.Outcome
	j.ifGone(func() { j.done(ended) })
	n.later(n.w.bounded(20*time.Millisecond, 400*time.Millisecond)+n.slow+n.lateCheckpoint(), func() {
		if s.pid != pid {
			return
		}
		ended = postgres.Outcome{Clean: true, End: s.shutDown()}
		j.phase(postgres.Phase{Name: postgres.PhaseShutDown, LSN: ended.End})
		n.later(n.w.bounded(5*time.Millisecond, 300*time.Millisecond), func() {
			if s.pid == pid {
				n.w.drain(s)
				s.die()
			}
		})
	})
}

func (j *job) promote() {
	s, n := j.server(), j.a.n
	pid := s.pid
	if n.badPromotes > 0 {
		n.badPromotes--
		j.after(10*time.Millisecond, 500*time.Millisecond, func() { j.fail(errors.New("could not promote")) })
		return
	}
	j.after(time.Millisecond, 10*time.Millisecond, func() {
		if err := s.checkReached(j.task.End); err != nil {
			j.fail(err)
			return
		}
		s.asked = pid
		j.phase(postgres.Phase{Name: postgres.PhaseSignalled})
		j.ifGone(func() { j.fail(errors.New("the server ended before it was promoted")) })
		n.later(n.w.bounded(10*time.Millisecond, 200*time.Millisecond)+n.slow+n.latePromote, func() {
			switch {
			case pid == 0 || s.pid != pid || !s.inRecovery || s.stopping:
				j.fail(errors.New("the server ended before it was promoted"))
			default:
				// A promotion that was asked for happens, whatever becomes of the agent.
				if err := s.promote(j.task.Timeline); err != nil {
					j.fail(err)
					return
				}
				j.phase(postgres.Phase{Name: postgres.PhaseReady})
				j.done(postgres.Outcome{})
			}
		})
	})
}

func (j *job) lineage() {
	j.after(2*time.Millisecond, 30*time.Millisecond, func() {
		up := j.source()
		if up == nil {
			j.fail(errors.New("no route to the leader"))
			return
		}
		l, err := up.lineage()
		if err != nil {
			j.fail(err)
			return
		}
		j.done(postgres.Outcome{Lineage: l})
	})
}

// follow points a running standby at its upstream.
func (j *job) follow() {
	j.after(5*time.Millisecond, 50*time.Millisecond, func() {
		s := j.server()
		if s.pid == 0 || !s.ready || s.stopping || !s.inRecovery {
			j.fail(errors.New("the server is not a running standby"))
			return
		}
		s.follow(j.task.Upstream)
		j.done(postgres.Outcome{})
	})
}

func (j *job) recoverLog() {
	j.after(50*time.Millisecond, 500*time.Millisecond, func() {
		if s := j.server(); s.pid != 0 {
			j.fail(errors.New("a server runs on the data directory"))
		} else {
			s.sweep()
			j.finish(postgres.Outcome{}, s.recoverSingle())
		}
	})
}

func (j *job) rewind() {
	s, n := j.server(), j.a.n
	if s.pid != 0 {
		j.after(time.Millisecond, 10*time.Millisecond, func() { j.fail(errors.New("a server runs on the data directory")) })
		return
	}
	if n.badRewinds > 0 {
		n.badRewinds--
		j.after(10*time.Millisecond, 500*time.Millisecond, func() { j.fail(errors.New("pg_rewind failed before it changed anything")) })
		return
	}
	j.after(100*time.Millisecond, 300*time.Millisecond, func() {
		s.sweep()
		if err := s.recoverSingle(); err != nil {
			s.dir, s.unfinished = postgres.DataDirUnfinished, postgres.TaskRewind // it is to be made anew
			j.fail(err)
			return
		}
		if up := j.source(); up == nil || up.pid == 0 || !up.writable() {
			j.fail(errors.New("pg_rewind cannot connect to a primary"))
			return
		}
		s.dir, s.unfinished = postgres.DataDirUnfinished, postgres.TaskRewind
		copied := j.source().end()
		j.after(100*time.Millisecond, 2*time.Second+n.slow, func() {
			up := j.source()
			if up == nil || up.pid == 0 || !up.writable() {
				j.fail(errors.New("pg_rewind lost its source"))
				return
			}
			err := s.rewind(up, copied)
			s.dir, s.unfinished = postgres.DataDirReady, ""
			if errors.Is(err, errNotKept) {
				s.dir, s.unfinished = postgres.DataDirUnfinished, postgres.TaskRewind
			}
			j.finish(postgres.Outcome{}, err)
		})
	})
}
