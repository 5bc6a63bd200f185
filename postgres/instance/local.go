package instance

import (
	"context"
	"errors"
	"time"

	"github.com/tanist-ha/tanist/postgres"
)

// connect opens a connection of the superuser to the own server, by the first way that works: TCP, or the socket first
// if that is configured or the server is closed.
func (i *Instance) connect(ctx context.Context, session map[string]string) (postgres.Conn, error) {
	var errs []error
	for _, host := range i.localAddresses(i.cfg.UseUnixSocket || i.closed.Load()) {
		conn, err := i.cfg.Connector.Connect(ctx, postgres.ConnectParams{
			Conninfo: i.cfg.Superuser.conninfo(host, i.localPort(), i.cfg.Database),
			Session:  session,
		})
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil || serverCode(err) == postgres.CodeCannotConnectNow {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// connectReplication opens a walsender connection to the own server.
func (i *Instance) connectReplication(ctx context.Context) (postgres.Conn, error) {
	var errs []error
	for _, host := range i.localAddresses(i.cfg.UseUnixSocketRepl || i.cfg.UseUnixSocket) {
		for _, c := range []Credentials{i.cfg.Replication, i.cfg.Superuser} {
			conn, err := i.cfg.Connector.Connect(ctx, postgres.ConnectParams{
				Conninfo:    c.conninfo(host, i.localPort(), "replication"),
				Session:     map[string]string{"application_name": heartbeat},
				Replication: true,
			})
			if err == nil {
				return conn, nil
			}
			errs = append(errs, err)
			if ctx.Err() != nil {
				return nil, errors.Join(errs...)
			}
		}
	}
	return nil, errors.Join(errs...)
}

// localPort is the port of the server that runs, which may be another than the configured one until its next start.
func (i *Instance) localPort() int {
	if f := i.serverFile(); f != nil && f.port != 0 {
		return f.port
	}
	return i.cfg.Port
}

// closeConn ends a connection politely but soon.
func closeConn(conn postgres.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_ = conn.Close(ctx)
}

// serverCode is the SQLSTATE that a server answered with, "" if it did not answer.
func serverCode(err error) string {
	var se *postgres.ServerError
	if errors.As(err, &se) {
		return se.Code
	}
	return ""
}

// inRecovery asks the server whether it is a standby.
func inRecovery(ctx context.Context, conn postgres.Conn) (bool, error) {
	rows, err := conn.Query(ctx, "SELECT pg_catalog.pg_is_in_recovery()")
	if err != nil {
		return false, err
	}
	if len(rows) != 1 || len(rows[0]) != 1 || rows[0][0] == nil {
		return false, errors.New("pg_is_in_recovery() returned no row")
	}
	return *rows[0][0] == "t", nil
}
