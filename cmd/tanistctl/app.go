package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/version"
)

// app is one run of the tool: what it reads and writes, and how it reaches the store and the members. Tests set the fields.
type app struct {
	in       *bufio.Reader
	out, err io.Writer
	environ  []string
	now      func() time.Time

	connect func(ctx context.Context, cfg *config.Config) (store, error)
	client  func(cfg *config.Config) (requester, error)

	file, dcsURL string // -c, -d
	insecure     bool   // -k
	loaded       *config.Config
	stores       map[string]store // by scope, closed when the command ends
}

// store is what the tool needs of a cluster's place in the store.
type store interface {
	// Load reads the whole cluster, linearizably.
	Load(ctx context.Context) (dcs.Cluster, error)
	// PutFailover asks for a switchover or failover without a member's help; prev is the version of the request that
	// Load showed, 0 for none.
	PutFailover(ctx context.Context, prev dcs.Version, f dcs.Failover) error
	Close() error
}

// requester sends one request to the REST API of a member.
type requester interface {
	// Request returns the answer's status and body. body, if not nil, is sent as JSON.
	Request(ctx context.Context, member dcs.Member, method, path string, body any) (status int, answer []byte, err error)
}

// run carries out one command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	for _, s := range a.stores {
		s.Close() // nothing was written that closing could lose
	}
	return report(ctx, a.err, err)
}

// root is the tree of commands. Global options stand before the command, as in patronictl.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:              "tanistctl [OPTIONS] COMMAND",
		Short:            "Show and steer PostgreSQL clusters that tanist or Patroni keeps",
		Version:          version.Release,
		SilenceErrors:    true,
		SilenceUsage:     true,
		TraverseChildren: true,
		Args: usage(func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("no such command %q", args[0])
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(a.err)
			return errors.Join(cmd.Help(), &usageError{cmd, errors.New("missing command")})
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{cmd, err} })
	f := root.Flags()
	f.StringVarP(&a.file, "config-file", "c", "", "configuration file; the agent's own will do (env PATRONICTL_CONFIG_FILE)")
	f.StringVarP(&a.dcsURL, "dcs-url", "d", "", "store to use instead of the file's, as scheme://host:port/namespace (env DCS_URL)")
	f.StringVar(&a.dcsURL, "dcs", "", "the same as --dcs-url")
	f.BoolVarP(&a.insecure, "insecure", "k", false, "do not verify the certificates of members")
	_ = f.MarkHidden("dcs") // the flag exists
	root.AddCommand(a.listCommand(), a.topologyCommand(), a.switchoverCommand(), a.failoverCommand(), a.explainCommand(), a.adoptCommand(), a.etcdCommand())
	return root
}

// getenv looks a variable up in the environment of this run.
func (a *app) getenv(name string) (value string, ok bool) {
	for _, pair := range a.environ {
		if k, v, _ := strings.Cut(pair, "="); k == name {
			value, ok = v, true
		}
	}
	return value, ok
}

// scope is the cluster that a command is about: its argument, or the one of the configuration.
func (a *app) scope(args []string) (string, error) {
	if len(args) > 0 && args[0] != "" {
		return args[0], nil
	}
	cfg, err := a.configuration()
	if err != nil {
		return "", err
	}
	if cfg.Scope == "" {
		return "", &hinted{errors.New("no cluster is named"), "name it as an argument, or set scope in the configuration file"}
	}
	return cfg.Scope, nil
}

// store opens the place of one cluster in the store, once per run.
func (a *app) store(ctx context.Context, scope string) (store, error) {
	if s := a.stores[scope]; s != nil {
		return s, nil
	}
	cfg, err := a.configuration()
	if err != nil {
		return nil, err
	}
	of := *cfg
	of.Scope = scope
	s, err := a.connect(ctx, &of)
	if err != nil {
		return nil, err
	}
	if a.stores == nil {
		a.stores = map[string]store{}
	}
	a.stores[scope] = s
	return s, nil
}

// load reads one cluster.
func (a *app) load(ctx context.Context, scope string) (dcs.Cluster, error) {
	s, err := a.store(ctx, scope)
	if err != nil {
		return dcs.Cluster{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	c, err := s.Load(ctx)
	if err != nil {
		return c, &hinted{fmt.Errorf("read cluster %s: %w", scope, err), "check that the store named in the configuration runs and can be reached from here"}
	}
	return c, nil
}

// storeTimeout bounds one request to the store, as retry_timeout bounds the agent's.
const storeTimeout = 10 * time.Second

// requester opens the way to the members' REST APIs.
func (a *app) requester() (requester, error) {
	cfg, err := a.configuration()
	if err != nil {
		return nil, err
	}
	return a.client(cfg)
}

// timestamp is the time in the form that patronictl puts before what has happened.
func (a *app) timestamp() string { return a.now().Format("2006-01-02 15:04:05.00000") }
