package instance

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/postgres"
)

// immediatePatience is how long a server in immediate shutdown may take: the postmaster itself kills children that have
// not ended after 5 s (PostgreSQL source, SIGKILL_CHILDREN_AFTER_SECS).
const immediatePatience = 8 * time.Second

// stop carries out TaskStop. Its time, from Task.By or the deadline of ctx, is the ladder: SIGQUIT when two thirds of it
// have passed, SIGKILL at its end. Without one, an orderly shutdown takes the time that it takes.
func (i *Instance) stop(ctx context.Context, t postgres.Task, phase func(postgres.Phase)) (postgres.Outcome, error) {
	r := i.postmaster()
	if r == nil {
		return i.afterStop(ctx, nil)
	}
	if t.Stop != postgres.StopImmediate {
		if err := i.beforeStop(ctx, t); err != nil {
			return postgres.Outcome{}, err
		}
	}
	f, _ := i.readPidFile()
	r.remember(f)
	l := newLadder(t.Stop, time.Now(), i.timeLeft(ctx, t))
	ctx = context.WithoutCancel(ctx)
	if err := signalPostmaster(r, l.first); err != nil {
		return postgres.Outcome{}, fmt.Errorf("signal the postmaster: %w", err)
	}
	phase(postgres.Phase{Name: postgres.PhaseSignalled})
	if err := i.descend(ctx, r, l, phase); err != nil {
		return postgres.Outcome{}, err
	}
	return i.afterStop(ctx, r.remembered())
}

// beforeStop is what may still be cancelled: a checkpoint while clients work, so that the shutdown's own is short, and
// the user's script.
func (i *Instance) beforeStop(ctx context.Context, t postgres.Task) error {
	if t.Checkpoint {
		if err := i.checkpoint(ctx); err != nil && ctx.Err() == nil {
			i.log.Warn("checkpoint before the stop", "error", err)
		}
	}
	if s, _ := i.currentSettings(); s.BeforeStop != "" && ctx.Err() == nil {
		if err := i.script(ctx, s.BeforeStop, nil, nil); err != nil && ctx.Err() == nil {
			i.log.Warn("before_stop failed; the server is stopped all the same", "error", err)
		}
	}
	return context.Cause(ctx)
}

// ladder is when a stop turns harsher.
type ladder struct {
	first      unix.Signal
	quit, kill time.Time // zero: never
}

// unlimited is more time than anything takes.
const unlimited = time.Duration(math.MaxInt64)

// timeLeft is how long a stop may take.
func (i *Instance) timeLeft(ctx context.Context, t postgres.Task) time.Duration {
	left := unlimited
	if deadline, ok := ctx.Deadline(); ok {
		left = time.Until(deadline)
	}
	if !t.By.IsZero() {
		left = min(left, t.By.Sub(i.cfg.Now()))
	}
	return left
}

func newLadder(mode postgres.StopMode, now time.Time, left time.Duration) ladder {
	left = max(left, 0)
	if mode == postgres.StopImmediate {
		return ladder{first: unix.SIGQUIT, kill: now.Add(min(left, immediatePatience))}
	}
	if left == unlimited {
		return ladder{first: unix.SIGINT}
	}
	return ladder{first: unix.SIGINT, quit: now.Add(left * 2 / 3), kill: now.Add(left)}
}

// descend waits for the end of the server, sends the signals of the ladder, and tells when pg_control says "shut down":
// WAL senders may still be sending then.
func (i *Instance) descend(ctx context.Context, r *run, l ladder, phase func(postgres.Phase)) error {
	control, err := os.Open(i.controlPath())
	if err == nil {
		defer control.Close()
	} else {
		control = nil
	}
	i.stopping.Store(int64(r.id.PID))
	told := false
	look := pace{next: 2 * time.Millisecond, limit: 20 * time.Millisecond}
	for look.wait(ctx, r.ended) {
		if !told && control != nil {
			told = i.tellShutDown(ctx, control, phase)
		}
		now := time.Now()
		if !l.quit.IsZero() && now.After(l.quit) {
			// A server that only finishes its checkpoint or drains its WAL senders answers nobody: let it.
			if i.harmless(ctx, r) {
				l.quit = now.Add(100 * time.Millisecond)
			} else {
				l.quit = time.Time{}
				i.log.Warn("fast shutdown took too long; ending the server at once", "pid", r.id.PID)
				_ = signalPostmaster(r, unix.SIGQUIT)
			}
		}
		if !l.kill.IsZero() && now.After(l.kill) && !i.harmless(ctx, r) {
			if err := i.Kill("the stop took too long"); err != nil {
				return err
			}
			l.kill = time.Time{}
		}
	}
	if !told && control != nil {
		i.tellShutDown(ctx, control, phase)
	}
	return nil
}

// tellShutDown tells PhaseShutDown once pg_control says so.
func (i *Instance) tellShutDown(ctx context.Context, control *os.File, phase func(postgres.Phase)) bool {
	state, err := peekState(control)
	if err != nil || state != postgres.ControlShutDown && state != postgres.ControlShutDownInRecovery {
		return false
	}
	c, err := i.readControl(ctx)
	if err != nil || c.State != state {
		return false // being written this moment
	}
	p := postgres.Phase{Name: postgres.PhaseShutDown}
	if state == postgres.ControlShutDown {
		p.LSN = c.CheckpointEnd
	}
	phase(p)
	return true
}

// harmless says whether two looks, 50 ms apart, find no child that could answer a client, and one that finishes the shutdown: a server
// without children is not one that finishes.
func (i *Instance) harmless(ctx context.Context, r *run) bool {
	for n := range 2 {
		if n > 0 {
			again := pace{next: 50 * time.Millisecond, limit: 50 * time.Millisecond}
			if !again.wait(ctx, r.ended) {
				return true
			}
		}
		finishing := false
		for _, pid := range children(r.id.PID) {
			title := strings.Join(arguments(pid), " ")
			if p, err := readProcess(pid); err != nil || p.zombie() {
				continue
			}
			quiet, finishes := dutyAtStop(title, i.cfg.Scope)
			if !quiet {
				return false
			}
			finishing = finishing || finishes
		}
		if !finishing {
			return false
		}
	}
	return true
}

// dutyAtStop tells by the title of a server process ("postgres: KIND …", with a cluster name "postgres: SCOPE: KIND …") whether it answers no
// client, and whether it is one of those that live as long as a shutdown takes. The title of a backend begins with the name of a role, which
// may be any word, and ends with what it works on.
func dutyAtStop(title, scope string) (quiet, finishes bool) {
	text, ok := strings.CutPrefix(strings.TrimRight(title, " "), "postgres: ")
	if !ok {
		return false, false
	}
	text = strings.TrimPrefix(text, scope+": ")
	kind, doing, _ := strings.Cut(text, " ")
	switch kind {
	case "checkpointer":
		quiet = doing == "" || doing == "performing shutdown checkpoint"
		return quiet, quiet
	case "archiver":
		quiet = doing == "" || strings.HasPrefix(doing, "archiving ") || strings.HasPrefix(doing, "last was ") || strings.HasPrefix(doing, "failed on ")
		return quiet, quiet
	case "walsender":
		quiet = strings.Contains(doing, " streaming ") || strings.HasSuffix(doing, " idle")
		return quiet, quiet
	case "logger", "walsummarizer":
		return doing == "", false
	case "io":
		return strings.HasPrefix(doing, "worker "), false
	}
	return false, false
}

// afterStop sweeps and tells how the server ended.
func (i *Instance) afterStop(ctx context.Context, last *pidFile) (postgres.Outcome, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := i.sweep(ctx, last); err != nil {
		return postgres.Outcome{}, err
	}
	if !exists(i.controlPath()) {
		return postgres.Outcome{}, nil
	}
	c, err := i.readControl(ctx)
	if err != nil {
		return postgres.Outcome{}, err
	}
	out := postgres.Outcome{Clean: c.State == postgres.ControlShutDown || c.State == postgres.ControlShutDownInRecovery}
	if c.State == postgres.ControlShutDown {
		out.End = c.CheckpointEnd
	}
	return out, nil
}

// script runs a user's command with more arguments, and waits for it.
func (i *Instance) script(ctx context.Context, line string, args, env []string) error {
	words, err := splitCommand(line)
	if err != nil {
		return err
	}
	if len(words) == 0 {
		return errors.New("the command is empty")
	}
	c := command{
		path: words[0], args: append(words[1:], args...), env: environment(env...),
		line: func(s string) { i.log.Info("output of a script", "script", filepath.Base(words[0]), "line", s) },
	}
	return c.run(ctx)
}
