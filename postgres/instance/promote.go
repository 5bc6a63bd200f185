package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/postgres"
)

// promote carries out TaskPromote, as pg_ctl does: a file and a signal, and pg_control tells when the server has left
// recovery. No connection has to be had for that, so nothing but PostgreSQL's own work lies between.
func (i *Instance) promote(ctx context.Context, t postgres.Task, phase func(postgres.Phase)) error {
	r := i.postmaster()
	if r == nil {
		return errors.New("no server runs")
	}
	if s, _ := i.currentSettings(); s.PrePromote != "" {
		if err := i.script(ctx, s.PrePromote, nil, nil); err != nil {
			return fmt.Errorf("pre_promote refused: %w", err)
		}
	}
	control, err := os.Open(i.controlPath())
	if err != nil {
		return err
	}
	defer control.Close()
	if state, err := peekState(control); err != nil {
		return err
	} else if state != postgres.ControlArchiveRecovery {
		return fmt.Errorf("the server is not a running standby: its control file says %q", state)
	}
	if err := i.checkReached(r, t.End); err != nil {
		return err
	}
	if t.Timeline != 0 {
		c, err := i.readControl(ctx)
		if err != nil {
			return err
		}
		if err := i.reserveTimeline(max(c.Timeline, c.MinRecoveryTimeline), t.Timeline); err != nil {
			return err
		}
	}
	if err = context.Cause(ctx); err == nil {
		err = i.removeMarker() // a start whose agent has died leaves it there, and it says: no row of its own
	}
	if err != nil {
		return errors.Join(err, i.dropSkipped())
	}
	ctx = context.WithoutCancel(ctx)
	if err := i.askToPromote(r); err != nil {
		return err
	}
	phase(postgres.Phase{Name: postgres.PhaseSignalled})
	if err := i.awaitProduction(ctx, r, control); err != nil {
		return errors.Join(err, i.dropSkipped())
	}
	phase(postgres.Phase{Name: postgres.PhaseReady})
	i.afterPromotion(ctx, r, t)
	if t.Timeline == 0 {
		return nil
	}
	s, _ := i.currentSettings()
	on, _ := postgres.ParseBool(s.Parameters["archive_mode"])
	return i.confirmTimeline(t.Timeline, on || s.Parameters["archive_mode"] == "always")
}

// askToPromote leaves a note, and tells the postmaster. Both files concern the server that is about to be signalled, so they need not reach the
// disk. The note comes first: from the other file on any SIGUSR1, also one from the server's own processes, promotes it; a busy startup process obeys
// minutes later; and we may die at any time.
func (i *Instance) askToPromote(r *run) error {
	if err := os.WriteFile(i.askedPath(), fmt.Appendf(nil, "%d %d\n", r.id.PID, r.id.Start), i.fileMode()); err != nil {
		return fmt.Errorf("note that the promotion is asked for: %w", err)
	}
	if err := os.WriteFile(filepath.Join(i.cfg.DataDir, "promote"), nil, i.fileMode()); err != nil {
		return errors.Join(fmt.Errorf("ask for the promotion: %w", err), i.remove("promote"))
	}
	if err := signalPostmaster(r, unix.SIGUSR1); err != nil {
		return errors.Join(fmt.Errorf("signal the postmaster: %w", err), i.remove("promote"))
	}
	return nil
}

// askedPath names the file that holds the postmaster which was told to promote. It says nothing of any other one, so it need not be removed.
func (i *Instance) askedPath() string { return filepath.Join(i.cfg.DataDir, "tanist.promotion") }

// promotionAsked says which postmaster was told to promote last.
func (i *Instance) promotionAsked() (p postgres.Postmaster) {
	if raw, err := os.ReadFile(i.askedPath()); err == nil {
		_, _ = fmt.Sscanf(string(raw), "%d %d", &p.PID, &p.Start) // half of it matches nobody
	}
	return p
}

// firstNudge is how long a promotion may take before the startup process is woken again; an ordinary one takes 30 to 100 ms.
const firstNudge = 50 * time.Millisecond

// awaitProduction waits until pg_control says "in production": the server writes that after it has begun to take writes
// (PostgreSQL source, StartupXLOG).
//
// A startup process that loses its stream at the very moment of the request can take note of it and then sleep for the rest
// of wal_retrieve_retry_interval, 5 s by default: the wake-up was spent on the lost stream (seen with PostgreSQL 15). A
// reload wakes it again and changes nothing else.
func (i *Instance) awaitProduction(ctx context.Context, r *run, control *os.File) error {
	look := pace{next: time.Millisecond, limit: 20 * time.Millisecond}
	nudge, pause := time.Now().Add(firstNudge), firstNudge
	for look.wait(ctx, r.ended) {
		if state, err := peekState(control); err == nil && state == postgres.ControlInProduction {
			return nil
		}
		if now := time.Now(); now.After(nudge) {
			_ = signalPostmaster(r, unix.SIGHUP) // if that fails, the server ends, which the loop sees
			pause = min(2*pause, time.Second)
			nudge = now.Add(pause)
		}
	}
	return fmt.Errorf("the server ended (%s) while it was being promoted (hint: its log is %s)", r.exitStatus(), i.cfg.LogFile)
}

// afterPromotion makes the slots that others need soon, and takes the settings of a standby out of the files; on a
// primary they do nothing, so nobody waits for the reload. What fails here does not undo the promotion: EnsureSlots and
// Configure make up for it.
func (i *Instance) afterPromotion(ctx context.Context, r *run, t postgres.Task) {
	if len(t.Slots) > 0 {
		ctx, cancel := context.WithTimeout(ctx, slotPatience)
		defer cancel()
		if err := i.createSlots(ctx, t.Slots); err != nil {
			i.log.Warn("create slots after the promotion", "error", err)
		}
	}
	i.setFollows(stream{})
	if err := errors.Join(i.writeRole(nil), signalPostmaster(r, unix.SIGHUP)); err != nil {
		i.log.Warn("take the settings of a standby out of the configuration", "error", err)
	}
}
