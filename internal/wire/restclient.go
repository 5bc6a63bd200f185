package wire

import (
	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/rest/restclient"
)

// RESTClient says how to ask members: with the password and the certificate of the section ctl. Agents ask each other
// insecurely, as Patroni's do: without a certificate of their own they do not verify servers.
func RESTClient(cfg *config.Config, insecure bool) restclient.Options {
	return restclient.Options{
		CACert:          cfg.Ctl.CACert,
		CertFile:        cfg.Ctl.CertFile,
		KeyFile:         cfg.Ctl.KeyFile,
		KeyFilePassword: string(cfg.Ctl.KeyFilePassword),
		Insecure:        insecure,
		Username:        cfg.Ctl.Username,
		Password:        string(cfg.Ctl.Password),
	}
}
