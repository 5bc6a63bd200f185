package main

import (
	"fmt"
	"log/slog"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/bootclock"
	"github.com/tanist-ha/tanist/ha/guard"
	"github.com/tanist-ha/tanist/postgres/instance"
)

// fence is what ends the server when the agent cannot.
type fence struct {
	ha.Fence
	launcher instance.Launcher // nil: servers are started without a guard
	close    func() error
}

// newFence starts the guard, idle. An agent without one has to be asked for.
func newFence(unfenced bool, clock *bootclock.Clock, log *slog.Logger) (fence, error) {
	if unfenced {
		log.Warn("unfenced: if this agent dies or hangs, its server stays writable beside the next primary")
		return fence{ha.Unfenced{}, nil, func() error { return nil }}, nil
	}
	g, err := guard.New(guard.Config{Boottime: clock.Boottime, Logger: log})
	if err != nil {
		return fence{}, &hinted{fmt.Errorf("start the guard: %w", err),
			"where there can be none, --unfenced runs without; a killed or frozen agent then leaves its server writable"}
	}
	return fence{g, g, g.Close}, nil
}
