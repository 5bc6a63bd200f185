package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/tanist-ha/tanist/internal/logging"
	"github.com/tanist-ha/tanist/internal/wire"
)

// catchSignals makes signals arrive on the channel instead of ending the process. Early ones wait there.
func catchSignals() (signals chan os.Signal, release func()) {
	signals = make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	return signals, func() { signal.Stop(signals) }
}

// handleSignals reads the configuration again at SIGHUP and ends the agent in order at SIGTERM or SIGINT. At the second
// one of these it ends at once and leaves PostgreSQL as it is. It returns when ctx ends.
func (a *agent) handleSignals(ctx context.Context, signals <-chan os.Signal) {
	asked := false
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			switch {
			case asked && s != syscall.SIGHUP:
				a.log.Error("asked to end a second time: ending at once, PostgreSQL is left as it is")
				os.Exit(1)
			case asked:
			case s == syscall.SIGHUP:
				a.reload()
			default:
				asked = true
				a.log.Info("asked to end; a second time ends at once", "signal", s.String())
				notify(stoppingState)
				a.stop(errAsked)
			}
		}
	}
}

// reload reads the local configuration again.
func (a *agent) reload() {
	notify(reloadingState())
	defer notify(readyState)
	next, settings, restart, warnings, err := a.live.reload()
	for _, w := range warnings {
		a.log.Warn(w.String())
	}
	if err != nil {
		a.log.Error("the configuration was not reloaded; what was in force stays", "error", err)
		return
	}
	a.level.Set(logging.Level(next.Log.Level))
	wire.Reload(a.store.backend, next)
	a.catalog.reload(next.Consul)
	a.node.Reload(settings)
	if err := a.server.ReloadCertificates(); err != nil {
		a.log.Error("the certificate of the REST API was not reloaded", "error", err)
	}
	for _, key := range restart {
		a.log.Warn("this setting takes effect when the agent is started anew", "key", key)
	}
	a.log.Info("the configuration was reloaded")
}
