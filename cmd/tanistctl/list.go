package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/overview"
	"github.com/tanist-ha/tanist/internal/table"
)

// watchFlags are -W and -w of the commands that can repeat themselves.
type watchFlags struct {
	every    float64 // seconds
	default2 bool
}

func (f *watchFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&f.default2, "refresh", "W", false, "update the screen every 2 seconds")
	cmd.Flags().Float64VarP(&f.every, "watch", "w", 0, "update the screen every SECONDS")
	_ = cmd.Flags().MarkHidden("refresh") // -W has no long form in patronictl
}

// interval is the time between two updates, 0 for "print once".
func (f *watchFlags) interval() time.Duration {
	if f.default2 && f.every == 0 {
		return 2 * time.Second
	}
	return time.Duration(f.every * float64(time.Second))
}

func (a *app) listCommand() *cobra.Command {
	var watch watchFlags
	var extended, timestamp bool
	format := table.Pretty
	cmd := &cobra.Command{
		Use:   "list [OPTIONS] [CLUSTER]...",
		Short: "List the members of clusters",
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains([]string{table.Pretty, table.TSV, table.JSON, table.YAML, table.YML}, format) {
				return &usageError{cmd, fmt.Errorf("invalid value for --format: %q is not one of pretty, tsv, json, yaml, yml", format)}
			}
			return a.repeat(cmd.Context(), watch.interval(), func() error {
				if timestamp {
					fmt.Fprintln(a.out, a.now().Format(time.DateTime))
				}
				return a.printClusters(cmd.Context(), args, format, extended)
			})
		},
	}
	watch.add(cmd)
	cmd.Flags().BoolVarP(&extended, "extended", "e", false, "show every column")
	cmd.Flags().BoolVarP(&timestamp, "timestamp", "t", false, "print the time")
	cmd.Flags().StringVarP(&format, "format", "f", table.Pretty, "pretty, tsv, json, yaml or yml")
	return cmd
}

func (a *app) topologyCommand() *cobra.Command {
	var watch watchFlags
	cmd := &cobra.Command{
		Use:   "topology [OPTIONS] [CLUSTER]...",
		Short: "Draw who replicates from whom",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.repeat(cmd.Context(), watch.interval(), func() error {
				return a.printClusters(cmd.Context(), args, table.Topology, false)
			})
		},
	}
	watch.add(cmd)
	return cmd
}

// repeat runs print once, or again and again on a clean screen until ctx ends.
func (a *app) repeat(ctx context.Context, every time.Duration, print func() error) error {
	if every <= 0 {
		return print()
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		fmt.Fprint(a.out, "\x1b[2J\x1b[H")
		if err := print(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return errAborted
		case <-ticker.C:
		}
	}
}

func (a *app) printClusters(ctx context.Context, scopes []string, format string, extended bool) error {
	if len(scopes) == 0 {
		cfg, err := a.configuration()
		if err != nil {
			return err
		}
		if cfg.Scope == "" {
			fmt.Fprintln(a.err, "Listing members: No cluster names were provided")
			return nil
		}
		scopes = []string{cfg.Scope}
	}
	var errs []error
	for _, scope := range scopes {
		c, err := a.load(ctx, scope)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, a.printCluster(scope, c, format, extended))
	}
	return errors.Join(errs...)
}

// printCluster writes the table and, for people, what stands below it.
func (a *app) printCluster(scope string, c dcs.Cluster, format string, extended bool) error {
	shown := overview.Of(scope, c)
	if err := table.Members(shown, table.SystemID(c.Initialize), format, extended).Print(a.out, format); err != nil {
		return err
	}
	if !table.ForPeople(format) {
		return nil
	}
	if shown.Pause {
		fmt.Fprintln(a.out, " Maintenance mode: on")
	}
	for _, m := range c.Members {
		if m.Data.TanistWatchdog == dcs.WatchdogArmed {
			fmt.Fprintf(a.out, " Watchdog: armed on %s\n", m.Name)
		}
	}
	if s := shown.Scheduled; s != nil {
		fmt.Fprintf(a.out, " Switchover scheduled at: %s\n", s.At)
		for _, line := range [][2]string{{"from", s.From}, {"to", s.To}} {
			if line[1] != "" {
				fmt.Fprintf(a.out, "%24s: %s\n", line[0], line[1])
			}
		}
	}
	for _, n := range a.notices(c) {
		fmt.Fprintln(a.out, " Notice: "+strings.ReplaceAll(n, "\n", " "))
	}
	return nil
}
