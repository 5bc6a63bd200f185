package pgtest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for a program of PostgreSQL. It is a safety net on a loaded machine, not a measure.
const patience = 60 * time.Second

// Cluster is one data directory with its server, up or down. Its superuser is "postgres", and everyone on this machine is
// trusted. Its methods end the test when a step fails. It is for one goroutine at a time.
type Cluster struct {
	BinDir    string
	DataDir   string
	SocketDir string // short, as socket names must be below 108 bytes
	Port      int

	server *server // nil: down
}

// Init makes a data directory with initdb; initdbOptions are added to the command line. The server is not started. It
// will not flush to disk (fsync=off), so that tests are fast.
func Init(t testing.TB, binDir string, initdbOptions ...string) *Cluster {
	t.Helper()
	c := &Cluster{BinDir: binDir, DataDir: filepath.Join(t.TempDir(), "data")}
	args := []string{"-D", c.DataDir, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"}
	c.Program(t, "initdb", append(args, initdbOptions...)...)
	c.prepare(t)
	return c
}

// Clone makes a standby of c, which must be up, with pg_basebackup. It is not started.
func (c *Cluster) Clone(t testing.TB, options ...string) *Cluster {
	t.Helper()
	s := &Cluster{BinDir: c.BinDir, DataDir: filepath.Join(t.TempDir(), "data")}
	args := []string{"-D", s.DataDir, "-d", c.ConnString("postgres"), "-R", "-c", "fast", "--no-sync"}
	s.Program(t, "pg_basebackup", append(args, options...)...)
	s.prepare(t)
	return s
}

func (c *Cluster) prepare(t testing.TB) {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatalf("make socket folder: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c.SocketDir, c.Port = dir, FreePort(t)
	c.Configure(t,
		"listen_addresses = '127.0.0.1'",
		"port = "+strconv.Itoa(c.Port),
		"unix_socket_directories = '"+c.SocketDir+"'",
		"fsync = off",
		"wal_log_hints = on",
		"max_connections = 50",
		"shared_buffers = 16MB",
		"logging_collector = off",
		"log_destination = stderr",
	)
}

// Configure appends lines to postgresql.conf. A later line wins over an earlier one.
func (c *Cluster) Configure(t testing.TB, lines ...string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(c.DataDir, "postgresql.conf"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatalf("configure: %v", err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, strings.Join(lines, "\n")); err != nil {
		t.Fatalf("configure: %v", err)
	}
}

// Start starts the server and returns when it lets clients in. The end of the test stops it.
func (c *Cluster) Start(t testing.TB, options ...string) {
	t.Helper()
	if c.server != nil {
		t.Fatal("start: the server is up already")
	}
	s, err := startServer(c.BinDir, c.DataDir, options)
	if err != nil {
		t.Fatalf("start server: %v", err)
	}
	c.server = s
	t.Cleanup(func() {
		if c.server == s {
			s.end(syscall.SIGQUIT)
			c.server = nil
		}
		if t.Failed() {
			t.Logf("log of the server in %s:\n%s", c.DataDir, s.text())
		}
	})
	select {
	case <-s.ready:
	case <-s.exited:
		t.Fatalf("start server: it ended: %v\n%s", s.cmd.ProcessState, s.text())
	case <-time.After(patience):
		t.Fatalf("start server: not ready after %v\n%s", patience, s.text())
	}
}

// Stop ends the server in fast mode and waits for its end.
func (c *Cluster) Stop(t testing.TB) { t.Helper(); c.stop(t, syscall.SIGINT) }

// Crash ends the server in immediate mode: the next start needs recovery.
func (c *Cluster) Crash(t testing.TB) { t.Helper(); c.stop(t, syscall.SIGQUIT) }

func (c *Cluster) stop(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if c.server == nil {
		t.Fatal("stop: the server is down already")
	}
	s := c.server
	c.server = nil
	if !s.end(sig) {
		t.Fatalf("stop: killed after %v\n%s", patience, s.text())
	}
}

// PID is the postmaster's process id, 0 while the server is down.
func (c *Cluster) PID() int {
	if c.server == nil {
		return 0
	}
	return c.server.cmd.Process.Pid
}

// Exited is closed when the server that runs now has ended.
func (c *Cluster) Exited() <-chan struct{} { return c.server.exited }

// Ended waits for the end of a server that somebody else ends; it can be started again then.
func (c *Cluster) Ended(t testing.TB) {
	t.Helper()
	select {
	case <-c.server.exited:
	case <-time.After(patience):
		t.Fatalf("the server did not end within %v\n%s", patience, c.server.text())
	}
	c.server = nil
}

// Log is what the server wrote to its log since it was started; empty while it is down.
func (c *Cluster) Log() string {
	if c.server == nil {
		return ""
	}
	return c.server.text()
}

// ConnString is a libpq connection string for the superuser, over TCP.
func (c *Cluster) ConnString(database string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=%s", c.Port, database)
}

// Query runs sql with psql in database postgres and returns its rows, columns separated by "|", without the last newline.
func (c *Cluster) Query(t testing.TB, sql string) string {
	t.Helper()
	out := c.Program(t, "psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", c.ConnString("postgres"), "-c", sql)
	return strings.TrimSuffix(out, "\n")
}

// Program runs a program of this major with LC_ALL=C and returns its standard output.
func (c *Cluster) Program(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(c.BinDir, name), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// server is one run of a postmaster, a child of this process.
type server struct {
	cmd    *exec.Cmd
	ready  chan struct{} // closed when it lets clients in
	exited chan struct{} // closed when the postmaster was reaped and its log was read

	mu  sync.Mutex
	log bytes.Buffer
}

func startServer(binDir, dataDir string, options []string) (*server, error) {
	s := &server{ready: make(chan struct{}), exited: make(chan struct{})}
	s.cmd = exec.Command(filepath.Join(binDir, "postgres"), append([]string{"-D", dataDir}, options...)...)
	s.cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	// The kernel ends the server if the test binary dies, as it does when a test panics or times out.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stdout, s.cmd.Stderr = w, w
	err = s.cmd.Start()
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	go s.follow(r)
	return s, nil
}

// follow reads the log until the last process of the server has closed it, then reaps the postmaster.
func (s *server) follow(r io.ReadCloser) {
	defer close(s.exited)
	defer r.Close()
	ready := false
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		s.mu.Lock()
		s.log.WriteString(line)
		s.mu.Unlock()
		if !ready && strings.Contains(line, "database system is ready to accept") {
			ready = true
			close(s.ready)
		}
		if err != nil {
			break
		}
	}
	_ = s.cmd.Wait() // the state is in cmd.ProcessState
}

func (s *server) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// end signals the postmaster, waits for its end, and kills it when that takes too long, which it reports.
func (s *server) end(sig syscall.Signal) (inTime bool) {
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.exited:
		return true
	case <-time.After(patience):
	}
	_ = s.cmd.Process.Kill()
	<-s.exited
	return false
}
