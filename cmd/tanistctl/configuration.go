package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/wire"
)

// configuration reads the configuration, once per run.
func (a *app) configuration() (*config.Config, error) {
	if a.loaded != nil {
		return a.loaded, nil
	}
	path, err := a.configPath()
	if err != nil {
		return nil, err
	}
	url := a.dcsURL
	if url == "" {
		url, _ = a.getenv("DCS_URL")
	}
	environ := a.environ
	if url != "" { // so that a store's URL alone is a configuration
		environ = slices.Concat(environ, []string{"PATRONI_CTL_INSECURE=" + fmt.Sprint(a.insecure)})
	}
	// The tool works with what it can read: a mistake in a section that only the agent needs is the agent's to report.
	cfg, _, problems := config.Load(config.Options{Path: path, Environ: environ})
	if cfg == nil {
		return nil, problems
	}
	if url != "" {
		if err := wire.Override(cfg, url); err != nil {
			return nil, err
		}
	}
	if !cfg.HasStore() {
		if problems == nil {
			problems = &hinted{wire.ErrNoStore, "name the configuration file with -c, or the store with -d etcd3://HOST:PORT"}
		}
		return nil, problems
	}
	cfg.Ctl.Insecure = cfg.Ctl.Insecure || a.insecure
	a.loaded = cfg
	return cfg, nil
}

// configPath finds the configuration file, "" for none. A file that was named must be there; the default one need not.
func (a *app) configPath() (string, error) {
	path := a.file
	if path == "" {
		path, _ = a.getenv("PATRONICTL_CONFIG_FILE")
	}
	if path != "" {
		f, err := os.Open(path)
		if err != nil {
			return "", refuse("Provided config file %s not existing or no read rights. Check the -c/--config-file parameter", path)
		}
		return path, f.Close()
	}
	base, ok := a.getenv("XDG_CONFIG_HOME")
	if !ok || base == "" {
		home, ok := a.getenv("HOME")
		if !ok {
			return "", nil
		}
		base = filepath.Join(home, ".config")
	}
	path = filepath.Join(base, "patroni", "patronictl.yaml")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return path, nil
}

// clusterStore is the store of one cluster.
type clusterStore struct {
	*dcs.Client
	cfg     *config.Config
	backend dcs.Backend
}

// Legacy implements adopter.
func (s clusterStore) Legacy(ctx context.Context) (etcd3.Legacy, string) {
	return wire.Legacy(ctx, s.cfg, s.backend)
}

func (s clusterStore) Close() error { return s.backend.Close() }

// connect opens the store of cfg. Nothing is sent before the first request, but the question whether the cluster is elsewhere.
func connect(ctx context.Context, cfg *config.Config) (store, error) {
	backend, err := wire.Backend(cfg, nil)
	if err != nil {
		return nil, err
	}
	if err := refuseLegacy(ctx, cfg, backend); err != nil {
		return nil, errors.Join(err, backend.Close())
	}
	client := dcs.NewClient(backend, dcs.Options{Namespace: cfg.Namespace, Scope: cfg.Scope})
	return clusterStore{client, cfg, backend}, nil
}
