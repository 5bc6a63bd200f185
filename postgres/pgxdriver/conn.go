package pgxdriver

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// conn is one connection: postgres.Conn over pgconn.
type conn struct {
	pg  *pgconn.PgConn
	end context.CancelFunc // closes every socket that belongs to it
}

var errZeroByte = errors.New("the SQL text holds a zero byte, where the server would cut it")

// Query implements postgres.Conn.
func (c *conn) Query(ctx context.Context, sql string) ([][]*string, error) {
	if strings.ContainsRune(sql, 0) {
		return nil, errZeroByte
	}
	results, err := c.pg.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, serverError(err)
	}
	if len(results) == 0 {
		return nil, nil
	}
	last := results[len(results)-1]
	rows := make([][]*string, len(last.Rows))
	for i, row := range last.Rows {
		rows[i] = make([]*string, len(row))
		for j, value := range row {
			if value != nil {
				text := string(value)
				rows[i][j] = &text
			}
		}
	}
	return rows, nil
}

// Exec implements postgres.Conn.
func (c *conn) Exec(ctx context.Context, sql string) error {
	_, err := c.Query(ctx, sql)
	return err
}

// Close implements postgres.Conn.
func (c *conn) Close(ctx context.Context) error {
	err := c.pg.Close(ctx)
	if ctx.Err() == nil {
		select {
		case <-c.pg.CleanupDone():
		case <-ctx.Done():
		}
	}
	c.end()
	<-c.pg.CleanupDone() // at once, now that its sockets are closed
	return err
}
