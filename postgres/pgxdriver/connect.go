package pgxdriver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tanist-ha/tanist/postgres"
)

// Connector opens connections. Its zero value is ready for use, by several goroutines at once.
type Connector struct {
	// Dial replaces the ordinary way to open a network connection, for tests and tunnels; nil is a net.Dialer. It resolves
	// the names of hosts itself.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

var _ postgres.Connector = Connector{}

// Connect implements postgres.Connector.
func (c Connector) Connect(ctx context.Context, p postgres.ConnectParams) (postgres.Conn, error) {
	config, err := parse(p)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	config.DialFunc = c.dialer(life)
	if c.Dial != nil {
		config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	}
	pg, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		end()
		return nil, fmt.Errorf("connect to %s: %w", address(p.Conninfo), serverError(err))
	}
	return &conn{pg: pg, end: end}, nil
}

// dialer opens sockets that are closed when life ends. pgx goes on by itself for up to 15 s to cancel a request that was
// given up, over a second socket; with this, Close ends that too.
func (c Connector) dialer(life context.Context) pgconn.DialFunc {
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: 5 * time.Second}).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(life, cancel)()
		socket, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(life, func() { _ = socket.Close() })
		return socket, nil
	}
}

func parse(p postgres.ConnectParams) (*pgconn.Config, error) {
	info := maps.Clone(p.Conninfo)
	for _, key := range slices.Sorted(maps.Keys(info)) {
		switch handling[key] {
		case ignored:
			delete(info, key)
		case refused:
			if info[key] != "" {
				return nil, fmt.Errorf("connect to %s: connection setting %s is not supported by this driver, and is not ignored as it protects the connection", address(p.Conninfo), key)
			}
			delete(info, key)
		}
	}
	if mode := p.Conninfo["gssencmode"]; mode == "require" {
		return nil, fmt.Errorf("connect to %s: gssencmode=require is not supported by this driver", address(p.Conninfo))
	}
	config, err := pgconn.ParseConfig(info.Format())
	if err != nil {
		// The library's text quotes the connection string, with its password hidden as well as it could.
		return nil, fmt.Errorf("connect to %s: %w", address(p.Conninfo), cause(err))
	}
	maps.Copy(config.RuntimeParams, p.Session)
	if p.Replication {
		config.RuntimeParams["replication"] = "true"
	}
	return config, nil
}

// cause leaves out the connection string that the library's error quotes.
func cause(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// How settings of libpq are handled that pgx does not know; it would send them to the server as settings of the session.
const (
	ignored = 1 + iota
	refused
)

var handling = map[string]int{
	"fallback_application_name": ignored,
	"keepalives":                ignored,
	"keepalives_idle":           ignored,
	"keepalives_interval":       ignored,
	"keepalives_count":          ignored,
	"tcp_user_timeout":          ignored,
	"sslcompression":            ignored,
	"gssencmode":                ignored,
	"gsslib":                    ignored,
	"gssdelegation":             ignored,
	"load_balance_hosts":        ignored,
	"hostaddr":                  refused,
	"requirepeer":               refused,
	"sslcrl":                    refused,
	"sslcrldir":                 refused,
	"ssl_min_protocol_version":  refused,
	"ssl_max_protocol_version":  refused,
	"scram_client_key":          refused,
	"scram_server_key":          refused,
}

// address names the server for errors, without secrets.
func address(c postgres.Conninfo) string {
	return postgres.Conninfo{"host": c["host"], "port": c["port"], "user": c["user"], "dbname": c["dbname"]}.String()
}

// serverError replaces err by what the server said, if it is the server who said it.
func serverError(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	return &postgres.ServerError{Severity: pg.Severity, Code: pg.Code, Message: pg.Message, Detail: pg.Detail, Hint: pg.Hint}
}
