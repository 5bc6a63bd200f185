package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/wire"
	"github.com/tanist-ha/tanist/postgres"
)

// adopter is a store that may miss a cluster that Patroni keeps elsewhere.
type adopter interface {
	store
	// Legacy says whether it does, and what it was told.
	Legacy(ctx context.Context) (etcd3.Legacy, string)
	// SetInitialize writes the system identifier over what Load showed.
	SetInitialize(ctx context.Context, prev *dcs.Initialize, systemID string) error
}

func (a *app) adoptCommand() *cobra.Command {
	var systemID string
	cmd := &cobra.Command{
		Use:   "adopt [OPTIONS] [CLUSTER]",
		Short: "Confirm that a cluster of the section etcd is no longer Patroni's",
		Long: `Under the section etcd, Patroni keeps its clusters in the keyspace of etcd's version 2. Where an agent cannot find out whether
this cluster is there, it waits, as it would promote beside Patroni. When Patroni is stopped on all members, this command
puts the cluster into version 3, by its system identifier, and the agents go on.

Run it where a member's configuration and data directory are, or name the identifier.`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.adopt(cmd.Context(), args, systemID) },
	}
	cmd.Flags().StringVar(&systemID, "system-identifier", "", "of the cluster, as pg_controldata prints it; else it is read from the data directory")
	return cmd
}

func (a *app) adopt(ctx context.Context, args []string, systemID string) error {
	scope, err := a.scope(args)
	if err != nil {
		return err
	}
	cluster, err := a.load(ctx, scope)
	if err != nil {
		return err
	}
	if i := cluster.Initialize; i != nil && dcs.ValidSystemID(i.SystemID) {
		fmt.Fprintf(a.out, "Cluster %s is in version 3 already, with system identifier %s: nothing to do\n", scope, i.SystemID)
		return nil
	}
	if systemID == "" {
		if systemID, err = systemIDOf(ctx, a.loaded); err != nil {
			return &hinted{err, "run this where a member's data directory is, or give --system-identifier"}
		}
	}
	s, err := a.store(ctx, scope)
	if err != nil {
		return err
	}
	home, ok := s.(adopter)
	if !ok {
		return refuse("Only clusters on etcd can be adopted")
	}
	fmt.Fprintf(a.out, "If Patroni still runs on any member of %s, there will be two primaries. Stop it everywhere first.\n", scope)
	if _, said := home.Legacy(ctx); said != "" {
		fmt.Fprintf(a.out, "What etcd's version 2 says: %s\n", said)
	}
	typed, err := a.ask(ctx, fmt.Sprintf("To adopt system %s, type the name of the cluster", systemID), "")
	if err != nil {
		return err
	}
	if typed != scope {
		return refuse("Cluster names specified do not match")
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := home.SetInitialize(ctx, cluster.Initialize, systemID); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "Cluster %s is adopted\n", scope)
	return nil
}

// systemIDOf reads the identifier of the data directory that cfg names.
func systemIDOf(ctx context.Context, cfg *config.Config) (string, error) {
	pg := cfg.PostgreSQL
	cmd := exec.CommandContext(ctx, pg.Program("pg_controldata"), "-D", pg.DataDir)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("read the system identifier: %w", err)
	}
	control, err := postgres.ParseControlData(string(out))
	if err != nil {
		return "", fmt.Errorf("read the system identifier: %w", err)
	}
	return control.SystemID, nil
}

// legacyTimeout bounds the look into version 2, which waits for each endpoint.
const legacyTimeout = 2 * time.Second

// refuseLegacy keeps the tool from showing an empty cluster, or writing to it, where Patroni keeps one.
func refuseLegacy(ctx context.Context, cfg *config.Config, b dcs.Backend) error {
	ctx, cancel := context.WithTimeout(ctx, legacyTimeout)
	defer cancel()
	if legacy, _ := wire.Legacy(ctx, cfg, b); legacy == etcd3.LegacyFound {
		return wire.FoundLegacy(cfg)
	}
	return nil
}
