package wire

import (
	"errors"
	"log/slog"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/consul"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/dcs/zookeeper"
)

// ErrNoStore says that the configuration names no store.
var ErrNoStore = errors.New("can not find suitable configuration of distributed configuration store; available: etcd3, consul, zookeeper, exhibitor, embedetcd")

// Backend opens the store that cfg names, or fails with ErrNoStore. Nothing is sent before the first request: a store that
// cannot be reached is no reason not to start, and least of all beside a server that runs already.
func Backend(cfg *config.Config, logger *slog.Logger) (dcs.Backend, error) {
	switch {
	case cfg.Etcd3 != nil, cfg.EmbedEtcd != nil:
		how, err := Etcd3(cfg, logger)
		if err != nil {
			return nil, err
		}
		return etcd3.New(how)
	case cfg.Consul != nil:
		return consul.New(Consul(cfg, logger))
	case cfg.ZooKeeper != nil:
		how, err := ZooKeeper(cfg, logger)
		if err != nil {
			return nil, err
		}
		return zookeeper.New(how)
	}
	return nil, ErrNoStore
}

// Reload makes b, opened by Backend, use what next says of user and password, or of the token.
func Reload(b dcs.Backend, next *config.Config) {
	switch store := b.(type) {
	case *etcd3.Backend:
		if next.Etcd3 != nil {
			store.SetCredentials(next.Etcd3.Username, string(next.Etcd3.Password))
		}
	case *consul.Backend:
		if next.Consul != nil {
			store.SetToken(string(next.Consul.Token))
		}
	}
}
