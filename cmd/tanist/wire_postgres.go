package main

import (
	"log/slog"
	"os"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/postgres"
	"github.com/tanist-ha/tanist/postgres/instance"
	"github.com/tanist-ha/tanist/postgres/pgxdriver"
)

// instanceConfig describes the local server. settings are those in force until the cluster's are known.
func instanceConfig(cfg *config.Config, settings postgres.Settings, log *slog.Logger) instance.Config {
	p := cfg.PostgreSQL
	c := instance.Config{
		Name: cfg.Name, Scope: cfg.Scope,
		DataDir: p.DataDir, ConfigDir: p.ConfigDir, ConfigBaseName: p.ConfigBaseName, CustomConf: p.CustomConf,
		BinDir: p.BinDir, BinNames: p.BinName,
		LogFile:         os.Getenv("TANIST_POSTGRES_LOG"),
		ListenAddresses: p.ListenAddresses(), Port: p.ListenPort, Database: p.Database,
		Superuser:   credentials(p.Authentication.Superuser),
		Replication: credentials(p.Authentication.Replication),
		Rewind:      credentials(p.Authentication.Rewind),
		PgPass:      p.PgPass, KrbSrvName: p.KrbSrvName,
		UseUnixSocket: p.UseUnixSocket, UseUnixSocketRepl: p.UseUnixSocketRepl,
		InitDB: cfg.Bootstrap.InitDB, BootstrapHBA: cfg.Bootstrap.HBA, PostBootstrap: cfg.Bootstrap.PostBootstrap,
		Connector: pgxdriver.Connector{}, Logger: log, Settings: settings,
	}
	for _, u := range cfg.Bootstrap.Users {
		c.BootstrapUsers = append(c.BootstrapUsers, instance.User{Name: u.Name, Password: string(u.Password), Options: u.Options})
	}
	return c
}

func credentials(c config.Credentials) instance.Credentials {
	return instance.Credentials{Username: c.Username, Password: string(c.Password), Options: c.Options}
}
