package wire

import (
	"log/slog"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs/consul"
)

// Consul says how to reach the agent of the section consul. Sessions carry the name that Patroni gives them.
func Consul(cfg *config.Config, logger *slog.Logger) consul.Config {
	c := cfg.Consul
	out := consul.Config{
		URL: c.URL(), Token: string(c.Token), Datacenter: c.DC, Consistency: consul.Consistency(c.Consistency),
		Checks: c.Checks, SessionName: cfg.Scope + "-" + cfg.Name, Logger: logger,
	}
	if c.Scheme == "https" {
		out.TLS = &consul.TLS{CAFile: c.CACert, CertFile: c.Cert, KeyFile: c.Key, Insecure: !c.Verify}
	}
	return out
}
