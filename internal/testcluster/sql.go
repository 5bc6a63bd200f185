//go:build linux

package testcluster

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// ConnConfig describes a connection of the superuser to node n, from the harness's place in the network.
func (c *Cluster) ConnConfig(n *Node, database string) (*pgx.ConnConfig, error) {
	return c.connConfig(fmt.Sprintf("host=%s port=%d dbname=%s sslmode=disable", n.Host, n.PGPort, database), c.Dial)
}

// ConnConfigAt is ConnConfig for an address that is not a node's: HAProxy's.
func (c *Cluster) ConnConfigAt(host string, port int, database string) (*pgx.ConnConfig, error) {
	return c.connConfig(fmt.Sprintf("host=%s port=%d dbname=%s sslmode=disable", host, port, database), c.Dial)
}

// ConnConfigInside is ConnConfig for a client on the node's own host, which reaches the server when the host is cut off.
func (c *Cluster) ConnConfigInside(n *Node, database string) (*pgx.ConnConfig, error) {
	return c.connConfig(fmt.Sprintf("host=%s port=%d dbname=%s sslmode=disable", n.Host, n.PGPort, database), n.DialInside)
}

func (c *Cluster) connConfig(dsn string, dial dialer) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(dsn + " user=postgres password='" + c.Password + "' connect_timeout=2")
	if err != nil {
		return nil, err
	}
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		return dial(ctx, network, address)
	}
	cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	return cfg, nil
}

// SQL runs one statement on node n over a fresh connection and returns the rows as text.
func (c *Cluster) SQL(ctx context.Context, n *Node, sql string, args ...any) ([][]string, error) {
	cfg, err := c.ConnConfig(n, "postgres")
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out [][]string
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return nil, err
		}
		line := make([]string, len(values))
		for i, v := range values {
			line[i] = fmt.Sprint(v)
		}
		out = append(out, line)
	}
	return out, rows.Err()
}

// WaitHealthy waits until there is a leader that accepts writes, and a standby streams from it and has everything for each
// other node whose agent runs. It returns the leader.
func (c *Cluster) WaitHealthy(ctx context.Context) (*Node, error) {
	var leader *Node
	err := poll(ctx, 100*time.Millisecond, "a leader and streaming standbys", func() (bool, string) {
		ask, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		var err error
		if leader, err = c.Leader(ask); err != nil {
			return false, err.Error()
		}
		if leader == nil {
			return false, "no node answers /primary with 200; " + c.describe(ask)
		}
		running := 0
		for _, n := range c.Nodes {
			if n.Running() {
				running++
			}
		}
		rows, err := c.SQL(ask, leader, `select count(*) from pg_stat_replication
			where state = 'streaming' and replay_lsn >= pg_current_wal_lsn() - 1000000`)
		if err != nil {
			return false, "ask " + leader.Name + ": " + err.Error()
		}
		if rows[0][0] != fmt.Sprint(running-1) {
			return false, fmt.Sprintf("%s of %d standbys stream from %s; %s", rows[0][0], running-1, leader.Name, c.describe(ask))
		}
		return c.settled(ask, leader, running)
	})
	if err != nil {
		return nil, err
	}
	return leader, nil
}

// settled says whether the cluster's own account agrees.
func (c *Cluster) settled(ctx context.Context, leader *Node, running int) (bool, string) {
	members, err := c.Members(ctx)
	if err != nil {
		return false, err.Error()
	}
	good := 0
	for _, m := range members {
		switch {
		case m.Name == leader.Name && m.Role == "leader" && m.State == "running":
			good++
		case m.Name != leader.Name && m.Role != "leader" && m.State == "streaming":
			good++
		}
	}
	return good >= running, "members say " + toJSON(members)
}

// ConnConfigAll is a connection of a client that knows all hosts and looks for the one that writes.
func (c *Cluster) ConnConfigAll(database string) (*pgx.ConnConfig, error) {
	var hosts, ports []string
	for _, n := range c.Nodes {
		hosts, ports = append(hosts, n.Host), append(ports, strconv.Itoa(n.PGPort))
	}
	return c.connConfig(fmt.Sprintf("host=%s port=%s dbname=%s sslmode=disable target_session_attrs=read-write",
		strings.Join(hosts, ","), strings.Join(ports, ","), database), c.Dial)
}

// WaitStreaming waits until a server that accepts writes has a streaming standby for each other node. It asks the servers,
// not the agents, and asks often: it is for timing.
func (c *Cluster) WaitStreaming(ctx context.Context) (*Node, error) {
	var leader *Node
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close(context.WithoutCancel(ctx))
		}
	}()
	err := poll(ctx, 10*time.Millisecond, "streaming standbys", func() (bool, string) {
		if conn == nil {
			if leader, conn = c.primary(ctx); conn == nil {
				return false, "no server accepts writes"
			}
		}
		var streaming int
		err := conn.QueryRow(ctx, "select count(*) from pg_stat_replication where state = 'streaming' and sync_state is not null"+
			" and application_name <> 'pg_basebackup' and replay_lsn is not null").Scan(&streaming)
		return err == nil && streaming == len(c.Nodes)-1, fmt.Sprintf("%d standbys, %v", streaming, err)
	})
	return leader, err
}

// primary looks for a server that is not in recovery.
func (c *Cluster) primary(ctx context.Context) (*Node, *pgx.Conn) {
	for _, n := range c.Nodes {
		if _, ok := n.Postmaster(); !ok {
			continue
		}
		cfg, err := c.ConnConfig(n, "postgres")
		if err != nil {
			continue
		}
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if err != nil {
			continue
		}
		var recovery bool
		if conn.QueryRow(ctx, "select pg_is_in_recovery()").Scan(&recovery) == nil && !recovery {
			return n, conn
		}
		_ = conn.Close(ctx)
	}
	return nil, nil
}
