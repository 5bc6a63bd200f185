package postgres

import (
	"context"
	"fmt"
	"strings"
)

// Connector opens SQL and replication connections. postgres/pgxdriver implements it; a stranger's driver needs nothing
// but the simple query protocol.
type Connector interface {
	// Connect opens one connection within the context's deadline (and connect_timeout, if set, for each host). An answer
	// of the server that it does not let us in, or is starting up, is an error that wraps a *ServerError.
	Connect(ctx context.Context, p ConnectParams) (Conn, error)
}

// ConnectParams says where to connect and how the session starts.
type ConnectParams struct {
	// Conninfo holds libpq's connection settings: host (a folder for a Unix socket), port, user, password, dbname,
	// sslmode, connect_timeout, … What is left out has the driver's default, which may look at libpq's environment variables.
	Conninfo Conninfo
	// Session holds server settings of the session: application_name, statement_timeout, search_path, …
	Session map[string]string
	// Replication asks for a physical walsender, which understands the commands IDENTIFY_SYSTEM, TIMELINE_HISTORY n and
	// SHOW name, but no SQL.
	Replication bool
}

// Conn is one connection. It is for one goroutine at a time. After a context ended in the middle of a request the
// connection is closed, as its state is unknown, and later requests fail.
type Conn interface {
	// Query sends sql as one simple query and returns the rows of its last statement as text; nil is NULL. Several
	// statements separated by semicolons run in one transaction unless they say otherwise. An error that the server
	// reports wraps a *ServerError. The values are the caller's.
	Query(ctx context.Context, sql string) ([][]*string, error)
	// Exec is Query for statements whose rows nobody wants.
	Exec(ctx context.Context, sql string) error
	// Close ends the connection, politely within the context's deadline, else at once. It may be called twice.
	Close(ctx context.Context) error
}

// ServerError is an error that a PostgreSQL server reported (PostgreSQL documentation, "Error and Notice Message Fields").
type ServerError struct {
	Severity string // "ERROR", "FATAL"
	Code     string // SQLSTATE, five characters; see appendix "PostgreSQL Error Codes"
	Message  string
	Detail   string
	Hint     string
}

// SQLSTATE codes on which the agent acts.
const (
	CodeCannotConnectNow   = "57P03" // starting up, shutting down or in recovery without hot standby
	CodeAdminShutdown      = "57P01"
	CodeCrashShutdown      = "57P02" // another backend crashed
	CodeQueryCanceled      = "57014" // statement_timeout, among others
	CodeDuplicateObject    = "42710" // slot or role exists
	CodeUndefinedObject    = "42704" // slot or role does not exist
	CodeObjectInUse        = "55006" // slot is active
	CodeInvalidPassword    = "28P01"
	CodeInvalidAuth        = "28000" // no pg_hba.conf entry, no such role
	CodeTooManyConnections = "53300"
)

// Error is the server's sentence with its code.
func (e *ServerError) Error() string {
	s := fmt.Sprintf("%s: %s (SQLSTATE %s)", e.Severity, e.Message, e.Code)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// QuoteIdent quotes a name for use in SQL: a"b becomes "a""b".
func QuoteIdent(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// QuoteLiteral quotes a string for use in SQL, whatever standard_conforming_strings says. A text with a zero byte cannot
// be quoted: connections refuse it.
func QuoteLiteral(text string) string {
	quoted := `'` + strings.ReplaceAll(text, `'`, `''`) + `'`
	if strings.Contains(text, `\`) {
		return ` E` + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
