package modeltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/postgres"
	"github.com/tanist-ha/tanist/postgres/instance"
	"github.com/tanist-ha/tanist/postgres/pgtest"
	"github.com/tanist-ha/tanist/postgres/pgxdriver"
)

// patience is a safety net on a loaded machine, not a measure.
const patience = 120 * time.Second

// real is a set of PostgreSQL servers, each driven by the code that drives them in production.
type real struct {
	t     testing.TB
	nodes map[string]*node
}

type node struct {
	*instance.Instance
	name, data, log, bin string
	port                 int
	conn                 postgres.Conn // of an ordinary client; nil: none yet
	waits                []*wait
}

func newReal(t testing.TB, binDir string, names []string) *real {
	r := &real{t: t, nodes: map[string]*node{}}
	for _, name := range names {
		r.add(binDir, name)
	}
	return r
}

func (r *real) add(binDir, name string) {
	t := r.t
	socket, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(socket) })
	n := &node{name: name, data: filepath.Join(t.TempDir(), "data"), port: pgtest.FreePort(t), bin: binDir}
	n.log = filepath.Join(filepath.Dir(n.data), name+".log")
	n.Instance, err = instance.New(instance.Config{
		Name: name, Scope: "model", DataDir: n.data, BinDir: binDir, LogFile: n.log, ListenAddresses: "127.0.0.1", Port: n.port,
		Superuser:   instance.Credentials{Username: "postgres"},
		Replication: instance.Credentials{Username: "replicator"},
		InitDB:      []string{"--encoding=UTF8", "--locale=C", "--auth=trust"},
		Connector:   pgxdriver.Connector{},
		Logger:      slog.New(slog.DiscardHandler),
		Settings:    settings(socket),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.nodes[name] = n
	t.Cleanup(func() {
		n.disconnect()
		for _, w := range n.waits {
			w.stop()
		}
		if err := n.Kill("end of test"); err != nil {
			t.Errorf("kill %s: %v", name, err)
		}
		if err := n.Close(); err != nil {
			t.Errorf("close %s: %v", name, err)
		}
	})
}

// settings keep the servers from writing log records, or moving the minimum recovery point, of their own accord.
func settings(socketDir string) postgres.Settings {
	return postgres.Settings{
		Parameters: map[string]string{
			"unix_socket_directories": socketDir, "fsync": "off", "shared_buffers": "16MB", "autovacuum": "off",
			"checkpoint_timeout": "1d", "max_wal_size": "10GB", "bgwriter_lru_maxpages": "0", "bgwriter_delay": "10s", "wal_keep_size": "4GB",
			"wal_recycle": "off", "wal_init_zero": "off", "wal_retrieve_retry_interval": "50ms", "log_line_prefix": "%m %p ",
			"log_checkpoints": "on", "log_min_messages": "log",
			// Ordinary clients do not ask for it; those that do wait until somebody ends their wait.
			"synchronous_standby_names": "nobody", "synchronous_commit": "local",
		},
		Controlled: map[string]string{
			"max_connections": "20", "wal_level": "replica", "hot_standby": "on", "wal_log_hints": "on", "max_wal_senders": "8",
			"max_replication_slots": "4",
		},
		HBA:         []string{"local all all trust", "host all all 127.0.0.1/32 trust", "host replication replicator 127.0.0.1/32 trust"},
		UsePgRewind: true,
	}
}

// apply carries out an operation of the script. The start of a standby that is seen to get nowhere is cancelled: errInVain.
func (r *real) apply(o op) (acknowledged bool, out postgres.Outcome, err error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	n := r.nodes[o.on]
	if o.task.Kind == postgres.TaskStart && !o.task.AsPrimary {
		var vain context.CancelCauseFunc
		ctx, vain = context.WithCancelCause(ctx)
		defer vain(nil)
		go n.awaitInVain(ctx, n.logSize(), vain)
	}
	switch {
	case o.wait:
		return false, out, n.wait(ctx, o.row)
	case o.row != 0:
		return n.write(ctx, o.row) == nil, out, nil
	case o.end != "":
		acknowledged, err := n.endWaits(ctx, o.end)
		return acknowledged, out, err
	case o.kill:
		err := n.killPostmaster(ctx)
		return n.collect(ctx), out, err
	}
	t := o.task
	if t.Upstream != nil {
		u := *t.Upstream
		u.Host, u.Port = "127.0.0.1", r.nodes[u.Name].port
		t.Upstream = &u
	}
	if t.Kind != postgres.TaskOpen && t.Kind != postgres.TaskFollow && t.Kind != postgres.TaskCheckpoint && t.Kind != postgres.TaskPromote {
		n.disconnect()
	}
	out, err = n.Run(ctx, t, nil)
	if next, ok := o.then(); ok && err == nil {
		_, err = n.Run(ctx, next, nil)
	}
	if t.Kind == postgres.TaskStop && err == nil {
		acknowledged = n.collect(ctx)
	}
	return acknowledged, out, err
}

// killPostmaster leaves its children to themselves, as the kernel does that is out of memory.
func (n *node) killPostmaster(ctx context.Context) error {
	o := n.Observe(ctx)
	if o.Postmaster == nil {
		return nil
	}
	if err := unix.Kill(o.Postmaster.PID, unix.SIGKILL); err != nil {
		return err
	}
	n.disconnect()
	for {
		select {
		case e := <-n.Exits():
			if e.Postmaster == *o.Postmaster {
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// errInVain is the end of a start that has none.
var errInVain = errors.New("the standby asks for the log in vain, and lets no clients in")

// inVain is how often in a row a server has to say that it waits for the same piece of the log: as often its WAL receiver has failed.
const inVain = 5

var (
	waitsFor   = regexp.MustCompile(`waiting for WAL to become available at ([0-9A-F/]+)`)
	consistent = []byte("consistent recovery state reached")
)

// awaitInVain cancels when the server's log, from a size on, says that it waits for the same again and again, and has not become consistent.
func (n *node) awaitInVain(ctx context.Context, from int64, cancel context.CancelCauseFunc) {
	for ctx.Err() == nil {
		raw, err := os.ReadFile(n.log)
		if err != nil || int64(len(raw)) < from || bytes.Contains(raw[from:], consistent) {
			return
		}
		found := waitsFor.FindAllStringSubmatch(string(raw[from:]), -1)
		if last := len(found) - 1; last >= inVain-1 && found[last][1] == found[last-inVain+1][1] {
			cancel(errInVain)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (n *node) logSize() int64 {
	info, err := os.Stat(n.log)
	if err != nil {
		return 0
	}
	return info.Size()
}

// client is the connection of an ordinary client.
func (n *node) client(ctx context.Context) (postgres.Conn, error) {
	if n.conn != nil {
		return n.conn, nil
	}
	c, err := pgxdriver.Connector{}.Connect(ctx, n.params(nil))
	n.conn = c
	return c, err
}

func (n *node) disconnect() {
	if n.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = n.conn.Close(ctx)
	n.conn = nil
}

func (n *node) query(ctx context.Context, sql string) ([][]*string, error) {
	c, err := n.client(ctx)
	if err != nil {
		n.conn = nil
		return nil, err
	}
	rows, err := c.Query(ctx, sql)
	if err != nil {
		n.disconnect()
	}
	return rows, err
}

// write commits one row.
func (n *node) write(ctx context.Context, row int) error {
	if row == 1 {
		if _, err := n.query(ctx, "CREATE TABLE public.rows (n int)"); err != nil {
			return err
		}
	}
	_, err := n.query(ctx, fmt.Sprintf("INSERT INTO public.rows VALUES (%d)", row))
	return err
}

// look sees all servers.
func (r *real) look(ctx context.Context) picture {
	p := picture{}
	for name, n := range r.nodes {
		s := seen{Observation: n.Observe(ctx)}
		if s.SQL != nil {
			s.rows = n.rows(ctx)
			if v := s.SQL.Receiver; v != nil && v.Status == "streaming" {
				s.source = r.at(v.Port)
			}
			s.lineage = r.lineage(ctx, name)
		}
		p[name] = s
	}
	return p
}

// at names the server on a port.
func (r *real) at(port int) string {
	for name, n := range r.nodes {
		if n.port == port {
			return name
		}
	}
	return fmt.Sprint("port ", port)
}

// rows lists what a client of the server sees.
func (n *node) rows(ctx context.Context) []int {
	got, err := n.query(ctx, "SELECT n FROM public.rows ORDER BY n")
	if err != nil {
		return nil
	}
	var rows []int
	for _, cols := range got {
		if i, err := strconv.Atoi(*cols[0]); err == nil {
			rows = append(rows, i)
		}
	}
	return rows
}

// lineage lets another server's agent ask name.
func (r *real) lineage(ctx context.Context, name string) *postgres.Lineage {
	for other, n := range r.nodes {
		if other == name {
			continue
		}
		up := &postgres.Upstream{Name: name, Host: "127.0.0.1", Port: r.nodes[name].port}
		out, err := n.Run(ctx, postgres.Task{Kind: postgres.TaskLineage, Upstream: up}, nil)
		if err != nil {
			if ctx.Err() == nil {
				r.t.Logf("ask %s: %v", name, err)
			}
			return nil
		}
		return out.Lineage
	}
	return nil
}

// lastWords is the end of a server's log.
func (n *node) lastWords() string {
	raw, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(lines[max(0, len(lines)-25):], "\n")
}
