package instance

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/postgres"
)

// follow carries out TaskFollow: a reload suffices from PostgreSQL 13 on. The reload also wakes a standby that waits
// before its next attempt to connect.
func (i *Instance) follow(ctx context.Context, t postgres.Task) error {
	r := i.postmaster()
	if r == nil {
		return errors.New("no server runs")
	}
	conn, err := i.connect(ctx, longSession)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer closeConn(conn)
	if rec, err := inRecovery(ctx, conn); err != nil {
		return err
	} else if !rec {
		return errors.New("the server is not a standby")
	}
	if t.Upstream != nil {
		if err := i.writePassFile(t.Upstream.Host, t.Upstream.Port); err != nil {
			return err
		}
	}
	st := i.streamOf(t.Upstream)
	if err := i.touch("standby.signal"); err != nil {
		return err
	}
	i.setFollows(st)
	if err := i.writeRole(&st); err != nil {
		return err
	}
	if err := signalPostmaster(r, unix.SIGHUP); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	return i.awaitStream(ctx, r, conn, st)
}

// awaitStream returns when the server has taken the new upstream over.
func (i *Instance) awaitStream(ctx context.Context, r *run, conn postgres.Conn, want stream) error {
	look := pace{next: 2 * time.Millisecond, limit: 50 * time.Millisecond}
	for look.wait(ctx, r.ended) {
		rows, err := conn.Query(ctx, "SELECT current_setting('primary_conninfo'), current_setting('primary_slot_name'), pg_is_wal_replay_paused()")
		if err != nil {
			return err
		}
		got := &row{cols: rows[0]}
		if (stream{got.text(), got.text()}) != want {
			continue
		}
		if got.bool() { // a standby pauses when a setting is too small for its primary's log
			return conn.Exec(ctx, "SELECT pg_wal_replay_resume()")
		}
		return nil
	}
	if !r.alive() {
		return errors.New("the server ended")
	}
	return fmt.Errorf("the server has not taken the new upstream over: %w (hint: its log tells of errors in postgresql.conf)", context.Cause(ctx))
}

// lineage carries out TaskLineage.
func (i *Instance) lineage(ctx context.Context, t postgres.Task) (postgres.Outcome, error) {
	if t.Upstream == nil {
		return postgres.Outcome{}, errors.New("no upstream is named")
	}
	u := t.Upstream
	conn, err := i.cfg.Connector.Connect(ctx, postgres.ConnectParams{
		Conninfo:    i.cfg.Replication.conninfo(u.Host, u.Port, "replication"),
		Session:     map[string]string{"application_name": heartbeat},
		Replication: true,
	})
	if err != nil {
		return postgres.Outcome{}, fmt.Errorf("connect to %s for replication: %w", u.Name, err)
	}
	defer closeConn(conn)
	id, err := identify(ctx, conn)
	if err != nil {
		return postgres.Outcome{}, err
	}
	if err := i.ownSlot(ctx, conn, u); err != nil {
		i.log.Warn("make our replication slot on the upstream", "upstream", u.Name, "slot", u.Slot, "error", err)
	}
	l := &postgres.Lineage{SystemID: id.systemID, Timeline: id.timeline, LSN: id.lsn}
	if id.timeline > 1 {
		if l.History, err = timelineHistory(ctx, conn, id.timeline); err != nil {
			return postgres.Outcome{}, err
		}
	}
	if l.InRecovery, err = i.remoteInRecovery(ctx, u); err != nil {
		return postgres.Outcome{}, err
	}
	return postgres.Outcome{Lineage: l}, nil
}

// ownSlot makes the slot that we shall stream through, if it is not there. The agent beside the upstream does so, too; but it may have died
// with its promotion, and what its server acknowledges from then on must not stay without a standby.
func (i *Instance) ownSlot(ctx context.Context, conn postgres.Conn, u *postgres.Upstream) error {
	if u.Slot == "" {
		return nil
	}
	_, err := conn.Query(ctx, `CREATE_REPLICATION_SLOT "`+u.Slot+`" PHYSICAL RESERVE_WAL`) // a slot's name has no quotation marks
	if serverCode(err) == postgres.CodeDuplicateObject {
		return nil
	}
	return err
}

func timelineHistory(ctx context.Context, conn postgres.Conn, t postgres.Timeline) (postgres.History, error) {
	rows, err := conn.Query(ctx, fmt.Sprintf("TIMELINE_HISTORY %d", t))
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 || len(rows[0]) < 2 || rows[0][1] == nil {
		return nil, errors.New("TIMELINE_HISTORY: unexpected form of the answer")
	}
	text, err := unescapeBytea(*rows[0][1])
	if err != nil {
		return nil, err
	}
	return postgres.ParseHistory(text)
}

func (i *Instance) remoteInRecovery(ctx context.Context, u *postgres.Upstream) (bool, error) {
	conn, err := i.cfg.Connector.Connect(ctx, postgres.ConnectParams{
		Conninfo: i.cfg.Rewind.conninfo(u.Host, u.Port, i.cfg.Database), Session: session,
	})
	if err != nil {
		return false, fmt.Errorf("connect to %s: %w", u.Name, err)
	}
	defer closeConn(conn)
	return inRecovery(ctx, conn)
}

// unescapeBytea reads bytes in the form \x68656c6c6f; other text is taken as it is, as some majors send it.
func unescapeBytea(s string) (string, error) {
	digits, ok := strings.CutPrefix(s, `\x`)
	if !ok {
		return s, nil
	}
	raw, err := hex.DecodeString(digits)
	return string(raw), err
}
