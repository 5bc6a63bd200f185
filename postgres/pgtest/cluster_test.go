package pgtest_test

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/tanist-ha/tanist/postgres/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestServer(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL servers")
	}
	pgtest.RunAll(t, func(t *testing.T, binDir string) {
		c := pgtest.Init(t, binDir)
		c.Start(t)
		if got := c.Query(t, "SELECT 1, NULL, 'a'"); got != "1||a" {
			t.Errorf("Query = %q, want %q", got, "1||a")
		}
		standby := c.Clone(t)
		standby.Start(t)
		if got := standby.Query(t, "SELECT pg_is_in_recovery()"); got != "t" {
			t.Errorf("the clone is in recovery: %q, want t", got)
		}
		pid := c.PID()
		c.Stop(t)
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("process %d exists after Stop", pid)
		}
		c.Start(t)
		c.Crash(t)
		c.Start(t)
		if !strings.Contains(c.Log(), "not properly shut down") {
			t.Errorf("no crash recovery after Crash; log:\n%s", c.Log())
		}
	})
}

func TestMainLeavesRoot(t *testing.T) {
	if os.Getuid() == 0 {
		t.Error("the tests run as root")
	}
	f, err := os.CreateTemp("", "")
	if err != nil {
		t.Fatalf("the temporary folder cannot be used: %v", err)
	}
	_ = f.Close()
}
