package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/bootclock"
	"github.com/tanist-ha/tanist/ha/flight"
	"github.com/tanist-ha/tanist/internal/version"
	"github.com/tanist-ha/tanist/internal/wire"
	"github.com/tanist-ha/tanist/postgres/instance"
	"github.com/tanist-ha/tanist/rest"
	"github.com/tanist-ha/tanist/rest/restclient"
)

// agent is one run of the program: the node, what it stands on, and who asks it.
type agent struct {
	cfg    *config.Config // as it was at the start
	live   *liveConfig    // as it is now
	log    *slog.Logger
	level  *slog.LevelVar
	stop   func(cause error) // begins the orderly end
	output io.Closer         // log file, nil if there is none

	how    options
	record *flight.Recorder

	store    *storeParts
	catalog  *catalog // nil: the node is not shown in Consul's
	fence    fence
	postgres *instance.Instance
	hooks    *instance.Callbacks
	node     *ha.Node
	server   *rest.Server
	work     sync.WaitGroup
}

// options are those of the command line.
type options struct {
	record   string // file of the flight record; "": none
	unfenced bool   // run without a guard
}

// runAgent runs until a signal or an error ends it. It returns nil after an orderly end.
func runAgent(ctx context.Context, from config.Options, how options, stderr io.Writer) error {
	cfg, warnings, err := config.Load(from)
	if cfg != nil {
		more, lacks := cfg.Validate(config.Checks{Programs: true, Files: true})
		warnings, err = append(warnings, more...), joinErrors(err, lacks)
	}
	if err != nil {
		return err
	}
	if err := refuseRoot(os.Geteuid(), cfg.PostgreSQL.DataDir); err != nil {
		return err
	}
	signals, release := catchSignals()
	defer release()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	a := &agent{cfg: cfg, live: newLiveConfig(from, cfg), stop: stop, how: how}
	if a.log, a.level, a.output, err = newLogger(cfg.Log, stderr); err != nil {
		return err
	}
	defer a.close()
	a.log.Info("tanist "+version.Release, "name", cfg.Name, "scope", cfg.Scope, "pid", os.Getpid())
	for _, w := range warnings {
		a.log.Warn(w.String())
	}
	if a.store, err = newStore(a.cfg, a.log); err != nil {
		return err
	}
	if err := a.awaitOneHome(ctx, signals); err != nil {
		if errors.Is(err, errAsked) {
			return nil
		}
		return err
	}
	if err := a.assemble(ctx); err != nil {
		return err
	}
	return a.run(ctx, signals)
}

// refuseRoot says early and clearly what PostgreSQL would say late.
func refuseRoot(uid int, dataDir string) error {
	if uid != 0 {
		return nil
	}
	return &hinted{errors.New("PostgreSQL refuses to run as root, and so does its agent"),
		"start it as the user that owns " + dataDir + ", on most systems postgres"}
}

// assemble makes the other parts, in the order in which they need each other. Nothing here waits for other machines.
func (a *agent) assemble(ctx context.Context) error {
	clock, err := bootclock.New()
	if err != nil {
		return err
	}
	startID := rand.Text()
	peers, err := restclient.New(wire.RESTClient(a.cfg, true))
	if err != nil {
		return err
	}
	settings, err := a.live.Parse(nil)
	if err != nil {
		return err
	}
	if a.fence, err = newFence(a.how.unfenced, clock, a.log); err != nil {
		return err
	}
	server := instanceConfig(a.cfg, settings.Postgres, a.log)
	server.Now, server.Launcher = clock.Now, a.fence.launcher
	if a.postgres, err = instance.New(server); err != nil {
		return err
	}
	a.hooks = instance.NewCallbacks(a.cfg.Scope, a.log)
	recorder, err := a.openRecord()
	if err != nil {
		return err
	}
	watchdog, err := newWatchdog(a.cfg, clock.Now)
	if err != nil {
		return err
	}
	a.node, err = ha.NewNode(ha.Config{
		Name: a.cfg.Name, Scope: a.cfg.Scope, Version: version.Patroni, Release: version.Release, StartID: startID,
		ConnURL: a.cfg.ConnURL(), APIURL: a.cfg.APIURL(), ProxyURL: a.cfg.ProxyURL(),
		BootstrapConfig: a.cfg.Bootstrap.DCS,
		Clock:           clock,
		Store:           a.store.client,
		Postgres:        a.postgres,
		Peers:           peers,
		Fence:           a.fence.Fence,
		Watchdog:        watchdog,
		Hooks:           hooks{a.hooks},
		Parse:           a.live.Parse,
		Cache:           usableCache{a.cfg.Cache(), a.cfg},
		Recorder:        recorder,
		Logger:          a.log,
	})
	if err != nil {
		return err
	}
	a.catalog = newCatalog(a)
	a.server, err = newServer(ctx, a.cfg, a.node, a.store.client, peers, a.log)
	return err
}

// openRecord begins the flight record, if one is asked for.
func (a *agent) openRecord() (ha.Recorder, error) {
	if a.how.record == "" {
		return nil, nil
	}
	var err error
	a.record, err = flight.Open(flight.Options{File: a.how.record, Logger: a.log})
	if err != nil {
		return nil, err
	}
	return a.record, nil
}

// run answers, keeps the node until ctx ends, and then ends all of it in order.
func (a *agent) run(ctx context.Context, signals <-chan os.Signal) error {
	services, end := context.WithCancel(context.WithoutCancel(ctx)) // they serve the node until it has ended
	defer end()
	a.work.Go(func() {
		if err := a.server.Serve(); err != nil {
			a.stop(fmt.Errorf("serve the REST API: %w", err))
		}
	})
	a.work.Go(func() { a.store.run(services) })
	a.work.Go(func() { a.handleSignals(services, signals) })
	a.work.Go(func() { a.tellSystemd(services) })
	if a.catalog != nil {
		a.work.Go(func() { a.catalog.run(services) })
	}

	err := a.node.Run(ctx)
	if err == nil {
		err = endCause(ctx)
	}
	a.sayGoodbye(services)
	end()
	a.work.Wait()
	if err == nil {
		a.log.Info("ended in order")
	}
	return err
}

// sayGoodbye ends the session, so that nobody counts on a node that is gone, and then the REST API.
func (a *agent) sayGoodbye(services context.Context) {
	ctx, cancel := context.WithTimeout(services, goodbye)
	defer cancel()
	if err := a.store.client.Close(ctx); err != nil {
		a.log.Warn("the member key is left to expire", "error", err)
	}
	if err := a.server.Shutdown(ctx); err != nil {
		a.log.Debug("connections to the REST API were cut", "error", err)
	}
	last, done := context.WithTimeout(services, lastCallback)
	defer done()
	a.hooks.Wait(last)
}

// goodbye bounds what is done after the node has ended; lastCallback is the time that the user's on_stop has.
const (
	goodbye      = 2 * time.Second
	lastCallback = 10 * time.Second
)

// close releases what a run, or a start that failed, has left.
func (a *agent) close() {
	if a.hooks != nil {
		a.hooks.Close()
	}
	if a.postgres != nil {
		if err := a.postgres.Close(); err != nil {
			a.log.Warn("releasing the data directory", "error", err)
		}
	}
	if a.fence.Fence != nil {
		if err := a.fence.close(); err != nil {
			a.log.Warn("letting the guard go", "error", err)
		}
	}
	if a.store != nil {
		a.store.close()
	}
	if a.record != nil {
		if err := a.record.Close(); err != nil {
			a.log.Warn(err.Error())
		}
	}
	if a.output != nil {
		a.output.Close()
	}
}

// hooks passes the node's notifications to the user's commands.
type hooks struct{ *instance.Callbacks }

// Notify implements ha.Hooks.
func (h hooks) Notify(n ha.Notification) {
	if n.Command != "" {
		h.Run(n.Command, n.Action, string(n.Role))
	}
}
