// Agent is what it takes to embed a node: it keeps one PostgreSQL server of this machine in a cluster, with its peers, through etcd.
//
//	agent -name a -etcd 10.0.0.7:2379 -host 10.0.0.1 -data /var/lib/postgresql/a -bin /usr/lib/postgresql/15/bin
//
// Start the same with other names on other machines: the first founds the cluster, the others copy it and follow. HAProxy and curl find the
// primary at http://HOST:8008/primary. SIGTERM ends the agent in order, and hands the cluster over.
//
// The first line of main and guard.New make a second, small process that ends the server when its authority has ended, also if this
// program was killed or hangs.
//
// The command tanist does the same and reads Patroni's configuration. What is left out here: TLS, the cluster's dynamic
// configuration (see ha.Parse), callbacks, and the hardware watchdog.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/bootclock"
	"github.com/tanist-ha/tanist/ha/guard"
	"github.com/tanist-ha/tanist/postgres/instance"
	"github.com/tanist-ha/tanist/postgres/pgxdriver"
	"github.com/tanist-ha/tanist/rest"
	"github.com/tanist-ha/tanist/rest/restclient"
)

// options is what differs from machine to machine.
type options struct {
	name, etcd, host, data, bin, password string
	port, api                             int
}

func main() {
	guard.Main() // this program is its own guard; before anything that takes time or memory
	var o options
	flag.StringVar(&o.name, "name", "", "of this node, unique in the cluster")
	flag.StringVar(&o.etcd, "etcd", "127.0.0.1:2379", "endpoint of etcd")
	flag.StringVar(&o.host, "host", "127.0.0.1", "address of this machine, as the others reach it")
	flag.StringVar(&o.data, "data", "", "data directory; an empty one is filled")
	flag.StringVar(&o.bin, "bin", "", "folder of the PostgreSQL programs; PATH if empty")
	flag.IntVar(&o.port, "port", 5432, "of PostgreSQL")
	flag.IntVar(&o.api, "api", 8008, "port of the REST API")
	flag.Parse()
	o.password = os.Getenv("PGPASSWORD")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, o); err != nil {
		log.Fatal(err)
	}
}

// run is the agent: make the parts, start them, end them in order.
func run(ctx context.Context, o options) error {
	settings := ha.DefaultSettings()
	settings.Postgres.Parameters = map[string]string{"unix_socket_directories": os.TempDir()}
	settings.Postgres.HBA = []string{"local all all scram-sha-256", "host all,replication all all scram-sha-256"}
	clock, err := bootclock.New()
	if err != nil {
		return err
	}
	fence, err := guard.New(guard.Config{Boottime: clock.Boottime, Logger: slog.Default()})
	if err != nil {
		return err
	}
	defer fence.Close()
	backend, err := etcd3.New(etcd3.Config{Endpoints: []string{o.etcd}})
	if err != nil {
		return err
	}
	defer backend.Close()
	store := dcs.NewClient(backend, dcs.Options{Scope: "example", Name: o.name})
	peers, err := restclient.New(restclient.Options{})
	if err != nil {
		return err
	}
	server, err := instance.New(instance.Config{
		Name: o.name, Scope: "example", DataDir: o.data, BinDir: o.bin, ListenAddresses: o.host, Port: o.port,
		Superuser: instance.Credentials{Password: o.password}, Replication: instance.Credentials{Username: "replicator", Password: o.password},
		Connector: pgxdriver.Connector{}, Logger: slog.Default(), Settings: settings.Postgres, Launcher: fence,
	})
	if err != nil {
		return err
	}
	defer server.Close()
	node, err := ha.NewNode(ha.Config{
		Name: o.name, Scope: "example", ConnURL: fmt.Sprintf("postgres://%s:%d/postgres", o.host, o.port), APIURL: fmt.Sprintf("http://%s:%d/patroni", o.host, o.api),
		BootstrapConfig: []byte(`{"ttl":30}`), Clock: clock, Store: store, Postgres: server, Peers: peers, Fence: fence,
		Parse: ha.Always(settings), Logger: slog.Default(),
	})
	if err != nil {
		return err
	}
	api, err := rest.Start(ctx, rest.Config{Node: node, Store: store, Peers: peers, Patch: config.Patch, Logger: slog.Default()}, fmt.Sprintf("%s:%d", o.host, o.api))
	if err != nil {
		return err
	}
	err = node.Run(ctx) // until ctx ends; then PostgreSQL is stopped, and the leader key handed over
	last, done := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer done()
	return errors.Join(err, store.Close(last), api.Shutdown(last))
}
