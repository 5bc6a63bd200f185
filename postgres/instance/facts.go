package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tanist-ha/tanist/postgres"
)

// factsQuery is the whole look in one round trip. Functions that fail on a primary or in recovery stand behind CASE.
const factsQuery = `SELECT rec.y,
 CASE WHEN NOT rec.y THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint END,
 CASE WHEN NOT rec.y THEN pg_current_wal_flush_lsn() END,
 pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(),
 extract(epoch FROM pg_last_xact_replay_timestamp()),
 CASE WHEN rec.y THEN pg_is_wal_replay_paused() END,
 r.status, r.received_tli, r.sender_host, r.sender_port, r.slot_name, r.latest_end_lsn,
 (SELECT timeline_id FROM pg_control_checkpoint()),
 (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
 current_setting('server_version_num'), extract(epoch FROM pg_postmaster_start_time()),
 current_setting('synchronous_standby_names'),
 (SELECT json_agg(json_build_object('User', usename, 'Application', application_name, 'ClientAddr', host(client_addr),
   'State', state, 'SyncState', sync_state, 'SyncPriority', sync_priority, 'Flush', flush_lsn, 'Replay', replay_lsn))
  FROM pg_stat_replication),
 (SELECT json_agg(json_build_object('Name', slot_name, 'Physical', slot_type = 'physical', 'Active', active,
   'RestartLSN', restart_lsn)) FROM pg_replication_slots WHERE NOT temporary)
FROM (SELECT pg_is_in_recovery() AS y) rec LEFT JOIN pg_stat_get_wal_receiver() r ON true`

// lookBySQL asks over the kept connection, and once more over a new one if that was broken.
func (i *Instance) lookBySQL(ctx context.Context, r *run) (*postgres.SQLFacts, error) {
	e := &i.eye
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.of != r.id {
		e.drop()
		e.of = r.id
	}
	for again := e.conn != nil; ; again = false {
		if e.conn == nil {
			conn, err := i.connect(ctx, session)
			if err != nil {
				return nil, fmt.Errorf("connect: %w", err)
			}
			untrip, err := i.trip(ctx, r, conn)
			if err != nil {
				closeConn(conn)
				return nil, fmt.Errorf("connect: %w", err)
			}
			e.conn, e.untrip = conn, untrip
		}
		rows, err := e.conn.Query(ctx, factsQuery)
		if err == nil {
			facts, err := i.readFacts(ctx, r, rows)
			if err != nil {
				e.drop()
			}
			return facts, err
		}
		if serverCode(err) != postgres.CodeQueryCanceled {
			e.drop()
		}
		if !again || ctx.Err() != nil {
			return nil, fmt.Errorf("query: %w", err)
		}
	}
}

// row reads the columns of the one row of factsQuery in order.
type row struct {
	cols []*string
	next int
	err  error
}

func (r *row) text() string {
	v := r.cols[r.next]
	r.next++
	if v == nil {
		return ""
	}
	return *v
}

func (r *row) fail(err error) {
	if err != nil {
		r.err = errors.Join(r.err, fmt.Errorf("column %d: %w", r.next, err))
	}
}

func (r *row) bool() bool { return r.text() == "t" }

func (r *row) lsn() postgres.LSN {
	s := r.text()
	if s == "" {
		return 0
	}
	l, err := postgres.ParseLSN(s)
	r.fail(err)
	return l
}

func (r *row) int() int {
	s := r.text()
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	r.fail(err)
	return n
}

// time reads seconds since 1970 with a fraction.
func (r *row) time() *time.Time {
	s := r.text()
	if s == "" {
		return nil
	}
	seconds, err := strconv.ParseFloat(s, 64)
	r.fail(err)
	t := time.UnixMicro(int64(seconds * 1e6)).UTC()
	return &t
}

func (r *row) json(into any) {
	if s := r.text(); s != "" {
		r.fail(json.Unmarshal([]byte(s), into))
	}
}

const factsColumns = 20

func (i *Instance) readFacts(ctx context.Context, of *run, rows [][]*string) (*postgres.SQLFacts, error) {
	if len(rows) != 1 || len(rows[0]) != factsColumns {
		return nil, errors.New("read facts: unexpected form of the answer")
	}
	r := &row{cols: rows[0]}
	f := &postgres.SQLFacts{
		InRecovery:   r.bool(),
		Timeline:     postgres.Timeline(r.int()),
		Flush:        r.lsn(),
		Received:     r.lsn(),
		Replayed:     r.lsn(),
		ReplayedAt:   r.time(),
		ReplayPaused: r.bool(),
	}
	rcv := postgres.Receiver{
		Status:   r.text(),
		Timeline: postgres.Timeline(r.int()),
		Host:     r.text(),
		Port:     r.int(),
		Slot:     r.text(),
	}
	f.LatestEnd = r.lsn()
	known := max(postgres.Timeline(r.int()), postgres.Timeline(r.int()))
	f.ServerVersion = r.int()
	if t := r.time(); t != nil {
		f.StartedAt = *t
	}
	f.SynchronousStandbyNames = r.text()
	readSenders(r, f)
	readSlots(r, f)
	if r.err != nil {
		return nil, fmt.Errorf("read facts: %w", r.err)
	}
	if f.InRecovery {
		if rcv.Status != "" {
			f.Receiver = &rcv
		}
		f.Timeline = i.standbyTimeline(ctx, of.id, f, known)
	} else {
		f.Received, f.Replayed, f.ReplayedAt = 0, 0, nil // left over from before the promotion
	}
	return f, nil
}

func readSenders(r *row, f *postgres.SQLFacts) {
	var senders []struct {
		User, Application, ClientAddr, State, SyncState string
		SyncPriority                                    int
		Flush, Replay                                   string
	}
	r.json(&senders)
	for _, s := range senders {
		f.Senders = append(f.Senders, postgres.Sender{
			User: s.User, Application: s.Application, ClientAddr: s.ClientAddr, State: s.State, SyncState: s.SyncState,
			SyncPriority: s.SyncPriority, Flush: r.parse(s.Flush), Replay: r.parse(s.Replay),
		})
	}
}

func readSlots(r *row, f *postgres.SQLFacts) {
	var slots []struct {
		Name             string
		Physical, Active bool
		RestartLSN       string
	}
	r.json(&slots)
	for _, s := range slots {
		f.Slots = append(f.Slots, postgres.Slot{Name: s.Name, Physical: s.Physical, Active: s.Active, RestartLSN: r.parse(s.RestartLSN)})
	}
}

// parse reads a position out of JSON; "" and null are none.
func (r *row) parse(s string) postgres.LSN {
	if s == "" {
		return 0
	}
	l, err := postgres.ParseLSN(s)
	r.fail(err)
	return l
}

// timelineMemory is what is known of the timeline of a standby between looks. SQL tells a standby's timeline only while
// its WAL receiver lives; afterwards it is what the receiver had said, as long as nothing was replayed beyond.
type timelineMemory struct {
	of       postgres.Postmaster
	timeline postgres.Timeline
	upTo     postgres.LSN // timeline holds for positions up to here
}

// standbyTimeline tells on which timeline the position of a standby lies.
func (i *Instance) standbyTimeline(ctx context.Context, of postgres.Postmaster, f *postgres.SQLFacts, known postgres.Timeline) postgres.Timeline {
	m := &i.eye.memory
	if m.of != of {
		*m = timelineMemory{of: of}
	}
	position := max(f.Received, f.Replayed)
	if f.Receiver != nil && f.Receiver.Timeline != 0 {
		*m = timelineMemory{of: of, timeline: f.Receiver.Timeline, upTo: position}
	}
	if m.timeline == 0 || position > m.upTo {
		if t, err := i.askTimeline(ctx); err == nil {
			*m = timelineMemory{of: of, timeline: t, upTo: position}
		}
	}
	return max(m.timeline, known)
}

// askTimeline asks by IDENTIFY_SYSTEM, which tells a standby's timeline of what it has received or replayed last.
func (i *Instance) askTimeline(ctx context.Context) (postgres.Timeline, error) {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	conn, err := i.connectReplication(ctx)
	if err != nil {
		return 0, err
	}
	defer closeConn(conn)
	id, err := identify(ctx, conn)
	return id.timeline, err
}

// identity is the answer to IDENTIFY_SYSTEM.
type identity struct {
	systemID string
	timeline postgres.Timeline
	lsn      postgres.LSN
}

func identify(ctx context.Context, conn postgres.Conn) (identity, error) {
	rows, err := conn.Query(ctx, "IDENTIFY_SYSTEM")
	if err != nil {
		return identity{}, err
	}
	if len(rows) != 1 || len(rows[0]) < 3 {
		return identity{}, errors.New("IDENTIFY_SYSTEM: unexpected form of the answer")
	}
	r := &row{cols: rows[0]}
	id := identity{systemID: r.text(), timeline: postgres.Timeline(r.int()), lsn: r.lsn()}
	return id, r.err
}
