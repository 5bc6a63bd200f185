package wire

import (
	"log/slog"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/zookeeper"
	"github.com/tanist-ha/tanist/ha/bootclock"
)

var zooKeeperPerms = map[string]zookeeper.Perms{
	"READ": zookeeper.PermRead, "WRITE": zookeeper.PermWrite, "CREATE": zookeeper.PermCreate, "DELETE": zookeeper.PermDelete,
	"ADMIN": zookeeper.PermAdmin, "ALL": zookeeper.PermAll,
}

// ZooKeeper says how to reach the ensemble of the section zookeeper or exhibitor.
func ZooKeeper(cfg *config.Config, logger *slog.Logger) (zookeeper.Config, error) {
	z := cfg.ZooKeeper
	out := zookeeper.Config{Folder: dcs.Prefix(cfg.Namespace, cfg.Scope), Tick: z.Tick, Logger: logger}
	for _, h := range z.Hosts {
		out.Hosts = append(out.Hosts, h.String())
	}
	if e := z.Exhibitor; e != nil {
		out.Discover = zookeeper.Exhibitor{Hosts: e.Hosts, Port: e.Port}.Servers
		out.DiscoverEvery = e.PollInterval
	}
	for _, a := range z.ACLs {
		acl := zookeeper.ACL{Scheme: a.Scheme, ID: a.ID}
		for _, p := range a.Perms {
			acl.Perms |= zooKeeperPerms[p]
		}
		out.ACL = append(out.ACL, acl)
	}
	for _, a := range z.Auth {
		out.Auth = append(out.Auth, zookeeper.Auth{Scheme: a.Scheme, Credential: string(a.Credential)})
	}
	if z.UseSSL {
		out.TLS = &zookeeper.TLS{
			CAFile: z.CACert, CertFile: z.Cert, KeyFile: z.Key, KeyPassword: string(z.KeyPassword), SkipVerify: !z.Verify,
		}
	}
	clock, err := bootclock.New()
	if err != nil {
		return zookeeper.Config{}, err
	}
	out.Now = clock.Now
	return out, nil
}
