package servertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// Process is a server. It can be killed and started again with the same command line.
type Process struct {
	Program string                         // what errors call it, e.g. "etcd"
	Args    []string                       // its command line; it works in the folder of LogFile
	Env     []string                       // added to the environment
	LogFile string                         // both its outputs are appended here
	Serves  func(ctx context.Context) bool // asks once; it need not look at whether the process runs

	cmd   *exec.Cmd
	ended chan struct{}
}

// Server is a pointer to a struct that embeds a Process.
type Server interface{ process() *Process }

func (p *Process) process() *Process { return p }

// patience is generous: it only ends tests that would hang.
const patience = 3 * time.Minute

// Start runs servers for t and returns when all serve. The end of the test ends them, and shows the ends of their logs if it has failed.
func Start[S Server](t testing.TB, servers []S) {
	t.Helper()
	for _, s := range servers {
		p := s.process()
		t.Cleanup(func() {
			p.Kill()
			if t.Failed() {
				p.showLog(t)
			}
		})
	}
	if err := Run(servers); err != nil {
		t.Fatal(err)
	}
}

// Slow skips a test that takes seconds, if -short is given.
func Slow(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds")
	}
}

// Run starts servers and returns when all serve. The caller kills each, also after an error.
func Run[S Server](servers []S) error {
	for _, s := range servers {
		if err := s.process().Start(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, s := range servers {
		if err := s.process().WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Start starts the process, for the first time or after a Kill, without waiting until it serves. It dies with the thread that started it,
// so that thread is kept: nothing outlives the test's process.
func (p *Process) Start() error {
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.Command(p.Args[0], p.Args[1:]...)
	cmd.Dir, cmd.Env = filepath.Dir(p.LogFile), append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer close(ended)
		defer log.Close()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.Program, err)
	}
	p.cmd, p.ended = cmd, ended
	return nil
}

// WaitReady asks until the process serves. It fails when the process ends.
func (p *Process) WaitReady(ctx context.Context) error {
	again := time.NewTicker(30 * time.Millisecond)
	defer again.Stop()
	for !p.Serves(ctx) {
		select {
		case <-again.C:
		case <-p.ended:
			return fmt.Errorf("%s ended while starting", p.Program)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", p.Program, ctx.Err())
		}
	}
	return nil
}

// Restart is Start and WaitReady.
func (p *Process) Restart(ctx context.Context) error {
	if err := p.Start(); err != nil {
		return err
	}
	return p.WaitReady(ctx)
}

// Kill ends the process with SIGKILL and waits for its end. Killing twice does nothing.
func (p *Process) Kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
	p.cmd = nil
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Pause freezes the process, and returns when it stands still: its connections stay open and nobody answers.
func (p *Process) Pause() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return awaitStop(p.cmd.Process.Pid)
}

// Resume lets a frozen process go on.
func (p *Process) Resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

func (p *Process) showLog(t testing.TB) {
	raw, err := os.ReadFile(p.LogFile)
	if err != nil {
		return
	}
	t.Logf("end of %s:\n%s", filepath.Base(p.LogFile), raw[max(0, len(raw)-1500):])
}
