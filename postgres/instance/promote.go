package instance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/postgres"
)

// promote carries out TaskPromote. The connection that watches is opened before the order is given, so that nothing but
// PostgreSQL's own work lies between.
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
	conn, err := i.connect(ctx, longSession)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { closeConn(conn) }()
	if rec, err := inRecovery(ctx, conn); err != nil {
		return err
	} else if !rec {
		return errors.New("the server is not a standby")
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := i.touch("promote"); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if err := signalPostmaster(r, unix.SIGUSR1); err != nil {
		return errors.Join(fmt.Errorf("signal the postmaster: %w", err), i.remove("promote"))
	}
	phase(postgres.Phase{Name: postgres.PhaseSignalled})
	if conn, err = i.awaitWritable(ctx, r, conn); err != nil {
		return err
	}
	for _, slot := range t.Slots {
		if err := createSlot(ctx, conn, slot); err != nil {
			i.log.Warn("create a slot after the promotion", "slot", slot, "error", err)
		}
	}
	phase(postgres.Phase{Name: postgres.PhaseReady})
	i.setFollows(stream{})
	if err := i.writeRole(nil); err != nil {
		return err
	}
	_ = signalPostmaster(r, unix.SIGHUP) // settings of recovery do nothing on a primary: nobody waits for this
	return nil
}

// awaitWritable asks until the server is out of recovery. It returns the connection to use, as a broken one is replaced.
func (i *Instance) awaitWritable(ctx context.Context, r *run, conn postgres.Conn) (postgres.Conn, error) {
	look := pace{next: 2 * time.Millisecond, limit: 50 * time.Millisecond}
	for look.wait(ctx, r.ended) {
		rec, err := inRecovery(ctx, conn)
		if err == nil && !rec {
			return conn, nil
		}
		if err != nil && r.alive() {
			closeConn(conn)
			next, err := i.connect(ctx, longSession)
			if err == nil {
				conn = next
			}
		}
	}
	return conn, fmt.Errorf("the server ended (%s) while it was being promoted (hint: its log is %s)", r.exitStatus(), i.cfg.LogFile)
}
