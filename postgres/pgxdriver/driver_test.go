package pgxdriver_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/postgres"
	"github.com/tanist-ha/tanist/postgres/pgtest"
	"github.com/tanist-ha/tanist/postgres/pgxdriver"
)

func TestMain(m *testing.M) {
	pgtest.Guard(m, func(m *testing.M) { goleak.VerifyTestMain(m) })
}

func params(c *pgtest.Cluster) postgres.ConnectParams {
	return postgres.ConnectParams{
		Conninfo: postgres.Conninfo{
			"host": "127.0.0.1", "port": strconv.Itoa(c.Port), "user": "postgres", "dbname": "postgres", "connect_timeout": "3",
			"gssencmode": "prefer", // libpq's, unknown to pgx
		},
		Session: map[string]string{"application_name": "driver test", "search_path": "pg_catalog", "statement_timeout": "2000"},
	}
}

func connect(t *testing.T, p postgres.ConnectParams) postgres.Conn {
	t.Helper()
	c, err := pgxdriver.Connector{}.Connect(deadline(t), p)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func query(t *testing.T, c postgres.Conn, sql string) string {
	t.Helper()
	rows, err := c.Query(deadline(t), sql)
	if err != nil {
		t.Fatalf("query %s: %v", sql, err)
	}
	return format(rows)
}

func format(rows [][]*string) string {
	var lines []string
	for _, row := range rows {
		var columns []string
		for _, v := range row {
			if v == nil {
				columns = append(columns, "NULL")
			} else {
				columns = append(columns, *v)
			}
		}
		lines = append(lines, strings.Join(columns, "|"))
	}
	return strings.Join(lines, "\n")
}

func code(err error) string {
	var e *postgres.ServerError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestDriver(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL servers")
	}
	pgtest.RunAll(t, func(t *testing.T, binDir string) {
		c := pgtest.Init(t, binDir)
		c.Start(t)
		t.Run("sql", func(t *testing.T) { testSQL(t, c) })
		t.Run("unix socket", func(t *testing.T) {
			p := params(c)
			p.Conninfo["host"] = c.SocketDir
			if got := query(t, connect(t, p), "SELECT inet_client_addr()"); got != "NULL" {
				t.Errorf("client address = %s, want none", got)
			}
		})
		t.Run("replication", func(t *testing.T) { testReplication(t, c) })
		t.Run("refusals", func(t *testing.T) { testRefusals(t, c) })
		t.Run("lost", func(t *testing.T) { testLost(t, c) })
		t.Run("frozen", func(t *testing.T) { testFrozen(t, c) })
	})
}

func testSQL(t *testing.T, c *pgtest.Cluster) {
	conn := connect(t, params(c))
	if diff := cmp.Diff("1|NULL||a\n2|NULL||b", query(t, conn, "SELECT 0; SELECT i, NULL, '', x FROM (VALUES (1, 'a'), (2, 'b')) v(i, x)")); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	session := "SELECT current_setting('application_name'), current_setting('search_path'), current_setting('statement_timeout')"
	if got := query(t, conn, session); got != "driver test|pg_catalog|2s" {
		t.Errorf("session settings = %q", got)
	}
	if err := conn.Exec(deadline(t), "CREATE TABLE public.t (a int)"); err != nil {
		t.Fatalf("exec: %v", err)
	}
	if got := query(t, conn, "INSERT INTO public.t VALUES (1)"); got != "" {
		t.Errorf("rows of an INSERT = %q", got)
	}
	_, err := conn.Query(deadline(t), "SELECT 1; SELECT 1/0")
	if code(err) != "22012" || !strings.Contains(err.Error(), "division by zero (SQLSTATE 22012)") {
		t.Errorf("division by zero: %v", err)
	}
	if _, err := conn.Query(deadline(t), "SELECT pg_sleep(60)"); code(err) != postgres.CodeQueryCanceled {
		t.Errorf("statement timeout: %v", err)
	}
	if err := conn.Exec(deadline(t), "SELECT 1\x00"); err == nil {
		t.Error("SQL with a zero byte was sent")
	}
	for _, text := range []string{``, `a'b`, `a\'b\\`, "line\nbreak", `$$"%`} {
		for _, mode := range []string{"on", "off"} {
			sql := "SET standard_conforming_strings = " + mode + "; SELECT " + postgres.QuoteLiteral(text) + " AS " + postgres.QuoteIdent(text+`"x`)
			if got := query(t, conn, sql); got != text {
				t.Errorf("literal of %q is read as %q", text, got)
			}
		}
	}
}

func testReplication(t *testing.T, c *pgtest.Cluster) {
	p := params(c)
	p.Replication = true
	conn := connect(t, p)
	rows, err := conn.Query(deadline(t), "IDENTIFY_SYSTEM")
	if err != nil || len(rows) != 1 || len(rows[0]) != 4 || *rows[0][1] != "1" {
		t.Fatalf("IDENTIFY_SYSTEM: %s, %v", format(rows), err)
	}
	control, err := postgres.ParseControlData(c.Program(t, "pg_controldata", "-D", c.DataDir))
	if err != nil {
		t.Fatal(err)
	}
	if control.SystemID != *rows[0][0] {
		t.Errorf("system identifier = %s, want %s", *rows[0][0], control.SystemID)
	}
	if _, err := conn.Query(deadline(t), "TIMELINE_HISTORY 7"); code(err) == "" {
		t.Errorf("history of a timeline that does not exist: %v", err)
	}
}

func testRefusals(t *testing.T, c *pgtest.Cluster) {
	tests := []struct {
		name   string
		change func(p postgres.ConnectParams)
		code   string
		text   string
	}{
		{"no such database", func(p postgres.ConnectParams) { p.Conninfo["dbname"] = "nowhere" }, "3D000", `database "nowhere" does not exist`},
		{"no such role", func(p postgres.ConnectParams) { p.Conninfo["user"] = "nobody" }, postgres.CodeInvalidAuth, `dbname=postgres`},
		{"server without TLS", func(p postgres.ConnectParams) { p.Conninfo["sslmode"] = "require" }, "", "TLS"},
		{"unknown session setting", func(p postgres.ConnectParams) { p.Session["no_such_thing"] = "1" }, postgres.CodeUndefinedObject, "no_such_thing"},
		{"setting that protects", func(p postgres.ConnectParams) { p.Conninfo["sslcrl"] = "/x" }, "", "sslcrl is not supported"},
		{"bad sslmode", func(p postgres.ConnectParams) { p.Conninfo["sslmode"] = "maybe" }, "", "sslmode"},
		{"nobody there", func(p postgres.ConnectParams) { p.Conninfo["port"] = strconv.Itoa(pgtest.FreePort(t)) }, "", "refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := params(c)
			p.Conninfo["password"] = "hush"
			tt.change(p)
			conn, err := pgxdriver.Connector{}.Connect(deadline(t), p)
			if err == nil {
				_ = conn.Close(t.Context())
				t.Fatal("it connected")
			}
			if code(err) != tt.code || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %q, code %q; want %q and code %q", err, code(err), tt.text, tt.code)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

// testLost kills one backend: the other connections learn of it, too, as the postmaster starts anew.
func testLost(t *testing.T, c *pgtest.Cluster) {
	conn, victim := connect(t, params(c)), connect(t, params(c))
	pid, err := strconv.Atoi(query(t, victim, "SELECT pg_backend_pid()"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx := deadline(t)
	for conn.Exec(ctx, "SELECT 1") == nil {
	}
	if err := conn.Exec(ctx, "SELECT 1"); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request over a connection that was lost: %v", err)
	}
	for {
		conn, err := pgxdriver.Connector{}.Connect(deadline(t), params(c))
		if code(err) == postgres.CodeCannotConnectNow {
			continue // it re-initialises
		}
		if err != nil {
			t.Fatalf("connect after the crash of a backend: %v", err)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
		return
	}
}

// testFrozen stops one backend: the request ends with its context, and Close with its own.
func testFrozen(t *testing.T, c *pgtest.Cluster) {
	conn := connect(t, params(c))
	pid, err := strconv.Atoi(query(t, conn, "SELECT pg_backend_pid()"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(syscall.Kill(pid, syscall.SIGSTOP), syscall.Kill(c.PID(), syscall.SIGSTOP)); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(syscall.Kill(pid, syscall.SIGCONT), syscall.Kill(c.PID(), syscall.SIGCONT)) }()
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := conn.Query(short, "SELECT 1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("query of a frozen server: %v, want a deadline", err)
	}
	begin := time.Now()
	_ = conn.Close(short)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("Close waited %v for a frozen server", took)
	}
	if err := conn.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("a closed connection still works")
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Errorf("second Close: %v", err)
	}
}
