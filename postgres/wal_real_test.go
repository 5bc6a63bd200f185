package postgres_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/postgres"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// walReader reads the files of a data directory as CheckpointEnd wants them.
func walReader(dataDir string, c postgres.Control) func(postgres.LSN, int) ([]byte, error) {
	return func(l postgres.LSN, n int) ([]byte, error) {
		name, err := postgres.WALFileName(c.Timeline, l, c.WALSegmentSize)
		if err != nil {
			return nil, err
		}
		f, err := os.Open(filepath.Join(dataDir, "pg_wal", name))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		b := make([]byte, n)
		_, err = io.ReadFull(io.NewSectionReader(f, int64(l)%int64(c.WALSegmentSize), int64(n)), b)
		return b, err
	}
}

func readControl(t *testing.T, c *pgtest.Cluster) postgres.Control {
	t.Helper()
	control, err := postgres.ParseControlData(c.Program(t, "pg_controldata", "-D", c.DataDir))
	if err != nil {
		t.Fatal(err)
	}
	return control
}

// TestCheckpointEnd stops primaries whose shutdown checkpoint lies at chosen places of a page, and holds the computed end
// against what a streaming standby received and what pg_waldump says of the record.
func TestCheckpointEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL servers")
	}
	pgtest.RunAll(t, func(t *testing.T, binDir string) {
		primary := pgtest.Init(t, binDir, "--wal-segsize=1")
		primary.Configure(t, "autovacuum = off", "wal_log_hints = off", "max_logical_replication_workers = 0", "max_wal_size = 64MB", "min_wal_size = 32MB", "wal_keep_size = 32MB")
		primary.Start(t)
		standby := primary.Clone(t)
		standby.Configure(t, "wal_retrieve_retry_interval = 50ms")
		standby.Start(t)
		primary.Stop(t)
		first := readControl(t, primary)
		end, err := postgres.CheckpointEnd(first.Checkpoint, first.WALSegmentSize, walReader(primary.DataDir, first))
		if err != nil {
			t.Fatal(err)
		}
		length := end - first.Checkpoint // also where the first one happened to cross a page: see the loop
		if length > 128 {
			length -= 24
		}
		const page, segment = postgres.WALPageSize, 1 << 20
		places := []struct {
			name   string
			target postgres.LSN // where the record is to begin, modulo the next
			modulo postgres.LSN
			end    postgres.LSN // where it must end, modulo the same
		}{
			{"in the middle of a page", 4096, page, 4096 + length},
			{"up to the end of a page", page - length, page, 0},
			{"over the end of a page", page - 64, page, 24 + length - 64},
			{"up to the end of a segment", segment - length, segment, 0},
			{"over the end of a segment", segment - 64, segment, 40 + length - 64},
			{"at the beginning of a segment", 40, segment, 40 + length},
		}
		for _, p := range places {
			t.Run(p.name, func(t *testing.T) {
				primary.Start(t)
				control := stopWith(t, primary, p.target, p.modulo)
				end, err := postgres.CheckpointEnd(control.Checkpoint, control.WALSegmentSize, walReader(primary.DataDir, control))
				if err != nil {
					t.Fatal(err)
				}
				if end%p.modulo != p.end {
					t.Errorf("checkpoint at %s ends at %s, want offset %d", control.Checkpoint, end, p.end)
				}
				compareWithDump(t, primary, control, end)
				hasReceived(t, standby, end)
			})
		}
	})
}

// stopWith stops c with its shutdown checkpoint at target modulo modulo.
func stopWith(t *testing.T, c *pgtest.Cluster, target, modulo postgres.LSN) postgres.Control {
	t.Helper()
	for range 5 {
		moveLog(t, c, target, modulo)
		c.Stop(t)
		control := readControl(t, c)
		if control.State != postgres.ControlShutDown {
			t.Fatalf("state after stop: %q", control.State)
		}
		if control.Checkpoint%modulo == target {
			return control
		}
		t.Logf("checkpoint at %s, wanted at %d modulo %d; again", control.Checkpoint, target, modulo)
		c.Start(t) // the server wrote something of its own in between
	}
	t.Fatalf("no checkpoint at %d modulo %d in five attempts", target, modulo)
	return postgres.Control{}
}

// moveLog writes messages into the log until the next record begins at target modulo modulo.
func moveLog(t *testing.T, c *pgtest.Cluster, target, modulo postgres.LSN) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn := connectTo(t, c, nil)
	// Wait for the standby: without it the server ends without handing the checkpoint record over.
	sql := `DO $$ BEGIN
		WHILE NOT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming') LOOP
			PERFORM pg_sleep(0.01), pg_stat_clear_snapshot();
		END LOOP;
	END $$; SELECT pg_current_wal_insert_lsn()`
	for {
		rows, err := conn.Query(ctx, sql)
		if err != nil {
			t.Fatal(err)
		}
		at, err := postgres.ParseLSN(*rows[0][0])
		if err != nil {
			t.Fatal(err)
		}
		gap := (target - at%modulo + modulo) % modulo
		if gap == 0 {
			return
		}
		text := nextMessage(at, gap)
		sql = fmt.Sprintf("SELECT pg_logical_emit_message(false, 'x', repeat('a', %d)); SELECT pg_current_wal_insert_lsn()", text)
	}
}

// nextMessage chooses the length of a message so that, message by message, the log moves on by gap.
func nextMessage(at, gap postgres.LSN) postgres.LSN {
	const (
		least    = 400 // shorter messages have a shorter header
		overhead = 56  // of the record beyond its text
	)
	room := postgres.WALPageSize - at%postgres.WALPageSize
	switch {
	case gap < least || room < least:
		return least // too near for one message, or for a page's rest: go on to the next page
	case gap <= room:
		return gap - overhead
	case gap == room+24 || gap == room+40:
		return room - overhead // fill the page, the next record begins behind the header of the next
	case gap < room+1000:
		return room // over the end of the page, then the rest
	case room > 2*least:
		return room - overhead - least
	}
	return room
}

// compareWithDump finds the record with pg_waldump; where it does not cross a page its length is the distance.
func compareWithDump(t *testing.T, c *pgtest.Cluster, control postgres.Control, end postgres.LSN) {
	t.Helper()
	out := c.Program(t, "pg_waldump", "-p", filepath.Join(c.DataDir, "pg_wal"), "-t", strconv.Itoa(int(control.Timeline)),
		"-s", control.Checkpoint.String(), "-n", "1")
	if !strings.Contains(out, "CHECKPOINT_SHUTDOWN") {
		t.Fatalf("pg_waldump: %s", out)
	}
	_, after, _ := strings.Cut(out, "len (rec/tot):")
	_, after, _ = strings.Cut(after, "/")
	total, _, _ := strings.Cut(after, ",")
	n, err := strconv.Atoi(strings.TrimSpace(total))
	if err != nil {
		t.Fatalf("pg_waldump: %s: %v", out, err)
	}
	aligned := postgres.LSN(n+7) / 8 * 8
	crossed := end - control.Checkpoint - aligned
	if crossed != 0 && crossed != 24 && crossed != 40 {
		t.Errorf("record of %d bytes at %s ends at %s", n, control.Checkpoint, end)
	}
}

// hasReceived checks that the standby got the log up to end exactly: a streaming standby is waited for in a fast shutdown.
func hasReceived(t *testing.T, standby *pgtest.Cluster, end postgres.LSN) {
	t.Helper()
	got := standby.Query(t, "SELECT pg_last_wal_receive_lsn()")
	received, err := postgres.ParseLSN(got)
	if err != nil {
		t.Fatal(err)
	}
	if received != end {
		t.Errorf("the standby received up to %s, the shutdown checkpoint ends at %s", received, end)
	}
}
