package postgres_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/postgres"
	"github.com/tanist-ha/tanist/postgres/pgtest"
	"github.com/tanist-ha/tanist/postgres/pgxdriver"
)

// TestTexts holds the parsers and formatters against the server whose texts they are.
func TestTexts(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL servers")
	}
	pgtest.RunAll(t, func(t *testing.T, binDir string) {
		c := pgtest.Init(t, binDir)
		nasty := []string{"", "it's", `back\slash`, "line\nbreak\r", `'quoted'`, "# no comment", "ümlaut", `\n`}
		for i, value := range nasty {
			line, err := postgres.FormatGUC(fmt.Sprintf("tanist.nasty%d", i), value)
			if err != nil {
				t.Fatal(err)
			}
			c.Configure(t, line)
		}
		c.Start(t)
		conn := connectTo(t, c, nil)
		for i, value := range nasty {
			if got := one(t, conn, fmt.Sprintf("SHOW tanist.nasty%d", i)); got != value {
				t.Errorf("setting %q is read as %q", value, got)
			}
		}
		t.Run("numbers", func(t *testing.T) { testNumbers(t, conn) })
		t.Run("standby names", func(t *testing.T) { testStandbyNames(t, conn) })
		t.Run("versions", func(t *testing.T) { testVersions(t, c, conn) })
		t.Run("control data", func(t *testing.T) {
			got := readControl(t, c)
			if id := one(t, conn, "SELECT system_identifier FROM pg_control_system()"); got.SystemID != id || got.State != postgres.ControlInProduction {
				t.Errorf("control data %+v, want system identifier %s", got, id)
			}
		})
		t.Run("connection strings", func(t *testing.T) {
			name := `it's \ a = "b"`
			info := postgres.Conninfo{"host": "127.0.0.1", "port": strconv.Itoa(c.Port), "user": "postgres", "dbname": "postgres", "application_name": name}
			sql := "SELECT current_setting('application_name')"
			if got := strings.TrimSpace(c.Program(t, "psql", "-XAtq", "-d", info.Format(), "-c", sql)); got != name {
				t.Errorf("psql read %q from %s", got, info)
			}
			if got := one(t, connectTo(t, c, info), sql); got != name {
				t.Errorf("the driver read %q from %s", got, info)
			}
		})
	})
}

func testNumbers(t *testing.T, conn postgres.Conn) {
	for setting, unit := range map[string]string{"work_mem": "kB", "temp_buffers": "8kB", "lock_timeout": "ms", "wal_writer_flush_after": "8kB", "tcp_keepalives_idle": "s"} {
		for _, v := range []string{"1MB", "0.3GB", "1.5MB", "10000kB", "0x1000", "010000", "1e3", "2500.5", "1GB", "1kb", "5MBx", "08", "3.5s", "2500us", "1min", "0.1h", " 7000 ", "7000 kB"} {
			sql := fmt.Sprintf("SET %s = %s; SELECT setting FROM pg_settings WHERE name = '%s'", setting, postgres.QuoteLiteral(v), setting)
			want, ok := postgres.ParseInt(v, unit)
			rows, err := conn.Query(t.Context(), sql)
			switch {
			case err != nil && strings.Contains(err.Error(), "outside the valid range"), err != nil && strings.Contains(err.Error(), "cannot be changed now"):
			case (err == nil) != ok:
				t.Errorf("%s = %q: the server says %v, ParseInt(%q) %d, %t", setting, v, err, unit, want, ok)
			case want == 0: // in some settings it stands for a default, which is shown instead
			case ok && *rows[0][0] != strconv.FormatInt(want, 10):
				t.Errorf("%s = %q: the server reads %s, ParseInt(%q) %d", setting, v, *rows[0][0], unit, want)
			}
		}
	}
	if err := conn.Exec(t.Context(), "RESET ALL"); err != nil {
		t.Fatal(err)
	}
}

func testStandbyNames(t *testing.T, conn postgres.Conn) {
	texts := []string{"2", "2 (a", "2 ()", "0 (a)", "few 2 (a)", "ANY (a)", "(a)", "2 a", "a,", "a-b", "a b"}
	for _, v := range syncVectors {
		texts = append(texts, v.text, v.canonical)
	}
	for _, text := range texts {
		_, err := postgres.ParseSyncNames(text)
		said := conn.Exec(t.Context(), "ALTER SYSTEM SET synchronous_standby_names TO "+postgres.QuoteLiteral(text))
		if (err == nil) != (said == nil) {
			t.Errorf("%q: the server says %v, ParseSyncNames %v", text, said, err)
		}
	}
}

func testVersions(t *testing.T, c *pgtest.Cluster, conn postgres.Conn) {
	number := one(t, conn, "SHOW server_version_num")
	file, err := os.ReadFile(filepath.Join(c.DataDir, "PG_VERSION"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{number, one(t, conn, "SHOW server_version"), c.Program(t, "postgres", "--version")} {
		v, err := postgres.ParseVersion(text)
		if err != nil || strconv.Itoa(int(v)) != number {
			t.Errorf("ParseVersion(%q) = %d, %v, want %s", text, v, err, number)
		}
	}
	if v, err := postgres.ParseVersion(string(file)); err != nil || v.Major() != pgtest.Major(t, c.BinDir) {
		t.Errorf("ParseVersion(%q) = %d, %v", file, v, err)
	}
}

// TestDivergedReal asks Diverged about real servers, and PostgreSQL's own tool about the same.
func TestDivergedReal(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL servers")
	}
	pgtest.RunAll(t, func(t *testing.T, binDir string) {
		old := pgtest.Init(t, binDir)
		old.Start(t)
		next := old.Clone(t)
		next.Start(t)
		moveLog(t, old, 1024, postgres.WALPageSize) // waits for the standby
		old.Stop(t)
		next.Query(t, "SELECT pg_promote(); CHECKPOINT")
		if v := judge(t, old, next); v.Divergence != postgres.DivergenceNone {
			t.Errorf("after an orderly hand-over: %+v", v)
		}

		old.Start(t) // nobody should, but somebody did
		old.Query(t, "CREATE TABLE lost (a int)")
		old.Stop(t)
		if v := judge(t, old, next); v.Divergence != postgres.DivergenceRewind {
			t.Errorf("after it wrote on: %+v", v)
		}
		next.Query(t, "CHECKPOINT")
		old.Program(t, "pg_rewind", "-D", old.DataDir, "--source-server", next.ConnString("postgres"), "--no-sync")
		if v := judge(t, old, next); v.Divergence != postgres.DivergenceNone {
			t.Errorf("after the rewind: %+v", v)
		}
		if v := judge(t, pgtest.Init(t, binDir), next); v.Divergence != postgres.DivergenceUnrelated {
			t.Errorf("another cluster: %+v", v)
		}
	})
}

// judge asks whether down may follow up.
func judge(t *testing.T, down, up *pgtest.Cluster) postgres.Verdict {
	t.Helper()
	control := readControl(t, down)
	if control.State == postgres.ControlShutDown {
		end, err := postgres.CheckpointEnd(control.Checkpoint, control.WALSegmentSize, walReader(down.DataDir, control))
		if err != nil {
			t.Fatal(err)
		}
		control.CheckpointEnd = end
	}
	o := postgres.Observation{Control: &control}
	if text, err := os.ReadFile(filepath.Join(down.DataDir, "pg_wal", postgres.HistoryFileName(control.Timeline))); err == nil {
		if o.History, err = postgres.ParseHistory(string(text)); err != nil {
			t.Fatal(err)
		}
	}
	local, why, ok := postgres.StandingOf(o)
	if !ok {
		t.Fatal(why)
	}
	return postgres.Diverged(local, lineageOf(t, up))
}

func lineageOf(t *testing.T, c *pgtest.Cluster) postgres.Lineage {
	t.Helper()
	conn, err := pgxdriver.Connector{}.Connect(t.Context(), postgres.ConnectParams{
		Conninfo:    postgres.Conninfo{"host": "127.0.0.1", "port": strconv.Itoa(c.Port), "user": "postgres"},
		Replication: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), "IDENTIFY_SYSTEM")
	if err != nil {
		t.Fatal(err)
	}
	timeline, err := strconv.Atoi(*rows[0][1])
	if err != nil {
		t.Fatal(err)
	}
	l := postgres.Lineage{SystemID: *rows[0][0], Timeline: postgres.Timeline(timeline)}
	if l.LSN, err = postgres.ParseLSN(*rows[0][2]); err != nil {
		t.Fatal(err)
	}
	rows, err = conn.Query(t.Context(), fmt.Sprintf("TIMELINE_HISTORY %d", timeline))
	if err != nil {
		t.Fatal(err)
	}
	if l.History, err = postgres.ParseHistory(*rows[0][1]); err != nil {
		t.Fatal(err)
	}
	return l
}

func connectTo(t *testing.T, c *pgtest.Cluster, info postgres.Conninfo) postgres.Conn {
	t.Helper()
	if info == nil {
		info = postgres.Conninfo{"host": "127.0.0.1", "port": strconv.Itoa(c.Port), "user": "postgres", "dbname": "postgres"}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := pgxdriver.Connector{}.Connect(ctx, postgres.ConnectParams{Conninfo: info})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// one is the only value that sql returns.
func one(t *testing.T, conn postgres.Conn, sql string) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return *rows[0][0]
}
