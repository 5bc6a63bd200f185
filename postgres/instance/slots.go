package instance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tanist-ha/tanist/postgres"
)

// slotPatience bounds the creation of slots by a task that cannot be cancelled any more; EnsureSlots makes up for it.
const slotPatience = 10 * time.Second

// createSlot makes a physical slot that reserves the log from now on. One that exists is fine.
func createSlot(ctx context.Context, conn postgres.Conn, name string) error {
	err := conn.Exec(ctx, "SELECT pg_catalog.pg_create_physical_replication_slot("+postgres.QuoteLiteral(name)+", true)")
	if serverCode(err) == postgres.CodeDuplicateObject {
		return nil
	}
	return err
}

func (i *Instance) createSlots(ctx context.Context, names []string) error {
	conn, err := i.connect(ctx, session)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	var errs []error
	for _, n := range names {
		if err := createSlot(ctx, conn, n); err != nil {
			errs = append(errs, fmt.Errorf("slot %s: %w", n, err))
		}
	}
	return errors.Join(errs...)
}

// EnsureSlots creates and drops physical member slots so that exactly want exist among those that nobody uses.
func (i *Instance) EnsureSlots(ctx context.Context, want []string) error {
	if i.postmaster() == nil {
		return errors.New("ensure slots: no server runs")
	}
	conn, err := i.connect(ctx, session)
	if err != nil {
		return fmt.Errorf("ensure slots: connect: %w", err)
	}
	defer closeConn(conn)
	rows, err := conn.Query(ctx, "SELECT slot_name, active, slot_type = 'physical' FROM pg_replication_slots WHERE NOT temporary")
	if err != nil {
		return fmt.Errorf("ensure slots: %w", err)
	}
	var have []string
	var errs []error
	for _, cols := range rows {
		r := &row{cols: cols}
		name, active, physical := r.text(), r.bool(), r.bool()
		if !physical {
			continue
		}
		if slices.Contains(want, name) || active {
			have = append(have, name)
			continue
		}
		err := conn.Exec(ctx, "SELECT pg_catalog.pg_drop_replication_slot("+postgres.QuoteLiteral(name)+")")
		if err != nil && serverCode(err) != postgres.CodeObjectInUse && serverCode(err) != postgres.CodeUndefinedObject {
			errs = append(errs, fmt.Errorf("drop slot %s: %w", name, err))
			continue
		}
		i.log.Info("dropped a replication slot that nobody uses", "slot", name)
	}
	for _, name := range want {
		if slices.Contains(have, name) {
			continue
		}
		if err := createSlot(ctx, conn, name); err != nil {
			errs = append(errs, fmt.Errorf("create slot %s: %w", name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("ensure slots: %w", err)
	}
	return nil
}
