//go:build linux

package testcluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
	"time"

	"github.com/tanist-ha/tanist/internal/testcluster/procs"
)

// process is one program that the harness started, in its own session, so that a Ctrl-C at the terminal does not reach it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it was reaped
	err  error         // how it ended; valid once done is closed
}

// order says what to start.
type order struct {
	args    []string
	dir     string
	logFile string // both outputs are appended here
	ns      *namespace
	cred    *syscall.Credential
	env     []string
}

func start(o order) (*process, error) {
	log, err := os.OpenFile(o.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{cmd: exec.Command(o.args[0], o.args[1:]...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = o.dir, o.env, log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: o.cred}
	if err := o.ns.do(p.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", o.args[0], err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// running says whether the process has not been reaped yet. A nil process never runs.
func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) signal(sig os.Signal) error {
	if !p.running() {
		return os.ErrProcessDone
	}
	return p.cmd.Process.Signal(sig)
}

// freeze stops the process as it is, and waits until it stands still.
func (p *process) freeze() error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return procs.AwaitStop(p.cmd.Process.Pid)
}

// end signals the process and waits for its end.
func (p *process) end(ctx context.Context, sig os.Signal) error {
	if !p.running() {
		return nil
	}
	if err := p.signal(sig); err != nil && p.running() {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of %s after %v: %w", p.cmd.Path, sig, context.Cause(ctx))
	}
}

// identity is the user that everything runs as: nil where the harness itself is an ordinary user.
func identity() (*syscall.Credential, *user.User, error) {
	if os.Getuid() != 0 {
		me, err := user.Current()
		return nil, me, err
	}
	pg, err := user.Lookup("postgres")
	if err != nil {
		return nil, nil, fmt.Errorf("%w (hint: PostgreSQL refuses root; its Debian package makes the user postgres)", err)
	}
	uid, err := strconv.ParseUint(pg.Uid, 10, 32)
	if err != nil {
		return nil, nil, err
	}
	gid, err := strconv.ParseUint(pg.Gid, 10, 32)
	if err != nil {
		return nil, nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, pg, nil
}

// poll calls ok at once and then every interval, until it is true or ctx ends; why it was not yet is in the error. The
// outside world (a server that starts, a cluster that settles) offers no event to wait for.
func poll(ctx context.Context, interval time.Duration, what string, ok func() (bool, string)) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	last := "nothing"
	for {
		good, why := ok()
		if good {
			return nil
		}
		if ctx.Err() == nil {
			last = why // what is seen after the end only tells that it is the end
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; last seen: %s", what, context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}

// tail keeps the end of a text.
func tail(text string, max int) string {
	if len(text) <= max {
		return text
	}
	return "…" + text[len(text)-max:]
}
