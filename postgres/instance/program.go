package instance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// programName is how a PostgreSQL program is called here.
func (i *Instance) programName(name string) string {
	if other := i.cfg.BinNames[name]; other != "" {
		return filepath.Base(other)
	}
	return name
}

// program is the path of a PostgreSQL program.
func (i *Instance) program(name string) string {
	if other := i.cfg.BinNames[name]; other != "" {
		name = other
	}
	if i.cfg.BinDir != "" {
		return filepath.Join(i.cfg.BinDir, name)
	}
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return name
}

// environment is the agent's own without what is not PostgreSQL's business. extra is added in the C locale's favour.
func environment(extra ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case strings.HasPrefix(name, "PATRONI_"), strings.HasPrefix(name, "TANIST_"),
			strings.HasPrefix(name, "KUBERNETES_"), name == "NOTIFY_SOCKET":
		case name == "PG_MALLOC_ARENA_MAX":
			env = append(env, "MALLOC_ARENA_MAX="+value)
		default:
			env = append(env, kv)
		}
	}
	return append(env, extra...)
}

// toolEnvironment is for programs whose words are read: without the agent's own libpq settings, in English.
func (i *Instance) toolEnvironment() []string {
	env := environment()
	kept := env[:0]
	for _, kv := range env {
		if !strings.HasPrefix(kv, "PG") {
			kept = append(kept, kv)
		}
	}
	kept = append(kept, "LC_ALL=C", "PGPASSFILE="+i.cfg.PgPass, "PGCONNECT_TIMEOUT=10")
	if i.cfg.KrbSrvName != "" {
		kept = append(kept, "PGKRBSRVNAME="+i.cfg.KrbSrvName)
	}
	return kept
}

// command describes one run of a program that the Instance waits for.
type command struct {
	path string
	args []string
	env  []string
	dir  string
	line func(string) // called with each line of its output, if set; progress bars end lines by carriage returns
}

// run runs the program, in a process group of its own that is killed when ctx ends. The error of a program that failed
// holds the last lines that it wrote.
func (c command) run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	cmd.Env, cmd.Dir = c.env, c.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second // for a grandchild that keeps the pipe open
	out := &lastLines{each: c.line}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	out.flush()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", filepath.Base(c.path), context.Cause(ctx))
	case errors.Is(err, os.ErrNotExist) || errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("run %s: no such program (hint: set bin_dir to the folder of the PostgreSQL programs)", c.path)
	}
	return fmt.Errorf("%s: %w: %s", filepath.Base(c.path), err, out)
}

// lastLines keeps the end of a program's output.
type lastLines struct {
	each    func(string)
	partial []byte
	lines   []string
}

// keptLines are enough for an error of PostgreSQL with its detail and hint.
const keptLines = 8

// Write implements io.Writer. os/exec calls it from one goroutine when stdout and stderr are the same value.
func (l *lastLines) Write(p []byte) (int, error) {
	for _, b := range p {
		if b == '\n' || b == '\r' {
			l.flush()
			continue
		}
		if len(l.partial) < 4096 {
			l.partial = append(l.partial, b)
		}
	}
	return len(p), nil
}

func (l *lastLines) flush() {
	line := strings.TrimSpace(string(l.partial))
	l.partial = l.partial[:0]
	if line == "" {
		return
	}
	if l.each != nil {
		l.each(line)
	}
	if l.lines = append(l.lines, line); len(l.lines) > keptLines {
		l.lines = l.lines[1:]
	}
}

func (l *lastLines) String() string { return strings.Join(l.lines, "; ") }

// tail returns the last lines of a reader.
func tail(r io.Reader) string {
	l := &lastLines{}
	if _, err := io.Copy(l, bufio.NewReader(r)); err != nil {
		return ""
	}
	l.flush()
	return l.String()
}
