package pgtest_test

import (
	"testing"

	"github.com/tanist-ha/tanist/postgres/pgtest"
)

// A test that needs a server is run once for each installed major.
func ExampleRunAll() {
	test := func(t *testing.T) {
		pgtest.RunAll(t, func(t *testing.T, binDir string) {
			c := pgtest.Init(t, binDir)
			c.Start(t)
			if got := c.Query(t, "SHOW wal_log_hints"); got != "on" {
				t.Errorf("wal_log_hints = %q, want on", got)
			}
		})
	}
	_ = test // func TestHints(t *testing.T) is how it stands in a test file
}
