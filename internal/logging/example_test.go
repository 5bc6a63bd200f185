package logging_test

import (
	"log/slog"
	"os"

	"github.com/tanist-ha/tanist/internal/logging"
)

func Example() {
	log := logging.New(logging.Options{Output: os.Stdout, Level: new(slog.LevelVar), Format: "%(levelname)s: %(message)s"})
	log.Info("became the leader", "rule", "vacant.acquire")
	// Output: INFO: became the leader rule=vacant.acquire
}
