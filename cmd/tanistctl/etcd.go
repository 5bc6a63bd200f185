package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tanist-ha/tanist/config"
	etcd "github.com/tanist-ha/tanist/dcs/embedetcd/members"
)

// etcdCommand is about the etcd that the agents run themselves.
func (a *app) etcdCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "etcd",
		Short: "Show the members of the embedded etcd, or remove one that is gone for good",
		Args: usage(func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("no such command %q", args[0])
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var force bool
	remove := &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a member that is gone for good",
		Long: "Removes a member whose machine will not come back under its address. One that lost its disk needs no removing: start it\n" +
			"with an empty data directory. A removed member that runs ends itself.",
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.removeEtcdMember(cmd.Context(), args[0], force)
		},
	}
	remove.Flags().BoolVar(&force, "force", false, "do not ask, and remove also a member that answers")
	cmd.AddCommand(&cobra.Command{
		Use: "members", Short: "Show the members", Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.printEtcdMembers(cmd.Context()) },
	}, remove)
	return cmd
}

// withEtcd opens the embedded etcd of the configuration for f.
func (a *app) withEtcd(ctx context.Context, f func(ctx context.Context, c *etcd.Cluster, files *etcd.TLS) error) error {
	cfg, err := a.configuration()
	if err != nil {
		return err
	}
	if cfg.EmbedEtcd == nil {
		return &hinted{errors.New("the configuration has no section embedetcd"), "give the agent's own file with -c; for a separate etcd use etcdctl"}
	}
	files := etcdFiles(cfg.EmbedEtcd)
	c, err := etcd.Open(cfg.EmbedEtcd.Hosts, files)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return f(ctx, c, files)
}

func etcdFiles(e *config.EmbedEtcd) *etcd.TLS {
	if e.Protocol != "https" {
		return nil
	}
	return &etcd.TLS{CertFile: e.Cert, KeyFile: e.Key, CAFile: e.CACert}
}

func (a *app) printEtcdMembers(ctx context.Context) error {
	return a.withEtcd(ctx, func(ctx context.Context, c *etcd.Cluster, files *etcd.TLS) error {
		list, err := c.List(ctx)
		if err != nil {
			return err
		}
		etcd.Look(ctx, list, files)
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "MEMBER\tID\tADDRESS\tROLE\tMB\tSTATE")
		for _, m := range list {
			fmt.Fprintf(w, "%s\t%x\t%s\t%s\t%.1f\t%s\n", m.Name, m.ID, strings.Join(m.PeerURLs, ","), etcdRole(m), float64(m.SizeBytes)/1e6, etcdState(m))
		}
		return w.Flush()
	})
}

func etcdRole(m etcd.Member) string {
	switch {
	case m.Leader:
		return "leader"
	case m.Learner:
		return "learner"
	}
	return "follower"
}

func etcdState(m etcd.Member) string {
	switch {
	case m.Healthy && m.Problem == "":
		return "healthy"
	case m.Problem == "":
		return "knows no leader"
	}
	return m.Problem
}

func (a *app) removeEtcdMember(ctx context.Context, name string, force bool) error {
	return a.withEtcd(ctx, func(ctx context.Context, c *etcd.Cluster, files *etcd.TLS) error {
		list, err := c.List(ctx)
		if err != nil {
			return err
		}
		for _, m := range list {
			if m.Name != name {
				continue
			}
			one := []etcd.Member{m}
			etcd.Look(ctx, one, files)
			if one[0].Healthy && !force {
				return &hinted{fmt.Errorf("%s answers, and takes part in the cluster", name), "stop its agent first; --force removes it all the same"}
			}
			if err := c.Remove(ctx, m.ID); err != nil {
				return &hinted{err, "etcd refuses to remove members while fewer than a majority would be left, or in the seconds after one was lost: try again"}
			}
			fmt.Fprintf(a.out, "%s (%x) is removed; take it out of initial_cluster and hosts on the other machines\n", name, m.ID)
			return nil
		}
		return fmt.Errorf("the etcd cluster has no member %s", name)
	})
}
