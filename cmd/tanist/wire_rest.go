package main

import (
	"context"
	"log/slog"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/internal/version"
	"github.com/tanist-ha/tanist/rest"
)

// newServer listens for the REST API, so that a port in use is known before anything else starts.
func newServer(ctx context.Context, cfg *config.Config, node *ha.Node, store *dcs.Client, peers ha.Peers, log *slog.Logger) (*rest.Server, error) {
	r := cfg.RestAPI
	verify := rest.Verify(r.VerifyClient)
	handler, err := rest.NewHandler(rest.Config{
		Node: node, Store: store, Peers: peers, Patch: config.Patch,
		Version: version.Patroni, Release: version.Release,
		Access: rest.Access{
			Username: r.Username, Password: string(r.Password), Verify: verify,
			Allowlist: r.Allowlist, AllowlistIncludeMembers: r.AllowlistIncludeMembers,
		},
		ServerTokens: r.ServerTokens, HTTPHeaders: r.HTTPExtraHeaders, HTTPSHeaders: r.HTTPSExtraHeaders,
		Logger: log,
	})
	if err != nil {
		return nil, err
	}
	return rest.Listen(ctx, rest.ServerConfig{
		Listen: r.Listen.String(),
		TLS: rest.TLS{
			CertFile: r.CertFile, KeyFile: r.KeyFile, KeyFilePassword: string(r.KeyFilePassword), CAFile: r.CAFile, Verify: verify,
		},
		Handler: handler,
		Logger:  log,
	})
}
