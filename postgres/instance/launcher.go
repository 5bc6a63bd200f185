package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Launcher puts a guard between the agent and a server that may become writable: the guard knows the server's process
// before that process is PostgreSQL. ha/guard implements it.
type Launcher interface {
	// Command returns the program to run in the place of argv, and its arguments, from argv[0] on. That program waits for
	// one byte on file descriptor 3 and then becomes argv (execve: the same process, without descriptor 3). At the end of
	// file it exits instead: whoever would have given the byte is gone.
	Command(argv []string) (path string, args []string)
	// Attach returns when the guard holds the process pid. A server must not be let go before.
	Attach(ctx context.Context, pid int) error
}

// attachPatience bounds the wait for the guard. One that is silent for so long is dead for its agent.
const attachPatience = 2 * time.Second

// gate holds a process back that will become the postmaster. A nil gate is open.
type gate struct {
	launcher Launcher
	hold     *os.File // a byte lets the process go; closed, or with us gone, it ends
	wait     *os.File // the process's end
}

func newGate(l Launcher) (*gate, error) {
	if l == nil {
		return nil, nil
	}
	wait, hold, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the pipe that holds the server back: %w", err)
	}
	return &gate{l, hold, wait}, nil
}

// command is what to run so that argv is run.
func (g *gate) command(argv []string) (path string, args []string) {
	if g == nil {
		return argv[0], argv
	}
	return g.launcher.Command(argv)
}

// files adds the process's end of the pipe, as file descriptor 3.
func (g *gate) files(std ...*os.File) []*os.File {
	if g == nil {
		return std
	}
	return append(std, g.wait)
}

// close lets go of the pipe. A process that waits ends.
func (g *gate) close() {
	if g != nil {
		_, _ = g.hold.Close(), g.wait.Close() // the second time they are closed already
	}
}

// open waits for the guard and lets r go. When it fails, r has ended without having been a server: by itself, as the pipe
// was closed, or by force.
func (g *gate) open(ctx context.Context, i *Instance, kills uint64, r *run) error {
	if g == nil {
		return nil
	}
	defer g.close()
	err := g.admit(ctx, i, kills, r)
	if err == nil {
		return nil
	}
	g.close()
	for _, force := range []bool{false, true} {
		if force {
			_ = r.handle.signal(unix.SIGKILL) // it is frozen, or not what it should be
		}
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), attachPatience)
		left := awaitEnd(patience, r)
		cancel()
		if left == nil {
			return err
		}
	}
	return errors.Join(err, fmt.Errorf("a process that waits to become the server cannot be ended: %s", describe([]int{r.id.PID})))
}

func (g *gate) admit(ctx context.Context, i *Instance, kills uint64, r *run) error {
	_ = g.wait.Close() // the process has its own
	asked, cancel := context.WithTimeoutCause(ctx, attachPatience, fmt.Errorf("it did not answer within %v", attachPatience))
	defer cancel()
	if err := g.launcher.Attach(asked, r.id.PID); err != nil {
		if cause := context.Cause(asked); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w (%w)", err, cause)
		}
		return fmt.Errorf("the guard did not take the server, which was not started: %w", err)
	}
	if i.kills.Load() != kills {
		return errors.New("the server was killed while it was being started")
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if _, err := g.hold.Write([]byte{1}); err != nil {
		return fmt.Errorf("let the server go: %w", err)
	}
	return nil
}

// held says whether a process is held back to become a postmaster of our data directory: its arguments hold a command
// line as serverArguments makes it, and it works there already.
func (i *Instance) held(pid int) bool {
	if workingDir(pid) != i.realDataDir() {
		return false
	}
	args := arguments(pid)
	n := slices.Index(args, "-D")
	return n > 0 && n+2 < len(args) && args[n+1] == i.cfg.DataDir && args[n+2] == "--config_file="+i.confPath(".conf")
}
