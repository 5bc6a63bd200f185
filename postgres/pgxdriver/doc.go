// Package pgxdriver connects to PostgreSQL with the pgx library. It implements postgres.Connector:
//
//	var c postgres.Connector = pgxdriver.Connector{}
//	conn, err := c.Connect(ctx, postgres.ConnectParams{
//		Conninfo: postgres.Conninfo{"host": "127.0.0.1", "user": "postgres", "dbname": "postgres", "connect_timeout": "3"},
//		Session:  map[string]string{"statement_timeout": "2000"},
//	})
//
// Only the low-level part of pgx is used: the simple query protocol, values as text, TLS and authentication (password,
// md5, SCRAM, client certificates). There is no pool and no cache of statements; a connection does nothing by itself.
//
// Settings that the caller leaves out have libpq's defaults, from libpq's environment variables and ~/.pgpass too. A
// setting of libpq that pgx cannot honour is an error if leaving it out would weaken security, and is ignored if it would
// not (TCP keepalive, for example).
package pgxdriver
