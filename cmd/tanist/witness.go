package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/internal/logging"
	"github.com/tanist-ha/tanist/internal/version"
)

func witnessCommand(environ []string) *cobra.Command {
	var validate, ignorePorts bool
	cmd := &cobra.Command{
		Use:   "witness [FILE]",
		Short: "Run a member of the embedded etcd and no PostgreSQL",
		Long: "A witness is the third machine of a cluster of two: it holds a vote in the embedded etcd, so that the loss of either\n" +
			"PostgreSQL machine leaves a majority. It needs scope, embedetcd and, if wanted, log; other sections of FILE are ignored.\n" +
			"Its health is at /health of embedetcd's client_listen, its metrics at /metrics.\n\n" +
			"SIGTERM ends it in order, SIGHUP reads log.level again. Certificates are read again by themselves.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			from := config.Options{Environ: environ}
			if len(args) > 0 {
				from.Path = args[0]
			}
			checks := config.Checks{Files: true, Ports: validate && !ignorePorts}
			if !validate {
				return runWitness(cmd.Context(), from, checks, cmd.ErrOrStderr())
			}
			_, warnings, err := loadWitness(from, checks)
			for _, warning := range warnings {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", warning)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&validate, "validate-config", false, "check the configuration and exit")
	cmd.Flags().BoolVarP(&ignorePorts, "ignore-listen-port", "i", false, "with --validate-config: do not mind ports that are in use")
	return cmd
}

func loadWitness(from config.Options, checks config.Checks) (*config.Config, []config.Warning, error) {
	cfg, warnings, err := config.Load(from)
	if cfg != nil {
		more, lacks := cfg.ValidateWitness(checks)
		warnings, err = append(warnings, more...), joinErrors(err, lacks)
	}
	if err == nil {
		member := memberConfig(cfg.EmbedEtcd, nil)
		err = member.Validate()
	}
	return cfg, warnings, err
}

// witness is one run of a member without a server.
type witness struct {
	from  config.Options
	store *storeParts
	log   *slog.Logger
	level *slog.LevelVar
	stop  func(cause error)
}

func runWitness(ctx context.Context, from config.Options, checks config.Checks, stderr io.Writer) error {
	cfg, warnings, err := loadWitness(from, checks)
	if err != nil {
		return err
	}
	signals, release := catchSignals()
	defer release()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	w := &witness{from: from, stop: stop}
	var output io.Closer
	if w.log, w.level, output, err = newLogger(cfg.Log, stderr); err != nil {
		return err
	}
	if output != nil {
		defer output.Close()
	}
	w.log.Info("tanist "+version.Release+", a witness", "name", cfg.EmbedEtcd.Name, "scope", cfg.Scope, "pid", os.Getpid())
	for _, warning := range warnings {
		w.log.Warn(warning.String())
	}
	member := memberConfig(cfg.EmbedEtcd, w.log)
	w.store = &storeParts{member: &member, log: w.log, started: make(chan struct{})}
	services, end := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { w.handleSignals(services, signals) })
	work.Go(func() { w.tellSystemd(services) })
	w.store.run(ctx)
	end()
	work.Wait()
	if err := endCause(ctx); err != nil {
		return err
	}
	w.log.Info("ended in order")
	return nil
}

func (w *witness) handleSignals(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			if s == syscall.SIGHUP {
				w.reload()
				continue
			}
			w.log.Info("asked to end", "signal", s.String())
			notify(stoppingState)
			w.stop(errAsked)
		}
	}
}

// reload takes over what can change while a member runs: the level of the log.
func (w *witness) reload() {
	notify(reloadingState())
	defer notify(readyState)
	cfg, _, err := loadWitness(w.from, config.Checks{Files: true})
	if err != nil {
		w.log.Error("the configuration was not reloaded; what was in force stays", "error", err)
		return
	}
	w.level.Set(logging.Level(cfg.Log.Level))
	w.log.Info("the level of the log was reloaded; other settings take effect when the witness is started anew")
}

// tellSystemd says that the witness is ready when its member takes part, and then keeps the service manager's watchdog calm for as long
// as the member answers. A member that waits for others is no reason to be restarted.
func (w *witness) tellSystemd(ctx context.Context) {
	select {
	case <-w.store.started:
	case <-ctx.Done():
		return
	}
	notify(readyState)
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return
	}
	ticker := time.NewTicker(interval / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			one, done := context.WithTimeout(ctx, interval/4)
			if m := w.store.running(); m == nil || m.Alive(one) {
				notify(daemon.SdNotifyWatchdog)
			}
			done()
		}
	}
}
