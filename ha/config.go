package ha

import (
	"errors"
	"log/slog"
	"time"
)

// Config is what a node is made of. Everything in it stays for the node's life; what may change is Settings.
type Config struct {
	Name  string // unique in the cluster
	Scope string // name of the cluster
	// Version is published in the member key. Patroni's peers parse it: X.Y.Z, 4.1.x. "": PatroniVersion.
	Version string
	// Release is tanist's own version, published beside it.
	Release string
	// Addresses that are published: ConnURL as postgres://host:port/database, APIURL as http(s)://host:port/patroni.
	ConnURL, APIURL, ProxyURL string
	StartID                   string // random id of this run, also answered by REST so that a node knows its own answers; "": one is made

	// BootstrapConfig is the dynamic configuration that this node writes if it founds the cluster (JSON of bootstrap.dcs).
	// nil: this node never founds one.
	BootstrapConfig []byte

	Clock    Clock
	Store    Store
	Postgres Postgres
	Peers    Peers
	Fence    Fence    // Unfenced{} says that there is none
	Watchdog Watchdog // nil: none, whatever the settings say
	Hooks    Hooks
	Parse    Parse
	Cache    Cache    // nil: none
	Recorder Recorder // nil: none
	Logger   *slog.Logger
	Rules    *Rulebook // nil: the standard rules

	// ShutdownTimeout bounds the orderly stop after Run's context has ended; 0: as long as the server needs.
	ShutdownTimeout time.Duration
}

// PatroniVersion is the version of Patroni whose keys and behaviour this release speaks.
const PatroniVersion = "4.1.4"

// Cache keeps the last dynamic configuration over restarts (Patroni's patroni.dynamic.json).
type Cache interface {
	Load() []byte // nil: none
	Save(raw []byte) error
}

// Validate joins all that is missing or wrong.
func (c *Config) Validate() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(c.Name != "", "Name is empty")
	need(c.Scope != "", "Scope is empty")
	need(c.Clock != nil, "Clock is nil")
	need(c.Store != nil, "Store is nil")
	need(c.Postgres != nil, "Postgres is nil")
	need(c.Peers != nil, "Peers is nil")
	need(c.Fence != nil, "Fence is nil: pass ha.Unfenced{} to run without one, and say so to your users")
	need(c.Parse != nil, "Parse is nil")
	need(c.Logger != nil, "Logger is nil")
	return errors.Join(errs...)
}
