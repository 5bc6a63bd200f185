package main

import (
	"time"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/ha/watchdog"
)

// newWatchdog makes the watchdog that the local file names. Nothing is opened before a leader needs it, and nothing is closed at the end: a
// device that still runs when the agent goes is to reset the machine.
func newWatchdog(cfg *config.Config, now func() time.Time) (*watchdog.Watchdog, error) {
	return watchdog.New(watchdog.Config{Device: cfg.Watchdog.Device, Driver: cfg.Watchdog.Driver, Now: now})
}
