package instance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/postgres"
)

// recover carries out TaskRecover. A server that ended in order needs none.
func (i *Instance) recover(ctx context.Context) error {
	control, err := i.atRest(ctx)
	if err != nil {
		return err
	}
	if err := i.checkConsistent(control); err != nil || control.State == postgres.ControlShutDown || control.State == postgres.ControlShutDownInRecovery {
		return err
	}
	return i.recoverSingle(ctx, control)
}

// refuseRewind is the end of a rewind of a copy that was never consistent: only the one whose copy it is could have brought it to its end, and
// that is not who leads now. What was made here has no row of its own, and is as good as a copy that was interrupted. What somebody else
// has put here is left to the operator.
func (i *Instance) refuseRewind(u *postgres.Upstream, why error) error {
	m := i.readMarker()
	if m == nil {
		return fmt.Errorf("rewind to %s: %w (hint: it was not made here, and is left alone: reinitialize this member)", u.Name, why)
	}
	return errors.Join(fmt.Errorf("rewind to %s: %w, so it has to be made anew", u.Name, why), i.writeMarker(marker{Work: m.Work}))
}

// atRest returns pg_control of a whole data directory on which nothing runs.
func (i *Instance) atRest(ctx context.Context) (*postgres.Control, error) {
	if r := i.postmaster(); r != nil {
		return nil, fmt.Errorf("a server runs on the data directory, as process %d", r.id.PID)
	}
	if c, problem := i.condition(); c != postgres.DataDirReady {
		return nil, fmt.Errorf("the data directory is %s: %s", c, problem)
	}
	if err := i.sweep(ctx, nil); err != nil {
		return nil, err
	}
	return i.readControl(ctx)
}

// rewind carries out TaskRewind: crash recovery first if pg_control asks for it, then pg_rewind.
func (i *Instance) rewind(ctx context.Context, t postgres.Task, phase func(postgres.Phase)) error {
	if t.Upstream == nil {
		return errors.New("no upstream is named")
	}
	phase(postgres.Phase{Name: postgres.PhaseProgress, Text: "crash recovery in single-user mode, if needed"})
	if err := i.recover(ctx); errors.Is(err, errNeverConsistent) {
		return i.refuseRewind(t.Upstream, err)
	} else if err != nil {
		return err
	}
	if err := i.writePassFile(t.Upstream.Host, t.Upstream.Port); err != nil {
		return err
	}
	return i.runRewind(ctx, t.Upstream, phase)
}

// singleMark tells a server in single-user mode that an agent started from one that an operator works with.
const singleMark = "--archive_command=false"

// recoverSingle lets the server replay its log in single-user mode, in which nobody can connect, and shut down: pg_rewind
// wants a clean end. What archiving has not copied yet is kept: an archive_command that fails keeps it.
func (i *Instance) recoverSingle(ctx context.Context, control *postgres.Control) error {
	s, _ := i.currentSettings()
	if err := i.writeRole(nil); err != nil {
		return err
	}
	if err := i.remove("standby.signal", "recovery.signal", "postmaster.pid"); err != nil {
		return err
	}
	args := append([]string{"--single"}, i.serverArguments(s, control, false)...)
	for name, least := range sharedMemory(control) {
		args = append(args, "--"+name+"="+itoa(least))
	}
	args = append(args, "--archive_mode=on", singleMark, "template1")
	c := command{path: i.program(progPostgres), args: args, env: environment("LC_ALL=C"), dir: i.cfg.DataDir}
	err := c.run(ctx)
	// Whatever happened, the next start must not come up writable by itself.
	if err := errors.Join(err, i.touch("standby.signal")); err != nil {
		return fmt.Errorf("crash recovery: %w", err)
	}
	return nil
}

// runRewind runs pg_rewind. Once it has begun to change files, an interruption leaves a directory that must not be
// started: the marker says so.
func (i *Instance) runRewind(ctx context.Context, u *postgres.Upstream, phase func(postgres.Phase)) error {
	if err := i.writeMarker(marker{Work: postgres.TaskRewind}); err != nil {
		return err
	}
	begun, last := false, time.Time{}
	c := command{
		path: i.program(progRewind), args: i.rewindArguments(u), env: i.toolEnvironment(), dir: i.cfg.StateDir,
		line: func(line string) {
			// The last line before the first change (PostgreSQL source, pg_rewind.c); LC_ALL=C keeps it English.
			begun = begun || strings.Contains(strings.ToLower(line), "need to copy")
			if m := percentDone.FindStringSubmatch(line); m != nil && time.Since(last) > time.Second {
				last = time.Now()
				phase(postgres.Phase{Name: postgres.PhaseProgress, Text: "rewind " + m[1] + "%"})
			}
		},
	}
	err := c.run(ctx)
	switch {
	case err == nil:
		if err := errors.Join(i.touch("standby.signal"), i.remove("recovery.signal", "postmaster.pid")); err != nil {
			return err
		}
		control, err := i.readControl(ctx)
		if err != nil {
			return err
		}
		if err := i.checkRewound(ctx, control); err != nil {
			return fmt.Errorf("rewind to %s: %w, so this copy has to be made anew", u.Name, err)
		}
		if err := i.syncAll(); err != nil {
			return err
		}
		return i.writeMarker(marker{Work: postgres.TaskRewind, Whole: true})
	case !begun:
		return errors.Join(fmt.Errorf("rewind to %s: %w", u.Name, err), i.removeMarker())
	}
	return fmt.Errorf("rewind to %s was interrupted while it changed files, so this copy has to be made anew: %w", u.Name, err)
}

func (i *Instance) rewindArguments(u *postgres.Upstream) []string {
	source := i.toolConninfo(i.cfg.Rewind, u, i.cfg.Database)
	source["target_session_attrs"] = "read-write"
	args := []string{
		"--target-pgdata=" + i.cfg.DataDir, "--source-server=" + source.Format(), "--progress", "--no-ensure-shutdown", "--no-sync",
	}
	if !i.restores() {
		return args
	}
	if i.major >= 15 {
		return append(args, "--restore-target-wal", "--config-file="+i.confPath(".conf"))
	}
	if i.cfg.ConfigDir == i.cfg.DataDir {
		return append(args, "--restore-target-wal")
	}
	return args
}
