package wire

import (
	"log/slog"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs/etcd3"
)

// Etcd3 says how to reach the store of cfg: the etcd servers that it lists, or the etcd that the agent runs itself.
func Etcd3(cfg *config.Config, logger *slog.Logger) (etcd3.Config, error) {
	switch {
	case cfg.Etcd3 != nil:
		e := cfg.Etcd3
		out := etcd3.Config{
			Endpoints: e.Endpoints(), SRV: e.SRV, SRVSuffix: e.SRVSuffix, FollowMembers: !e.UseProxies,
			Username: e.Username, Password: string(e.Password), Logger: logger,
		}
		if e.Protocol == "https" || e.SRV != "" && (e.CACert != "" || e.Cert != "") {
			out.TLS = &etcd3.TLS{CAFile: e.CACert, CertFile: e.Cert, KeyFile: e.Key}
		}
		return out, nil
	case cfg.EmbedEtcd != nil:
		e := cfg.EmbedEtcd
		out := etcd3.Config{Endpoints: e.Hosts, InOrder: true, FollowMembers: true, Logger: logger} // our own member first, and the others if it fails
		if e.Protocol == "https" {
			out.TLS = &etcd3.TLS{CAFile: e.CACert, CertFile: e.Cert, KeyFile: e.Key}
		}
		return out, nil
	}
	return etcd3.Config{}, ErrNoStore
}
