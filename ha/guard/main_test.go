package guard_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/ha/guard"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

func TestMain(m *testing.M) {
	guard.Main()
	if os.Getenv(agentMark) != "" {
		agentMain()
	}
	pgtest.Guard(m, func(m *testing.M) { goleak.VerifyTestMain(m) })
}
